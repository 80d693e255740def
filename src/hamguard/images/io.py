"""Decode and encode picture files: JPEG, PNG, WebP and BMP, always to and from plain uint8 arrays.

A decoded picture is what a person sees: turned upright by its EXIF orientation, transparency laid on white,
16-bit values scaled to 8 bits. Written files carry pixels only; GPS and other metadata are never passed on.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import ImageError, RequestError
from hamguard.core.files import replacing
from hamguard.core.types import Bytes

Source: TypeAlias = Path | str | bytes
Format = Literal["png", "jpeg", "webp", "bmp"]

MAX_PIXELS = 50_000_000  # a 50-megapixel camera passes; Pillow alone warns at 89 and stops at 179 megapixels
SUFFIXES: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".bmp": "bmp"}

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # phones' MPO files open as JPEG
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)
"""What Pillow raises where a file is damaged."""
_ORIENTATION = 0x0112
_GRAY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")
_opening = threading.Lock()  # warning filters are global; only the header is read under this lock


class Probe(NamedTuple):
    """What a picture's header says, after turning it upright."""

    height: int
    width: int
    gray: bool


def _label(source: Source, name: str | None) -> str:
    return name or ("picture" if isinstance(source, bytes) else str(source))


def _content(path: Path) -> bytes:
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device or a pipe may have no end
        raise OSError("it is no file")
    return path.read_bytes()


def open_picture(source: Source, name: str, max_pixels: int) -> Image.Image:
    """Open a picture with only its header read.

    Raises:
        ImageError: not a picture, missing, or larger than `max_pixels`; the message names the file.
    """
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            stream = io.BytesIO(source if isinstance(source, bytes) else _content(Path(source)))
            picture = Image.open(stream, formats=_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} is too large: {error}; the limit is {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture; JPEG, PNG, WebP and BMP are read") from error
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder, not a picture") from error
    except BROKEN as error:
        raise ImageError(f"{name} cannot be decoded: {error}") from error
    pixels = picture.width * picture.height
    if pixels > max_pixels:
        size = f"{picture.width} x {picture.height} = {pixels:,} pixels"
        raise ImageError(f"{name} is too large: {size}; the limit is {max_pixels:,} pixels")
    return picture


def probe(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Probe:
    """Read a picture's upright size and whether it is gray, without decoding its pixels.

    Raises:
        ImageError: not a picture, missing, or larger than `max_pixels`; the message names the file.
    """
    picture = open_picture(source, _label(source, name), max_pixels)
    try:
        turned = picture.getexif().get(_ORIENTATION, 1) in {5, 6, 7, 8}
    except BROKEN:  # a damaged metadata block says nothing about the pixels
        turned = False
    height, width = (picture.width, picture.height) if turned else (picture.height, picture.width)
    return Probe(height, width, picture.mode in _GRAY_MODES and "transparency" not in picture.info)


def decode(source: Source, *, name: str | None = None, gray: bool | None = None, max_pixels: int = MAX_PIXELS) -> Bytes:
    """Decode a picture file, or its bytes, upright and on white.

    Args:
        source: a path, or the bytes of the file.
        name: how errors call the picture; the path by default.
        gray: True gives `(H, W)`, False gives `(H, W, 3)`, None gives what the file holds.
        max_pixels: larger pictures are refused before their pixels are decoded.

    Returns:
        `(H, W, 3)` RGB or `(H, W)` gray, uint8.

    Raises:
        ImageError: not a picture, missing, truncated, or larger than `max_pixels`; the message names the file.
    """
    name = _label(source, name)
    picture = open_picture(source, name, max_pixels)
    try:
        picture.load()
        flat = on_white(upright(picture))
    except BROKEN as error:
        raise broken(name, error) from error
    if gray is not None:
        flat = flat.convert("L" if gray else "RGB")
    return np.array(flat, dtype=np.uint8)  # a copy: the array is writable and owns its memory


def broken(name: str, error: BaseException) -> ImageError:
    """The error of a picture whose pixels cannot be decoded."""
    truncated = isinstance(error, OSError) and "truncated" in str(error)
    return ImageError(f"{name} {'is truncated' if truncated else 'cannot be decoded'}: {error}")


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned by its EXIF orientation, decoded."""
    try:
        return ImageOps.exif_transpose(picture)
    except BROKEN:  # a damaged metadata block must not hide good pixels
        return picture


def on_white(picture: Image.Image) -> Image.Image:
    """Bring any mode to 8-bit gray or RGB, transparency laid on white."""
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))  # 65535 = 255 * 257: rounds to nearest
    if picture.mode in {"1", "L"} and "transparency" not in picture.info:
        return picture.convert("L")
    if picture.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


def check_picture(image: Bytes) -> None:
    """Check that an array is a picture.

    Raises:
        RequestError: not uint8, or not of shape `(H, W)` or `(H, W, 3)`, or empty.
    """
    if image.dtype != np.uint8:
        raise RequestError(f"a picture must be uint8, got {image.dtype}; round [0, 1] values with quantize.to_bytes")
    if image.ndim not in {2, 3} or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise RequestError(f"a picture must have shape (H, W) or (H, W, 3), got {image.shape}")


def encode_bytes(image: Bytes, kind: Format, *, quality: int = 95) -> bytes:
    """Encode a picture, without any metadata.

    Args:
        image: `(H, W, 3)` or `(H, W)` uint8.
        kind: `png` and `bmp` are exact; `jpeg` and `webp` are lossy.
        quality: 1 to 100, for `jpeg` and `webp`; WebP at 100 is exact.

    Raises:
        RequestError: unknown format, quality out of range, or not a picture.
    """
    check_choice("picture format", kind, SUFFIXES.values())
    check_range("quality", quality, 1, 100)
    check_picture(image)
    out = io.BytesIO()
    picture = Image.fromarray(image)
    if kind == "jpeg":
        picture.save(out, "JPEG", quality=quality)
    elif kind == "webp":
        picture.save(out, "WEBP", quality=quality, lossless=quality == 100)
    else:
        picture.save(out, kind.upper())
    return out.getvalue()


def encode(image: Bytes, path: Path | str, *, quality: int = 95) -> None:
    """Write a picture file in one step, in the format of its suffix, without any metadata.

    Args:
        image: `(H, W, 3)` or `(H, W)` uint8.
        path: ends in .png, .jpg, .jpeg, .webp or .bmp.
        quality: 1 to 100, for JPEG and WebP.

    Raises:
        RequestError: unknown suffix, quality out of range, or not a picture.
        RunError: the file cannot be written.
    """
    path = Path(path)
    suffix = check_choice("picture suffix", path.suffix.lower(), SUFFIXES)
    content = encode_bytes(image, SUFFIXES[suffix], quality=quality)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
