"""Regions of the plane without order, in which noise takes turns between poses: a shift, or a mirror image, of the picture.

Ours: what a network of convolutions makes of an even ground repeats itself every `STEP` pixels, and eyes follow a pattern that
repeats itself over a whole photo, however weak. Regions drawn once, the same for all pictures, break it: in each of them noise is
that of the picture itself, of the picture shifted against the network's grid, or of its mirror image, shifted, too; so few lines
of it are longer than a region. What misleads networks is in pieces as small, so most of the effect stays. A network that learns
with regions finds noise that evades them (its own mirror image, waves along a shift), so it learns without.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PERIOD = 512  # pixels after which regions repeat themselves
SHARP = 6.0  # how fast one region gives way to the next
SEED = 7


class Pose(NamedTuple):
    """What is done to a picture before the network sees it, and undone in the noise.

    Attributes:
        down: pixels that it is shifted by, in [0, STEP).
        right: the same, along rows.
        mirrored: whether left and right change places.
    """

    down: int
    right: int
    mirrored: bool


PLAIN = (Pose(0, 0, mirrored=False),)
"""No regions."""

POSES = (*PLAIN, Pose(0, 3, mirrored=False), Pose(2, 1, mirrored=True))
"""Of all pairs of shifts those by which waves of 3 to 16 pixels keep least of their phase: at most .49 of it, on average .45."""


def regions(size: int, height: int, width: int, at: tuple[int, int] = (0, 0)) -> Tensor:
    """How far every place belongs to each of `POSES`, `(3, height, width)` in [0, 1], together 1.

    Args:
        size: about how many pixels regions have to a side, 1 to `PERIOD`.
        height: rows.
        width: columns.
        at: the row and the column of the plane at which the part begins, 0 or more.
    """
    rows, columns = (
        torch.arange(start, start + side) % PERIOD for start, side in zip(at, (height, width), strict=True)
    )
    return _drawn(size)[:, rows][..., columns]


@lru_cache(maxsize=4)
def _drawn(size: int) -> Tensor:
    """One period of them."""
    cells = round(PERIOD / size)
    drawn = torch.randn(1, len(POSES), cells, cells, generator=torch.Generator().manual_seed(SEED)).tile(1, 1, 3, 3)
    smooth = F.interpolate(drawn, size=(3 * PERIOD, 3 * PERIOD), mode="bicubic", align_corners=False)[0]
    middle = smooth[:, PERIOD : 2 * PERIOD, PERIOD : 2 * PERIOD]  # which has neighbors all around
    return torch.softmax(SHARP * middle, 0)
