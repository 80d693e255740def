"""An objective without labels: the codes that the model had before the defense are to stay.

It serves models that have no training objective (fitted heads such as LSH, ITQ, PCA) and pictures without labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.core.types import Array
from hamguard.hashing.objective import Objective, Settings


class Keep(Objective):
    """`mean (u - b)^2` with b the codes of the start model, `(n, K)` in {-1, +1}."""

    name = "keep"
    title = "codes of the start model kept"
    settings_type = Settings
    needs_start = True

    def __init__(self, settings: Settings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        self.state = {"codes": self.labels.new_zeros(len(self.labels), bits)}

    def start(self, logits: Tensor) -> None:
        """Take the outputs `(n, K)` of the start model."""
        self.state["codes"] = torch.where(logits < 0, -1.0, 1.0).detach()

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Loss of one batch; see `Objective.loss`."""
        codes = self.state["codes"].to(logits)[index.to(logits.device)]  # (B, K)
        return (relax(logits) - codes).square().mean()
