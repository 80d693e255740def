"""Views of a picture: resize, crop, JPEG re-encoding; for tensors in [0, 1], for uint8 arrays, and for files.

Tensor views keep the device and the floating point type. `jpeg` goes through real files in memory: it rounds to
8 bits and has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from hamguard.core.checks import check_range, check_shape
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes
from hamguard.images.io import MAX_PIXELS, check_picture, decode, encode, encode_bytes
from hamguard.images.quantize import from_bytes, to_bytes

if TYPE_CHECKING:  # what reads files does not wait for torch
    from torch import Tensor

WEBP_SIDE = 16_383
"""Most pixels a side of a WebP file (its header has 14 bits)."""

Kernel = Literal["nearest", "bilinear", "bicubic"]
_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    check_range("size", min(height, width), 1)
    return height, width


def resize(x: Tensor, size: int | tuple[int, int], *, kernel: Kernel = "bilinear") -> Tensor:
    """Resize pictures with antialiasing; differentiable.

    Args:
        x: `(B, C, H, W)` in [0, 1].
        size: height and width, or one number for both.
        kernel: `bicubic` overshoots, so its result is clipped to [0, 1].

    Raises:
        RequestError: `x` is not four-dimensional, or a size is below 1.
    """
    from torch.nn import functional

    check_shape("x", tuple(x.shape), ("B", "C", "H", "W"))
    if kernel == "nearest":
        return functional.interpolate(x, _pair(size), mode="nearest-exact")
    return functional.interpolate(x, _pair(size), mode=kernel, antialias=True, align_corners=False).clamp(0, 1)


def center_crop(x: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut the middle out of pictures.

    Args:
        x: `(B, C, H, W)`.
        size: height and width of the part, at most those of `x`.

    Raises:
        RequestError: `x` is not four-dimensional, or the part is larger than the picture.
    """
    check_shape("x", tuple(x.shape), ("B", "C", "H", "W"))
    height, width = _pair(size)
    H, W = x.shape[2:]
    _check_fits(height, width, H, W)
    top, left = (H - height) // 2, (W - width) // 2
    return x[:, :, top : top + height, left : left + width]  # (B, C, height, width)


def _check_fits(height: int, width: int, H: int, W: int) -> None:
    if height > H or width > W:
        raise RequestError(f"a crop of {height} x {width} does not fit into a picture of {H} x {W}")


def resize_and_back(x: Tensor, size: int | tuple[int, int], *, kernel: Kernel = "bilinear") -> Tensor:
    """Resize pictures and bring them back to their own size, as a shop's preview pipeline does."""
    H, W = x.shape[2:]
    return resize(resize(x, size, kernel=kernel), (H, W), kernel=kernel)


def jpeg(x: Tensor, quality: int = 75) -> Tensor:
    """Re-encode pictures as JPEG files and decode them; no gradient.

    Args:
        x: `(B, 3, H, W)` or `(B, 1, H, W)` in [0, 1].
        quality: 1 to 100.

    Returns:
        What the decoded files hold, same shape, each value `n / 255`.

    Raises:
        RequestError: wrong shape, NaN, or quality out of range.
    """
    import torch

    check_shape("x", tuple(x.shape), ("B", "C", "H", "W"))
    if x.shape[1] not in {1, 3}:
        raise RequestError(f"pictures must have 1 or 3 channels, got {x.shape[1]}")
    if len(x) == 0:
        return x.detach().clone()
    pixels = to_bytes(x).permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, C)
    if x.shape[1] == 1:
        pixels = pixels[..., 0]  # (B, H, W)
    seen = torch.from_numpy(np.stack([jpeg_image(image, quality) for image in pixels]))
    seen = seen[:, None] if x.shape[1] == 1 else seen.permute(0, 3, 1, 2)  # (B, C, H, W)
    return from_bytes(seen.contiguous()).to(device=x.device, dtype=x.dtype)


def jpeg_image(image: Bytes, quality: int = 75) -> Bytes:
    """Re-encode one uint8 picture as JPEG (chroma 4:2:0) and decode it.

    Raises:
        RequestError: not a picture, or quality out of range.
    """
    return decode(encode_bytes(image, "jpeg", quality=quality), gray=image.ndim == 2)


