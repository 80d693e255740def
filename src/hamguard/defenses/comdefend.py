"""ComDefend at work in the common loop.

Paper: X. Jia, X. Wei, X. Cao, H. Foroosh, "ComDefend: An Efficient Image Compression Model to Defend Adversarial Examples",
CVPR 2019, in the form of SAAT's code base: `mean (decode(sigmoid(code - 20 n)) - x)^2 + 1e-4 mean code^2`, n standard normal. Both
networks are trained together on clean pictures; no model and no label is looked at.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from hamguard.core.asked import Asked
from hamguard.core.types import Ints
from hamguard.data.dataset import ImageStore
from hamguard.models.comdefend import MAX_WIDTH, NOISE, ComDefend
from hamguard.training.augment import augment
from hamguard.training.loop import Batch, PlainTask


class ComDefendSettings(Asked):
    """Networks and loss; frozen, unknown keys are errors."""

    width: float = Field(1.0, gt=0, le=MAX_WIDTH, description="factor of the channel numbers; 1 published")
    noise: float = Field(NOISE, ge=0, allow_inf_nan=False, description="deviation of the noise, published 20")
    penalty: float = Field(1e-4, ge=0, allow_inf_nan=False, description="weight of the squared code, published 1e-4")


class ComDefendTask(PlainTask):
    """Both networks at work on clean pictures, as the training loop wants it.

    Args:
        net: the networks, changed in place; their device is where the work happens.
        images: pictures of the data set.
        index: rows of `images` that are trained on, `(n,)`.
        penalty: weight of the squared code.
        views: kind of augmentation.
    """

    def __init__(
        self, net: ComDefend, images: ImageStore, index: Ints, *, penalty: float = 1e-4, views: str = "none"
    ) -> None:
        self.net: ComDefend = net
        self.images, self.index, self.penalty, self.views = images, index, penalty, views
        self.items = len(index)
        self.device = next(net.parameters()).device
        self._errors = torch.zeros(2, dtype=torch.float64)  # sum of squared errors of the epoch's steps, steps

    def step(self, batch: Batch) -> Tensor:
        """`mean (decode(sigmoid(code - noise n)) - x)^2 + penalty mean code^2` of one batch."""
        self.net.train()
        x = self.images.batch(self.index[batch.index[batch.part].numpy()]).to(self.device)  # (b, C, H, W)
        x = augment(x, self.views, batch.generator, batch.part, len(batch.index))
        code = self.net.code(x)  # (b, 12, H, W)
        normal = torch.randn(len(batch.index), *code.shape[1:], generator=batch.generator)[batch.part]
        error = (self.net.decode(code, normal.to(code)) - x).square().mean()
        self._errors += torch.tensor([float(error.detach()), 1.0])
        return error + self.penalty * code.square().mean()

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Mean squared error of the epoch's pictures."""
        total, steps = self._errors.tolist()
        self._errors.zero_()
        return {"mse": total / steps}

    def state(self) -> dict[str, Any]:
        """Networks and errors so far; copies."""
        kept = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
        return {"net": kept, "errors": self._errors.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.net.load_state_dict(state["net"])
        self._errors = state["errors"].clone()
