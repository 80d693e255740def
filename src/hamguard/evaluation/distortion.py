"""How far attacked pictures are from clean ones, measured on the 8-bit pictures that files hold (specification I.6).

RMSE is the root of each picture's mean squared error, averaged over pictures; ProS-GAN takes the root of the mean over the data
set, which is slightly larger. PSNR and SSIM (11x11 Gaussian, sigma 1.5) are those of torchmetrics. What SAAT's code prints
as L-infinity and L2 are matrix norms and appear nowhere here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes, Floats
from hamguard.images.quantize import from_bytes

CHUNK = 64
SMALLEST = 11  # SSIM's window


@dataclass(frozen=True)
class Distortion:
    """One value a picture, `(n,)` each, pixels in [0, 1].

    Attributes:
        rmse: root mean squared error.
        linf: largest change of a value.
        l2: Euclidean length of the change.
        changed: share of values that differ.
        psnr: in decibels; infinite where nothing changed.
        ssim: structural similarity; NaN for pictures below 11 pixels.
    """

    rmse: Floats
    linf: Floats
    l2: Floats
    changed: Floats
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
    flat = (attacked.astype(np.int16) - clean.astype(np.int16)).reshape(len(clean), -1)  # (n, values)
    delta = flat.astype(np.float64) / 255
    psnr, ssim = _quality(clean, attacked)
    return Distortion(
        rmse=np.sqrt((delta**2).mean(1)),
        linf=np.abs(delta).max(1),
        l2=np.sqrt((delta**2).sum(1)),
        changed=(flat != 0).mean(1),
        psnr=psnr,
        ssim=ssim,
    )


def _quality(clean: Bytes, attacked: Bytes) -> tuple[Floats, Floats]:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    psnr, ssim = np.empty(len(clean)), np.full(len(clean), np.nan)
    for start in range(0, len(clean), CHUNK):
        part = slice(start, start + CHUNK)
        x, x_adv = _tensor(clean[part]), _tensor(attacked[part])
        ratio = peak_signal_noise_ratio(x_adv, x, data_range=1.0, reduction="none", dim=(1, 2, 3))
        psnr[part] = ratio.double().numpy()
        if min(x.shape[2:]) >= SMALLEST:
            alike = structural_similarity_index_measure(x_adv, x, data_range=1.0, sigma=1.5, reduction="none")
            assert isinstance(alike, torch.Tensor)
            ssim[part] = alike.double().numpy()
    return psnr, ssim


def _tensor(pictures: Bytes) -> torch.Tensor:
    x = from_bytes(torch.from_numpy(np.ascontiguousarray(pictures)))
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (b, C, H, W)
