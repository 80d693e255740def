"""8-bit rounding: what a file can hold. Attack figures are computed from rounded pictures only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes

if TYPE_CHECKING:
    from torch import Tensor


def to_bytes(x: Tensor) -> Tensor:
    """Round `[0, 1]` values to the nearest of 256 levels, half to even; values outside are clipped.

    Args:
        x: any shape, floating point.

    Returns:
        The same shape, uint8.

    Raises:
        RequestError: `x` is not floating point, or holds NaN.
    """
    import torch

    if not x.is_floating_point():
        raise RequestError(f"pictures in [0, 1] must be floating point, got {x.dtype}")
    if bool(torch.isnan(x).any()):
        raise RequestError("pictures must be numbers in [0, 1], got NaN")
    wide = x.detach().to(torch.float32) if x.element_size() < 4 else x.detach()  # 16-bit floats cannot hold 255 steps
    return wide.clamp(0, 1).mul(255).round().to(torch.uint8)


def as_pixels(x: Tensor) -> Bytes:
    """Pictures `(B, C, H, W)` in [0, 1] as files hold them, `(B, H, W)` or `(B, H, W, 3)` uint8."""
    pixels = to_bytes(x).cpu().permute(0, 2, 3, 1).numpy()  # (B, H, W, C)
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[3] == 1 else pixels)


def from_bytes(pixels: Tensor) -> Tensor:
    """Bring uint8 levels to float32 in `[0, 1]`; every level is the float nearest to `n / 255`.

    Raises:
        RequestError: `pixels` is not uint8.
    """
    import torch

    if pixels.dtype != torch.uint8:
        raise RequestError(f"pixels must be uint8, got {pixels.dtype}")
    return pixels.to(torch.float32).div_(255)


def round_8bit(x: Tensor) -> Tensor:
    """Round `[0, 1]` values to what an 8-bit file gives back; rounding twice changes nothing.

    Args:
        x: any shape, floating point.

    Returns:
        The same shape and floating point type, each value `n / 255`.

    Raises:
        RequestError: `x` is not floating point, or holds NaN.

    >>> import torch
    >>> round_8bit(torch.tensor([0.5, 1.2]))
    tensor([0.5020, 1.0000])
    """
    return from_bytes(to_bytes(x)).to(x.dtype)
