"""How far noise repeats itself, with a gradient for what learns to avoid it.

Ours: eyes follow a pattern that comes again and again, however weak, and need not know in which direction. In windows of 64 x 64
pixels (Hann's), with r(l) the correlation of noise with itself l pixels away: all colors together, brightness and color alike,
since what has a price in one of them moves to the other; the less the finer waves are (`images/windows.py`); and what a window's
fading takes from distant places given back. The measure is `(mean of r(l)^4 over 7 <= |l| <= 28)^(1/4)`: the fourth power because
few distances at which all comes again are what is seen. It is .78 for one wave, .60 for a grid of 8 pixels, about .26 for a tile of
16 pixels of white noise, and .04 for white noise itself, where only chance is alike.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hamguard.images.windows import hann, visible, waves_of, windowed

WINDOW = 64  # pixels to a side
NEAR, FAR = 7.0, 28.0  # pixels, within which noise may be alike, and beyond which a window tells little
PEAKS = 4  # the power
LEAST = 1e-12  # power that is none


def repeats(change: Tensor, step: int = WINDOW // 2) -> Tensor:
    """How far changes of pictures repeat themselves, `(B,)`, 0 to about 1, windows weighted by their power; differentiable.

    Args:
        change: `(B, C, H, W)`; what is left over at the end is in no window, and sides below 64 are continued by 0.
        step: pixels from one window to the next.
    """
    size = (2 * WINDOW, 2 * WINDOW)  # so that the end of a window does not meet its beginning
    waves = torch.fft.rfft2(windowed(change, WINDOW, step), s=size)
    counts, weights = (one.to(change) for one in _weights())
    power = (waves.real.square() + waves.imag.square()).sum(1) * counts  # (B, n, 128, 65)
    alike = torch.fft.irfft2(power, s=size)  # (B, n, 128, 128), before it is divided by that of no distance
    whole = alike[..., 0, 0]
    peaks = ((alike / whole[..., None, None].clamp(min=LEAST)).pow(PEAKS) * weights).sum((2, 3))  # (B, n)
    share = (peaks * whole).sum(1) / whole.sum(1).clamp(min=LEAST)
    found: Tensor = (share + LEAST).pow(1 / PEAKS)
    return found


@lru_cache(maxsize=1)
def _weights() -> tuple[Tensor, Tensor]:
    """How power counts, `(128, 65)`, and the weights of correlations in the mean, `(128, 128)`."""
    side = 2 * WINDOW
    fading = torch.fft.rfft2(hann(WINDOW, torch.zeros(1, dtype=torch.float64)), s=(side, side))
    left = torch.fft.irfft2(fading.real.square() + fading.imag.square(), s=(side, side))
    steps = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    length = torch.hypot(steps[:, None], steps)
    counts = ((length >= NEAR) & (length <= FAR)).double()
    return visible(*waves_of(side, side)), counts / counts.sum() / (left / left[0, 0]).pow(PEAKS).clamp(min=LEAST)
