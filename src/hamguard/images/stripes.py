"""How far noise is made of stripes, with a gradient for what learns to avoid them.

Ours: eyes find a pattern that runs in one direction, however weak, where they pass over noise as large without one; structural
similarity does not tell the two apart. In windows of 32 x 32 pixels (Hann's), with p the shares that frequencies have of a
window's power and a their angles, `sum over n = 2, 4, 6 of |sum p e^(i n a)|^2`, divided by what one wave has: 1 for stripes,
whatever their distances, about 1/3 for a grid of two directions or of three, .07 for noise of one size without a direction, .015
for white noise. What counts is brightness, and the less the finer it is, `1 / (1 + (f / .25)^4)` with f in waves a pixel: color
and grain in other directions hide no stripes from eyes, but would from a measure that took all power alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 32  # pixels to a side
ORDERS = (2, 4, 6)  # one direction; two at right angles; three
FINE = 0.25  # waves a pixel of which half of the power counts
ONE_WAVE = 2.46  # of six pixels, by the measure before it is divided: Hann's window blurs angles
LEAST = 1e-12  # power that is none


def stripes(change: Tensor, step: int = WINDOW // 2) -> Tensor:
    """How far changes of pictures are made of stripes, `(B,)`, 0 to about 1, windows weighted by their power; differentiable.

    Args:
        change: `(B, C, H, W)`; what is left over at the end is in no window, and sides below 32 are continued by 0.
        step: pixels from one window to the next.
    """
    bright = change.mean(1)  # (B, H, W)
    down, right = (max(0, WINDOW - side) for side in change.shape[2:])
    if down or right:
        bright = F.pad(bright, (0, right, 0, down))
    windows = bright.unfold(1, WINDOW, step).unfold(2, WINDOW, step)  # (B, h, w, 32, 32)
    hann = torch.hann_window(WINDOW, dtype=change.dtype, device=change.device)
    waves = torch.fft.rfft2((windows - windows.mean((3, 4), keepdim=True)) * (hann[:, None] * hann))
    power = (waves.real.square() + waves.imag.square()).flatten(1, 2).flatten(2)  # (B, hw, 32 * 17)
    turned = power @ _turns(change)  # (B, hw, 1 + 6)
    whole = turned[..., 0]
    aligned = turned[..., 1:].square().sum(2) / whole.clamp(min=LEAST)
    share: Tensor = aligned.sum(1) / whole.sum(1).clamp(min=LEAST) / ONE_WAVE
    return share


def _turns(like: Tensor) -> Tensor:
    """Weights of frequencies in the sums: of all power, and of cos and sin of each order, `(32 * 17, 1 + 6)`."""
    rows, columns = torch.fft.fftfreq(WINDOW, dtype=torch.float64), torch.fft.rfftfreq(WINDOW, dtype=torch.float64)
    angle = torch.atan2(rows[:, None].expand(-1, len(columns)), columns.expand(WINDOW, -1))
    # half of the frequencies tell the others, which are their mirrors; first and last column have theirs among themselves
    times = torch.full((WINDOW, len(columns)), 2.0, dtype=torch.float64)
    times[:, 0] = times[:, -1] = 1
    times = times / (1 + (torch.hypot(rows[:, None], columns) / FINE) ** 4)
    sums = [times, *(times * part(order * angle) for order in ORDERS for part in (torch.cos, torch.sin))]
    return torch.stack(sums, -1).flatten(0, 1).to(like)