def webp_image(image: Bytes, quality: int = 80) -> Bytes:
    """Re-encode one uint8 picture as WebP and decode it; quality 100 is exact.

    Raises:
        RequestError: not a picture, quality out of range, or a side that WebP cannot hold.
    """
    if max(image.shape[:2]) > WEBP_SIDE:
        raise RequestError(f"a side of a WebP picture has at most {WEBP_SIDE:,} pixels, got {max(image.shape[:2]):,}")
    return decode(encode_bytes(image, "webp", quality=quality), gray=image.ndim == 2)


def resize_image(image: Bytes, size: int | tuple[int, int], *, kernel: Kernel = "bicubic") -> Bytes:
    """Resize one uint8 picture.

    Raises:
        RequestError: not a picture, or a size below 1.
    """
    check_picture(image)
    height, width = _pair(size)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), _PILLOW[kernel]))


def shrink_image(image: Bytes, longest: int, *, kernel: Kernel = "bicubic") -> Bytes:
    """Shrink one uint8 picture until no side has more than `longest` pixels; a smaller one stays as it is.

    Raises:
        RequestError: not a picture, or `longest` below 1.
    """
    check_picture(image)
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    return resize_image(image, (max(1, round(height * scale)), max(1, round(width * scale))), kernel=kernel)


def crop_image(image: Bytes, size: int | tuple[int, int]) -> Bytes:
    """Cut the middle out of one uint8 picture.

    Raises:
        RequestError: not a picture, or the part is larger than the picture.
    """
    check_picture(image)
    height, width = _pair(size)
    H, W = image.shape[:2]
    _check_fits(height, width, H, W)
    top, left = (H - height) // 2, (W - width) // 2
    return image[top : top + height, left : left + width]


def fit_image(image: Bytes, size: int | tuple[int, int], *, kernel: Kernel = "bicubic") -> Bytes:
    """Scale one uint8 picture until it covers a size, then cut out the middle (the field's resize and crop).

    Raises:
        RequestError: not a picture, or a size below 1.
    """
    check_picture(image)
    height, width = _pair(size)
    H, W = image.shape[:2]
    scale = max(height / H, width / W)
    covering = (max(height, round(H * scale)), max(width, round(W * scale)))
    if covering[0] * covering[1] > MAX_PIXELS:  # a line of pixels: cut first what would be cut afterwards
        inside = (min(H, ceil(height / scale)), min(W, ceil(width / scale)))
        return resize_image(np.ascontiguousarray(crop_image(image, inside)), (height, width), kernel=kernel)
    return crop_image(resize_image(image, covering, kernel=kernel), (height, width))


def fit_to(image: Bytes, size: tuple[int, int], fit: str) -> Bytes:
    """Bring one uint8 picture to a size: `crop` (cover, cut the middle), `pad` (contain, on white) or `stretch`.

    Raises:
        RequestError: unknown fit.
    """
    if image.shape[:2] == tuple(size):
        return image
    if fit == "crop":
        return fit_image(image, size)
    if fit == "stretch":
        return resize_image(image, size)
    if fit != "pad":
        raise RequestError(f"unknown fit {fit!r}; allowed: crop, pad, stretch")
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    inner = resize_image(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))))
    canvas = np.full((*size, *image.shape[2:]), 255, np.uint8)
    top, left = (size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def view_file(
    source: Path | str,
    target: Path | str,
    view: Callable[[Bytes], Bytes],
    *,
    quality: int = 95,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Decode a picture file, apply a view of uint8 arrays, and write the result, without metadata.

    Args:
        source: the file to read.
        target: the file to write; its suffix says the format.
        view: e.g. `lambda image: crop_image(image, 224)`.
        quality: for JPEG and WebP targets.
        max_pixels: larger pictures are refused.

    Raises:
        ImageError: the source cannot be decoded.
        RequestError: the target's suffix is unknown.
    """
    encode(np.ascontiguousarray(view(decode(source, max_pixels=max_pixels))), target, quality=quality)
