"""What the model sees of a picture when a gradient is taken: itself, noisy, or shrunk; and a blur of the gradient.

Papers: C. Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019 (DI-FGSM);
Y. Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks", CVPR 2019 (TI-FGSM);
Y. Xiao, C. Wang, "You See What I Want You to See", CVPR 2021 (NAG: noise redrawn at every step).

Deliberate differences: every picture draws for itself, so that nothing depends on how batches are cut (the codes draw once a
batch). DI keeps the picture's size, as SAAT's port does: the picture shrinks into it (the authors' code enlarges the canvas from
299 to 330 pixels, which the networks here need not take). The blur of TI is the authors' Gaussian over three standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator


class View(Protocol):
    """One way to look at pictures, and how much its loss weighs."""

    @property
    def weight(self) -> float:
        """Weight of the loss of this view."""

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """Pictures as the model sees them, differentiable in `x`.

        Args:
            x: pictures, `(b, C, H, W)` in [0, 1].
            index: number of each picture in the run, for its random numbers.
            step: number of the gradient in the run.
            seed: seed of this view.

        Returns:
            `(b, C, H, W)`.
        """


@dataclass(frozen=True)
class Plain:
    """The picture itself.

    Attributes:
        weight: of its loss, at least 0.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range("weight of a view", self.weight, 0.0)

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """The same pictures, `(b, C, H, W)`."""
        return x


@dataclass(frozen=True)
class Noisy:
    """Uniform noise on the picture, redrawn at every step (NAG); pixels stay in [0, 1], where the gradient of a clipped one is 0.

    Attributes:
        radius: each value moves by at most this, in pixel units; NAG's command line has 32 / 255.
        weight: of its loss; lambda of the paper.
    """

    radius: float = 32 / 255
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.radius <= 1:
            hint = f"; did you mean {self.radius:g} / 255?" if self.radius > 1 else ""
            raise RequestError(f"radius of the noise must be in (0, 1], got {self.radius:g}{hint}")
        check_range("weight of a view", self.weight, 0.0)

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """Noisy pictures, `(b, C, H, W)` in [0, 1]."""
        noise = torch.stack(
            [torch.rand(x.shape[1:], generator=torch_generator(seed, "view-noisy", step, int(i))) for i in index]
        ).to(x)  # (b, C, H, W)
        return (x + (2 * noise - 1) * self.radius).clamp(0, 1)


@dataclass(frozen=True)
class Diverse:
    """Shrunk to a random size and put at a random place on black (DI-FGSM), with some probability.

    Attributes:
        probability: of not being left alone, for each picture and step.
        factor: the smallest size as a part of the whole.
        weight: of its loss.
    """

    probability: float = 0.5
    factor: float = 0.9
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range("probability", self.probability, 0.0, 1.0)
        check_range("factor", self.factor, 0.1, 1.0)
        check_range("weight of a view", self.weight, 0.0)

    def windows(
        self, side: tuple[int, int], index: Sequence[int], step: int, seed: int
    ) -> list[tuple[int, int, int, int]]:
        """Height, width, top and left of the place each picture shrinks into; the whole canvas for one left alone."""
        found = []
        for i in index:
            coin, size, down, right = torch.rand(
                4, generator=torch_generator(seed, "view-diverse", step, int(i))
            ).tolist()
            low = math.ceil(self.factor * side[0])
            height = side[0] if coin >= self.probability else low + int(size * (side[0] - low + 1))
            width = max(1, round(side[1] * height / side[0]))
            top, left = int(down * (side[0] - height + 1)), int(right * (side[1] - width + 1))
            found.append((height, width, top, left))
        return found

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        """Pictures in their windows, `(b, C, H, W)`, bilinear; all of them by one sampling."""
        rows, columns = x.shape[2:]
        places = x.new_tensor(self.windows((rows, columns), index, step, seed))  # (b, 4)
        height, width, top, left = places.unbind(1)
        moved = ((height < rows) | (width < columns)).nonzero().flatten()
        if len(moved) == 0:
            return x
        # maps a point of the canvas, in [-1, 1], to the point of the picture that is shown there
        affine = x.new_zeros(len(x), 2, 3)
        affine[:, 0, 0], affine[:, 0, 2] = columns / width, (columns - 2 * left) / width - 1
        affine[:, 1, 1], affine[:, 1, 2] = rows / height, (rows - 2 * top) / height - 1
        part = x[moved]  # (m, C, H, W)
        grid = F.affine_grid(affine[moved], list(part.shape), align_corners=False)  # (m, H, W, 2)
        return x.index_copy(0, moved, F.grid_sample(part, grid, padding_mode="zeros", align_corners=False))


PLAIN: tuple[View, ...] = (Plain(),)


def check_views(views: tuple[View, ...], translation: int) -> None:
    """Check what a search was given to look with.

    Raises:
        RequestError: no view has a weight, or the kernel of the blur has an even size.
    """
    if not any(view.weight > 0 for view in views):
        raise RequestError(f"a search needs at least one view with a weight above 0, got {views}")
    if translation < 0 or (translation and translation % 2 == 0):
        raise RequestError(f"translation must be 0 (off) or the odd size of a kernel, got {translation}")


def blur(gradient: Tensor, size: int) -> Tensor:
    """The gradient under a normalized Gaussian kernel (TI-FGSM): about the mean gradient over shifts of the picture.

    Args:
        gradient: `(b, C, H, W)`.
        size: odd side of the kernel in pixels, over three standard deviations to either side; 0 for no blur.

    Returns:
        `(b, C, H, W)`; outside the picture the gradient counts as 0.
    """
    if size < 2:
        return gradient
    at = torch.linspace(-3, 3, size, dtype=gradient.dtype, device=gradient.device)
    line = torch.exp(-at.square() / 2)
    line = line / line.sum()
    flat = gradient.reshape(-1, 1, *gradient.shape[2:])  # (b * C, 1, H, W)
    flat = F.conv2d(flat, line.view(1, 1, -1, 1), padding=(size // 2, 0))
    flat = F.conv2d(flat, line.view(1, 1, 1, -1), padding=(0, size // 2))
    return flat.view_as(gradient)
