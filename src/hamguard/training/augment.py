"""Random views of a training batch: flips, shifts, crops, colors, drawn for the whole global batch at once; and of features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.core.errors import RequestError
from hamguard.models.channels import match_channels


def augment(x: Tensor, kind: str, generator: torch.Generator, part: slice, total: int) -> Tensor:
    """Apply random views to one process's part of a batch.

    The random numbers are drawn for all `total` pictures and then cut, so that two processes see the views that one would.

    Args:
        x: pictures, `(b, C, H, W)`.
        kind: none, or words with dashes between them: shift (by up to an eighth of the side,
            edges repeated), crop (half of the area to all of it, at the size of the picture), flip, color (brightness, contrast and
            saturation, now and then gray).
        generator: CPU generator of this step.
        part: place of `x` in the global batch.
        total: size of the global batch.

    Returns:
        Pictures of the same shape.

    Raises:
        RequestError: `drop`, which is for features.
    """
    if kind == "drop":
        raise RequestError(
            "augment=drop makes views of features, which a hash head alone learns from; give other views"
        )
    if "shift" in kind:
        height, width = x.shape[2:]
        reach = max(1, min(height, width) // 8)
        dy, dx = torch.randint(0, 2 * reach + 1, (2, total), generator=generator)[:, part].to(x.device)  # (b,), (b,)
        wide = F.pad(x, (reach, reach, reach, reach), mode="replicate")
        rows = dy[:, None] + torch.arange(height, device=x.device)  # (b, H)
        cols = dx[:, None] + torch.arange(width, device=x.device)  # (b, W)
        item = torch.arange(len(x), device=x.device)[:, None, None]
        x = wide.permute(0, 2, 3, 1)[item, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)  # (b, C, H, W)
    if "crop" in kind:
        x = _crop(x, torch.rand(4, total, generator=generator)[:, part].to(x.device))
    if "flip" in kind:
        flipped = torch.rand(total, generator=generator)[part].to(x.device) < 0.5  # (b,)
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    if "color" in kind:
        x = _color(x, torch.rand(5, total, generator=generator)[:, part].to(x.device))
    return x


def drop(features: Tensor, generator: torch.Generator, part: slice, total: int) -> Tensor:
    """Random views of features, `(b, D)`: each number is taken away or doubled, so that its mean stays; arguments as `augment`."""
    kept = torch.rand(total, features.shape[1], generator=generator)[part].to(features.device) < 0.5  # (b, D)
    return torch.where(kept, 2 * features, torch.zeros_like(features))


def _crop(x: Tensor, draws: Tensor) -> Tensor:
    """A part of each picture at the size of the whole, from draws `(4, b)` in [0, 1): area, aspect, place across, place down."""
    area, aspect = 0.5 + 0.5 * draws[0], (4 / 3) ** (2 * draws[1] - 1)  # (b,), (b,)
    grids = []
    for axis, size, part in ((2, x.shape[3], area * aspect), (3, x.shape[2], area / aspect)):
        share = part.sqrt().clamp(max=1.0)  # (b,), of the side
        middle = (1 - share) * (2 * draws[axis] - 1)  # (b,), in units of half a side
        points = (torch.arange(size, device=x.device) * 2 + 1) / size - 1  # (size,), middles of pixels in [-1, 1]
        grids.append(middle[:, None] + share[:, None] * points)  # (b, size)
    shape = (len(x), *x.shape[2:])  # (b, H, W)
    grid = torch.stack([grids[0][:, None, :].expand(shape), grids[1][:, :, None].expand(shape)], dim=3)  # (b, H, W, 2)
    return F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="border", align_corners=False)


def _color(x: Tensor, draws: Tensor) -> Tensor:
    """Other light in seven of ten pictures, no color in two of ten, from draws `(5, b)` in [0, 1)."""
    factors = torch.where(draws[3] < 0.7, 0.6 + 0.8 * draws[:3], torch.ones_like(draws[:3]))  # (3, b), 0.6 to 1.4
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in factors)
    x = (x * brightness).clamp(0, 1)
    x = (contrast * x + (1 - contrast) * x.mean((1, 2, 3), keepdim=True)).clamp(0, 1)
    gray = match_channels(x, 1)  # (b, 1, H, W)
    saturation = torch.where(draws[4][:, None, None, None] < 0.2, torch.zeros_like(saturation), saturation)
    return (saturation * x + (1 - saturation) * gray).clamp(0, 1)
