"""What becomes of a published picture, for the gradient: saved again as JPEG, shrunk on the way, cut; and views that take turns.

JPEG has no useful gradient; the straight-through rule takes that of the identity, so the loss is that of the file and the step that
of the picture. Source of the rule: Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.search.views import View
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.images.views import jpeg


@dataclass(frozen=True)
class Jpeg:
    """A JPEG file of random quality, drawn for each picture and step; its gradient is that of the picture itself.

    Attributes:
        low: lowest quality.
        high: highest quality.
        weight: of its loss, at least 0.
    """

    low: int = 70
    high: int = 95
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range("lowest JPEG quality", self.low, 1, 100)
        check_range("highest JPEG quality", self.high, self.low, 100)
        check_range("weight of a view", self.weight, 0.0)

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """What the files hold, `(b, C, H, W)`, multiples of 1/255."""
        seen = []
        for place, i in enumerate(index):
            generator = torch_generator(seed, "view-jpeg", step, int(i))
            quality = int(torch.randint(self.low, self.high + 1, (), generator=generator))
            seen.append(jpeg(x[place : place + 1].detach(), quality))
        return x + (torch.cat(seen) - x).detach()  # (b, C, H, W)


@dataclass(frozen=True)
class Cropped:
    """A random part of the picture with its own sides' ratio, brought back to the picture's size, bilinear.

    Attributes:
        low: smallest part of each side, in (0, 1].
        weight: of its loss, at least 0.
    """

    low: float = 0.85
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range("smallest part of a side", self.low, 0.1, 1.0)
        check_range("weight of a view", self.weight, 0.0)

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """The parts at the pictures' size, `(b, C, H, W)`."""
        draws = torch.stack([torch.rand(3, generator=torch_generator(seed, "view-crop", step, int(i))) for i in index])
        part, right, down = draws.to(x).unbind(1)  # (b,)
        part = self.low + (1 - self.low) * part
        affine = x.new_zeros(len(x), 2, 3)
        affine[:, 0, 0] = affine[:, 1, 1] = part
        affine[:, 0, 2], affine[:, 1, 2] = ((2 * at - 1) * (1 - part) for at in (right, down))  # centers of the parts
        grid = F.affine_grid(affine, list(x.shape), align_corners=False)  # (b, H, W, 2)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class InTurn:
    """One view a step, over and over: the cost of one, the breadth of all.

    Attributes:
        views: in their order.
        weight: of the loss; the views' own weights do not count.

    Raises:
        RequestError: there is no view.
    """

    views: tuple[View, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.views:
            raise RequestError("views that take turns must be at least one, got none")
        check_range("weight of a view", self.weight, 0.0)

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """The pictures in the view of this step, `(b, C, H, W)`."""
        return self.views[step % len(self.views)](x, index, step, seed)
