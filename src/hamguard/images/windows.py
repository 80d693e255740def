"""Waves of changes of pictures in windows (Hann's), as eyes see them, for the measures of what they are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 0.25  # waves a pixel of which half of the power counts


def windowed(change: Tensor, side: int, step: int) -> Tensor:
    """Windows of changes, each less its mean, fading to its edges, `(B, C, n, side, side)`; differentiable.

    Args:
        change: `(B, C, H, W)`; what is left over at the end is in no window, and smaller ones are continued by 0.
        side: pixels to a side of a window.
        step: pixels from one window to the next.
    """
    down, right = (max(0, side - length) for length in change.shape[2:])
    if down or right:
        change = F.pad(change, (0, right, 0, down))
    parts = change.unfold(2, side, step).unfold(3, side, step).flatten(2, 3)
    return (parts - parts.mean((3, 4), keepdim=True)) * hann(side, change)


def hann(side: int, like: Tensor) -> Tensor:
    """Weights of a window, `(side, side)`."""
    edge = torch.hann_window(side, dtype=like.dtype, device=like.device)
    return edge[:, None] * edge


def waves_of(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Waves a pixel down and right of what `rfft2` gives for `(rows, columns)`: `(rows, 1)` and `(columns // 2 + 1,)`, float64."""
    return torch.fft.fftfreq(rows, dtype=torch.float64)[:, None], torch.fft.rfftfreq(columns, dtype=torch.float64)


def visible(rows: Tensor, columns: Tensor) -> Tensor:
    """How much the power of waves counts, less the finer they are: `1 / (1 + (f / FINE)^4)`."""
    return 1 / (1 + (torch.hypot(rows, columns) / FINE) ** 4)
