"""How far noise is made of few waves, with a gradient for what learns to use many.

Ours: a single wave misleads networks most for its size, and eyes find it; noise of many waves carries over better to networks that
nobody asked. In windows of 32 x 32 pixels (Hann's, half overlapping) the spectrum of one wave is a pair of peaks, that of noise
without a pattern is spread out. With p the shares that frequencies have of a window's power, all channels together, `8 * sum p^2`
is 1 for one wave, 1/2 for two equal ones (a grid), 1/n for n, and about 1/60 for white noise. Waves of one direction and many
lengths have few peaks and still look like stripes (`images/stripes.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hamguard.images.windows import windowed

WINDOW = 32  # pixels to a side
ONE_WAVE = 1 / 8  # sum p^2 of one wave under Hann's window
LEAST = 1e-12  # power that is none


def peaks(change: Tensor) -> Tensor:
    """How far changes of pictures are made of few waves, `(B,)` in [0, 1], windows weighted by their power; differentiable.

    Args:
        change: `(B, C, H, W)`; up to 15 rows and columns at the end are in no window, and sides below 32 are continued by 0.
    """
    waves = torch.fft.rfft2(windowed(change, WINDOW, WINDOW // 2))  # (B, C, n, 32, 17)
    power = (waves.real.square() + waves.imag.square()).sum(1).flatten(2)  # (B, n, 32 * 17)
    # of a real picture half of the frequencies tell the others, but the first and the last column are their own mirrors
    twice = torch.full((WINDOW // 2 + 1,), 2.0, dtype=change.dtype, device=change.device)
    twice[0] = twice[-1] = 1
    twice = twice.repeat(WINDOW)
    whole = power @ twice  # (B, n)
    found = power.square() @ twice / whole.clamp(min=LEAST)
    share: Tensor = found.sum(1) / whole.sum(1).clamp(min=LEAST) / ONE_WAVE
    return share
