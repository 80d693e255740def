"""One picture's protection: where its noise is made, how the noise comes to the picture's own size, and how it is added.

Matchers shrink a picture to some 256 pixels before they look, and noise finer than that is lost on them. So the noise of a large
picture is made on a shrunk copy and enlarged (`fit`). `full` makes it at the picture's own size, in tiles that overlap by as far as
the generator looks, so that they give the same noise as one pass over the whole.

Large pictures are worked on in strips of rows: float numbers exist for one strip only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.threat import Linf
from hamguard.core.checks import check_choice
from hamguard.core.errors import RunError
from hamguard.core.types import Bytes
from hamguard.images.originals import Original, strips
from hamguard.images.quantize import as_pixels, from_bytes
from hamguard.images.views import resize_image
from hamguard.models.protector import REACH, STEP, Protector

Scale = Literal["auto", "full", "fit"]
SCALES: tuple[Scale, ...] = ("auto", "full", "fit")

LARGER = 1.5
"""`auto` shrinks a picture whose shorter side is more than this many times that of the pictures the protector learned from."""

TILE = 1024
"""Side of a tile, a multiple of `STEP`."""

MOST = 4_000_000
"""Pixels that noise is refined on; a larger picture is shrunk for it."""

Rows = Callable[[slice], Tensor]
"""Noise pattern of some rows of a picture, `(C, rows, W)` in [-1, 1]."""


def noise_size(height: int, width: int, side: int, scale: Scale = "auto", *, refined: bool = False) -> tuple[int, int]:
    """Height and width at which a picture's noise is made: its own, or those of a shrunk copy.

    Args:
        height: of the picture.
        width: of the picture.
        side: shorter side of the pictures that the protector learned from.
        scale: `full`, `fit` (the shorter side becomes `side`; small pictures are never enlarged) or `auto`.
        refined: whether gradient steps follow, which see the whole at once: a picture beyond `MOST` pixels is shrunk, too.

    Raises:
        RequestError: unknown scale.
    """
    check_choice("scale", scale, SCALES)
    short = min(height, width)
    factor = 1.0
    if scale == "fit" or (scale == "auto" and short > LARGER * side):
        factor = min(1.0, side / short)
    if (refined or factor < 1) and height * width * factor**2 > MOST:
        factor = sqrt(MOST / (height * width))
    return (height, width) if factor == 1 else (max(1, round(height * factor)), max(1, round(width * factor)))


def as_tensor(pixels: Bytes) -> Tensor:
    """A picture `(H, W)` or `(H, W, 3)` uint8 as `(1, C, H, W)` in [0, 1]."""
    x = from_bytes(torch.from_numpy(np.require(pixels, requirements=["C", "W"])))
    return x[None, None] if x.ndim == 2 else x.permute(2, 0, 1)[None]


def shrunk(pixels: Bytes, size: tuple[int, int]) -> Bytes:
    """The picture at the size of its noise; the same array where it has that size."""
    return resize_image(pixels, size)


@torch.no_grad()
def noise_pattern(net: Protector, x: Tensor, at: tuple[int, int] = (0, 0)) -> Tensor:
    """The generator's noise G(x), `(B, C, H, W)` in (-1, 1), of pictures or of parts that begin at a row and a column.

    Raises:
        RunError: it is not finite.
    """
    made = net.noise(x, at)
    if not bool(made.sum().isfinite()):  # one pass; a NaN or infinite value makes the sum one
        raise RunError("the protector's noise is NaN or infinite; its weights are broken")
    return made


def tiled(net: Protector, seen: Bytes, tile: int = TILE) -> Rows:
    """Noise at a large picture's own size, some rows at a time, tile by tile.

    Args:
        net: in evaluation mode.
        seen: the picture, `(H, W)` or `(H, W, 3)` uint8.
        tile: width of a tile, a multiple of `STEP`; `tile_rows` gives rows of that height.
    """
    H, W = seen.shape[:2]
    device = next(net.parameters()).device

    def rows(part: slice) -> Tensor:
        top, bottom = max(0, part.start - REACH), min(H, part.stop + REACH)
        found = []
        for start in range(0, W, tile):
            left, right = max(0, start - REACH), min(W, start + tile + REACH)
            x = as_tensor(seen[top:bottom, left:right]).to(device)
            made = noise_pattern(net, x, (top, left))[0].cpu()  # (C, rows + margins, tile + margins)
            stop = min(start + tile, W)
            found.append(made[:, part.start - top : part.stop - top, start - left : stop - left])
        return torch.cat(found, 2)  # (C, rows, W)

    return rows


def tile_rows(height: int, tile: int = TILE) -> Iterator[slice]:
    """Rows of a picture in parts that begin where a tile may begin."""
    assert tile % STEP == 0
    return (slice(top, min(top + tile, height)) for top in range(0, height, tile))


def same_size(pattern: Tensor) -> Rows:
    """A pattern `(C, H, W)` that has the picture's size already."""
    return lambda part: pattern[:, part]


def enlarged(pattern: Tensor, height: int, width: int) -> Rows:
    """A pattern `(C, h, w)` enlarged smoothly (bicubic, overshoot clipped to [-1, 1]), some rows at a time.

    The numbers are those of torch's `interpolate`, but only the rows in work take memory.
    """
    if tuple(pattern.shape[1:]) == (height, width):
        return same_size(pattern)
    h = pattern.shape[1]
    wide = F.interpolate(pattern[None], (h, width), mode="bicubic", align_corners=False)[0]  # (C, h, width)

    def rows(part: slice) -> Tensor:
        at = (torch.arange(part.start, part.stop, dtype=torch.float64) + 0.5) * h / height - 0.5
        first = at.floor()
        share = (at - first).to(wide.dtype).view(1, -1, 1)
        total = wide.new_zeros(wide.shape[0], len(at), width)
        for tap, weight in zip((-1, 0, 1, 2), _cubic(share), strict=True):
            total += weight * wide[:, (first.long() + tap).clamp(0, h - 1)]
        return total.clamp_(-1, 1)  # (C, rows, width)

    return rows


def _cubic(t: Tensor, a: float = -0.75) -> tuple[Tensor, ...]:
    """Weights of four neighbors at offsets -1, 0, 1, 2 from the one before the point; `a` is torch's (R. Keys, 1981)."""

    def near(s: Tensor) -> Tensor:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: Tensor) -> Tensor:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def add_noise(original: Original, noise: Rows, eps: float, parts: Iterator[slice] | None = None) -> Bytes:
    """The picture with noise on it: no value moves by more than `eps`, on the 8-bit grid.

    Fully transparent pixels stay as they are: nobody sees them, and they carry nothing.

    Args:
        original: the picture in layers.
        noise: its pattern.
        eps: in pixel units, in (0, 1].
        parts: rows that are worked on at once; about a million pixels by default.

    Returns:
        The new `pixels`, same shape.

    Raises:
        RequestError: `eps` is not in (0, 1].
    """
    threat = Linf(eps)
    pixels = original.pixels
    out = np.empty_like(pixels)
    for rows in parts or strips(*pixels.shape[:2]):
        x = as_tensor(pixels[rows])  # (1, C, rows, W)
        out[rows] = as_pixels(threat.on_grid(x + eps * noise(rows)[None].to(x), x))[0]
        if original.alpha is not None:
            clear = original.alpha[rows] == 0
            out[rows][clear] = pixels[rows][clear]
    return out
