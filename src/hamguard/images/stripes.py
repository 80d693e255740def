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
from torch import Tensor

from hamguard.images.windows import visible, waves_of, windowed

WINDOW = 32  # pixels to a side
ORDERS = (2, 4, 6)  # one direction; two at right angles; three
ONE_WAVE = 2.46  # of six pixels, by the measure before it is divided: Hann's window blurs angles
LEAST = 1e-12  # power that is none


def stripes(change: Tensor, step: int = WINDOW // 2) -> Tensor:
    """How far changes of pictures are made of stripes, `(B,)`, 0 to about 1, windows weighted by their power; differentiable.

    Args:
        change: `(B, C, H, W)`; what is left over at the end is in no window, and sides below 32 are continued by 0.
        step: pixels from one window to the next.
    """
    bright = change.mean(1, keepdim=True)  # (B, 1, H, W)
    waves = torch.fft.rfft2(windowed(bright, WINDOW, step))[:, 0]  # (B, n, 32, 17)
    power = (waves.real.square() + waves.imag.square()).flatten(2)  # (B, n, 32 * 17)
    turned = power @ _turns(change)  # (B, n, 1 + 6)
    whole = turned[..., 0]
    aligned = turned[..., 1:].square().sum(2) / whole.clamp(min=LEAST)
    share: Tensor = aligned.sum(1) / whole.sum(1).clamp(min=LEAST) / ONE_WAVE
    return share


def _turns(like: Tensor) -> Tensor:
    """Weights of frequencies in the sums: of all power, and of cos and sin of each order, `(32 * 17, 1 + 6)`."""
    rows, columns = waves_of(WINDOW, WINDOW)
    angle = torch.atan2(rows.expand(-1, len(columns)), columns.expand(WINDOW, -1))
    # half of the frequencies tell the others, which are their mirrors; first and last column have theirs among themselves
    times = torch.full((WINDOW, len(columns)), 2.0, dtype=torch.float64)
    times[:, 0] = times[:, -1] = 1
    times = times * visible(rows, columns)
    sums = [times, *(times * part(order * angle) for order in ORDERS for part in (torch.cos, torch.sin))]
    return torch.stack(sums, -1).flatten(0, 1).to(like)
