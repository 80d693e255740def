"""Where eyes find noise: on even grounds, less in texture, which hides it (masking; C.-H. Chou, Y.-C. Li, IEEE TCSVT 1995).

Ours: how far brightness is from its own mean over a window, root mean square over a window; of these the least near a place counts,
so that a sky stays even up to the edge of a roof. Noise may be as large as on even grounds, and more by `SLOPE` times what texture
there is beyond the grain of a sky.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 7  # pixels to a side
EDGE = 9  # pixels to a side among which the least counts; two windows reach but a little farther across an edge
REACH = 3 * (WINDOW // 2) + EDGE // 2
"""Pixels around a part that its contrast depends on."""
SLOPE = 5.0
GRAIN = 0.7 / 255  # which JPEG files and cameras leave where there is no texture
LEAST = 0.01 / 255  # a root has no slope at 0


def room(x: Tensor, eps: float, even: float) -> Tensor | float:
    """The part of a bound that noise may take around every place, `(B, 1, H, W)` in (0, 1], or 1 for all of it.

    Args:
        x: `(B, C, H, W)` in [0, 1].
        eps: the bound, in pixel units.
        even: the bound on even grounds, in pixel units; from `eps` on there is no other.
    """
    if even >= eps:
        return 1.0
    return ((even + SLOPE * (contrast(x) - GRAIN).clamp(min=0)) / eps).clamp(max=1)


def contrast(x: Tensor) -> Tensor:
    """How much texture there is around every place, in pixel units, `(B, 1, H, W)`.

    Args:
        x: `(B, C, H, W)` in [0, 1].
    """
    bright = x.mean(1, keepdim=True)
    fine = bright - _mean(bright)  # a slope and a blurred background have none of it
    deviation = (_mean(fine.square()) + LEAST**2).sqrt()
    return _mean(_over_windows(torch.minimum, deviation, EDGE))


def _mean(maps: Tensor) -> Tensor:
    return _over_windows(torch.add, maps, WINDOW) / WINDOW**2


def _over_windows(merge: Callable[[Tensor, Tensor], Tensor], maps: Tensor, side: int) -> Tensor:
    """Windows of `(B, 1, H, W)` merged to one value, edges repeated: rows, then columns; torch's pools are slow on one channel."""
    maps = F.pad(maps, (side // 2,) * 4, mode="replicate")
    for dim in (2, 3):
        kept = maps.shape[dim] - side + 1
        maps = reduce(merge, (maps.narrow(dim, start, kept) for start in range(side)))
    return maps
