"""Random views of a training batch: horizontal flips and shifts, drawn for the whole global batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(x: Tensor, kind: str, generator: torch.Generator, part: slice, total: int) -> Tensor:
    """Apply random views to one process's part of a batch.

    The random numbers are drawn for all `total` pictures and then cut, so that two processes see the views that one would.

    Args:
        x: pictures, `(b, C, H, W)`.
        kind: none, flip, shift (by up to an eighth of the side, edges repeated) or shift-flip.
        generator: CPU generator of this step.
        part: place of `x` in the global batch.
        total: size of the global batch.

    Returns:
        Pictures of the same shape.
    """
    if "shift" in kind:
        height, width = x.shape[2:]
        reach = max(1, min(height, width) // 8)
        dy, dx = torch.randint(0, 2 * reach + 1, (2, total), generator=generator)[:, part].to(x.device)  # (b,), (b,)
        wide = F.pad(x, (reach, reach, reach, reach), mode="replicate")
        rows = dy[:, None] + torch.arange(height, device=x.device)  # (b, H)
        cols = dx[:, None] + torch.arange(width, device=x.device)  # (b, W)
        item = torch.arange(len(x), device=x.device)[:, None, None]
        x = wide.permute(0, 2, 3, 1)[item, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)  # (b, C, H, W)
    if "flip" in kind:
        flipped = torch.rand(total, generator=generator)[part].to(x.device) < 0.5  # (b,)
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    return x
