"""Where eyes find noise: on even grounds, less in texture, which hides it (masking; C.-H. Chou, Y.-C. Li, IEEE TCSVT 1995).

Ours: the deviation of brightness around a place, of which the least within half a window counts, so that a sky stays even up to
the edge of a roof. What no window beyond it reaches into is the window's own.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

WINDOW = 9  # pixels to a side
REACH = 3 * (WINDOW // 2)  # pixels around a part that its contrast depends on
FULL = 4 / 255
"""Deviation from which on a place counts as texture."""
LEAST = 0.01 / 255  # a root has no slope at 0


def room(x: Tensor, even: float) -> Tensor | float:
    """The part of a bound that noise may take around every place, `(B, 1, H, W)`, or 1 for all of it.

    Args:
        x: `(B, C, H, W)` in [0, 1].
        even: the part on even grounds, in (0, 1]; texture has all.
    """
    return even + (1 - even) * contrast(x) if even < 1 else 1.0


def contrast(x: Tensor) -> Tensor:
    """How much texture there is around every place, `(B, 1, H, W)`: 0 on even grounds, 1 from a deviation of `FULL` on.

    Args:
        x: `(B, C, H, W)` in [0, 1].
    """
    bright = x.mean(1, keepdim=True)
    bright = bright - bright.mean((2, 3), keepdim=True)  # squares of small numbers lose less
    mean = _around(bright)
    deviation = ((_around(bright.square()) - mean.square()).clamp(min=0) + LEAST**2).sqrt()
    reach = WINDOW // 2
    least = -F.max_pool2d(F.pad(-deviation, (reach,) * 4, mode="replicate"), WINDOW, 1)
    return (_around(least) / FULL).clamp(max=1)


def _around(maps: Tensor) -> Tensor:
    """Means of `(B, 1, H, W)` over windows, edges repeated."""
    return F.avg_pool2d(F.pad(maps, (WINDOW // 2,) * 4, mode="replicate"), WINDOW, 1)
