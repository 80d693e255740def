"""How far noise is made of stripes, with a gradient for what learns to avoid them.

Ours: eyes find waves that repeat, however weak, where they pass over noise as large without a pattern; structural similarity
does not tell the two apart. In windows of 32 x 32 pixels (Hann's, half overlapping) the spectrum of one wave is a pair of peaks,
that of noise without a pattern is spread out. With p the shares that frequencies have of a window's power, all channels together,
`8 * sum p^2` is 1 for one wave, 1/2 for two equal ones (a grid), 1/n for n, and about 1/60 for white noise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 32  # pixels to a side
ONE_WAVE = 1 / 8  # sum p^2 of one wave under Hann's window
LEAST = 1e-12  # power that is none


def stripes(change: Tensor) -> Tensor:
    """How far changes of pictures are made of stripes, `(B,)` in [0, 1], windows weighted by their power; differentiable.

    Args:
        change: `(B, C, H, W)`; up to 15 rows and columns at the end are in no window, and sides below 32 are continued by 0.
    """
    down, right = (max(0, WINDOW - side) for side in change.shape[2:])
    if down or right:
        change = F.pad(change, (0, right, 0, down))
    windows = change.unfold(2, WINDOW, WINDOW // 2).unfold(3, WINDOW, WINDOW // 2)  # (B, C, h, w, 32, 32)
    hann = torch.hann_window(WINDOW, dtype=change.dtype, device=change.device)
    waves = torch.fft.rfft2((windows - windows.mean((4, 5), keepdim=True)) * (hann[:, None] * hann))
    power = (waves.real.square() + waves.imag.square()).sum(1).flatten(1, 2).flatten(2)  # (B, hw, 32 * 17)
    # of a real picture half of the frequencies tell the others, but the first and the last column are their own mirrors
    twice = torch.full((WINDOW // 2 + 1,), 2.0, dtype=change.dtype, device=change.device)
    twice[0] = twice[-1] = 1
    twice = twice.repeat(WINDOW)
    whole = power @ twice  # (B, hw)
    peaks = power.square() @ twice / whole.clamp(min=LEAST)
    share: Tensor = peaks.sum(1) / whole.sum(1).clamp(min=LEAST) / ONE_WAVE
    return share
