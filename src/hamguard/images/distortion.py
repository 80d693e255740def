"""How far attacked pictures are from clean ones, measured on the 8-bit pictures that files hold (specification I.6).

RMSE is the root of each picture's mean squared error, averaged over pictures; ProS-GAN takes the root of the mean over the data
set, which is slightly larger. SSIM is that of `likeness.py`. What SAAT's code prints as L-infinity and L2 are matrix norms and
appear nowhere here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log10

import numpy as np
import torch

from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Floats
from hamguard.images.likeness import similarity, similarity_map
from hamguard.images.quantize import from_bytes

CHUNK = 64
SMALLEST = 11  # SSIM's window
REACH = SMALLEST // 2  # rows that its middle sees to either side
LARGE = 1 << 20  # pixels; larger pictures are measured in strips of rows, a 50-megapixel one would take 10 GB at once


@dataclass(frozen=True)
class Distortion:
    """One value a picture, `(n,)` each, pixels in [0, 1].

    Attributes:
        rmse: root mean squared error.
        linf: largest change of a value.
        l2: Euclidean length of the change.
        changed: share of values that differ.
        pixels: number of pixels that differ in any channel.
        psnr: in decibels; infinite where nothing changed.
        ssim: structural similarity; NaN for pictures below 11 pixels.
    """

    rmse: Floats
    linf: Floats
    l2: Floats
    changed: Floats
    pixels: Floats
    psnr: Floats
    ssim: Floats


def measure_distortion(clean: Bytes, attacked: Bytes) -> Distortion:
    """Compare pictures.

    Args:
        clean: `(n, H, W)` or `(n, H, W, 3)` uint8.
        attacked: the same shape.

    Raises:
        RequestError: the shapes differ, or there are no pictures.
    """
    if clean.shape != attacked.shape or len(clean) == 0:
        raise RequestError(f"pictures to compare must have one shape, got {clean.shape} and {attacked.shape}")
    if clean.ndim >= 3 and clean.shape[1] * clean.shape[2] > LARGE:
        return _join([_in_strips(a, b) for a, b in zip(clean, attacked, strict=True)])
    flat = (attacked.astype(np.int16) - clean.astype(np.int16)).reshape(len(clean), -1)  # (n, values)
    delta = flat.astype(np.float64) / 255
    mse = (delta**2).mean(1)
    with np.errstate(divide="ignore"):  # nothing changed: infinite
        psnr = -10 * np.log10(mse)
    return Distortion(
        rmse=np.sqrt(mse),
        linf=np.abs(delta).max(1),
        l2=np.sqrt((delta**2).sum(1)),
        changed=(flat != 0).mean(1),
        pixels=_pixels(clean, attacked).sum((1, 2)).astype(np.float64),
        psnr=psnr,
        ssim=_similarity(clean, attacked),
    )


def _join(parts: list[Distortion]) -> Distortion:
    names = [field.name for field in fields(Distortion)]
    return Distortion(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _in_strips(clean: Bytes, attacked: Bytes) -> Distortion:
    """One large picture, `(H, W)` or `(H, W, 3)`; the same figures as at once, up to rounding."""
    H, W = clean.shape[:2]
    rows = max(1, LARGE // W)
    squares, largest, moved, pixels = 0, 0, 0, 0
    for start in range(0, H, rows):
        delta = attacked[start : start + rows].astype(np.int64) - clean[start : start + rows]
        squares += int((delta**2).sum())
        largest, moved = max(largest, int(np.abs(delta).max())), moved + int(np.count_nonzero(delta))
        pixels += int(_pixels(clean[None, start : start + rows], attacked[None, start : start + rows]).sum())
    alike = 0.0
    for start in range(0, H if min(H, W) >= SMALLEST else 0, rows):
        stop, first = min(start + rows, H), max(0, start - REACH)
        part = slice(first, min(stop + REACH, H))
        values = similarity_map(_tensor(attacked[None, part]), _tensor(clean[None, part]))  # (1, C, h, W)
        alike += float(values[0, :, start - first : stop - first].sum())
    mse = squares / clean.size / 255**2
    return Distortion(
        rmse=np.array([mse**0.5]),
        linf=np.array([largest / 255]),
        l2=np.array([squares**0.5 / 255]),
        changed=np.array([moved / clean.size]),
        pixels=np.array([float(pixels)]),
        psnr=np.array([-10 * log10(mse) if mse else np.inf]),
        ssim=np.array([alike / clean.size if min(H, W) >= SMALLEST else np.nan]),
    )


def _pixels(clean: Bytes, attacked: Bytes) -> Array:
    """Which pixels differ, `(n, H, W)` bool."""
    differs: Array = np.not_equal(clean, attacked)
    return differs if differs.ndim == 3 else np.asarray(differs.any(3))


def _similarity(clean: Bytes, attacked: Bytes) -> Floats:
    """SSIM of pictures, `(n,)`; NaN where they are smaller than its window."""
    found = np.full(len(clean), np.nan)
    for start in range(0, len(clean) if min(clean.shape[1:3]) >= SMALLEST else 0, CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = similarity(_tensor(attacked[part]), _tensor(clean[part])).double().numpy()
    return found


def _tensor(pictures: Bytes) -> torch.Tensor:
    x = from_bytes(torch.from_numpy(np.require(pictures, requirements=["C", "W"])))
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (b, C, H, W)
