"""Decode and encode picture files: JPEG, PNG, WebP and BMP, always to and from plain uint8 arrays.

A decoded picture is what a person sees: turned upright by its EXIF orientation, transparency laid on white,
16-bit values scaled to 8 bits. Written files carry pixels only; GPS and other metadata are never passed on.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeAlias, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import ImageError, MissingFileError, RequestError
from hamguard.core.files import read_bytes, replacing
from hamguard.core.types import Bytes
from hamguard.images.kinds import HEAD, SUFFIXES, Format, other_kind, read_format
from hamguard.images.layers import GRAY, WITH_ALPHA, has_transparency, on_white, raw_mode, split
from hamguard.images.orientation import is_turned, orientation_of, turned

Source: TypeAlias = Path | str | bytes
P = ParamSpec("P")
T = TypeVar("T")

MAX_PIXELS = 50_000_000  # a 50-megapixel camera passes; Pillow alone warns at 89 and stops at 179 megapixels
MAX_BYTES = 512 << 20
"""Bytes of a picture file: MAX_PIXELS of four 16-bit values, stored as they are, are 400 MB, and metadata may follow."""

READ = "JPEG, PNG, WebP and BMP are read"
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # phones' MPO files open as JPEG
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, AttributeError, OverflowError,
          struct.error, zlib.error)  # fmt: skip
"""What Pillow raises where a file is damaged."""
_CRITICAL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


class Probe(NamedTuple):
    """What a picture's header says, after turning it upright."""

    height: int
    width: int
    gray: bool


@dataclass(frozen=True)
class Opened:
    """A picture file with only its header read.

    Attributes:
        picture: not decoded yet, not turned.
        content: the bytes of the file.
        raw: how its pixels are stored, see `layers.raw_mode`.
        orientation: how it is turned, 1 to 8.
        frames: how many pictures the file holds; the first is the one that is read.
    """

    picture: Image.Image
    content: bytes
    raw: str
    orientation: int
    frames: int

    def layers(self) -> tuple[Image.Image, Image.Image | None]:
        """Colors (`RGB` or `L`) and transparency (`L`, or None), decoded and upright."""
        self.picture.load()
        colors, alpha = split(self.picture, self.raw, self.content)
        return turned(colors, self.orientation), None if alpha is None else turned(alpha, self.orientation)


class _Quiet:
    """Warnings of the picture library are left out while any thread reads: what they mean is said in our words, or nothing.

    `warnings.catch_warnings` is for one thread: whoever leaves it first switches the filter off for the others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filter = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._filter not in warnings.filters[:1]:
                warnings.filterwarnings("ignore", category=Warning, module=r"PIL\.")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                warnings.filters[:] = [one for one in warnings.filters if one != self._filter]  # type: ignore[index]


_quiet = _Quiet()


def quietly(function: Callable[P, T]) -> Callable[P, T]:
    """A function without the warnings of the picture library."""

    @functools.wraps(function)
    def quiet(*args: P.args, **words: P.kwargs) -> T:
        with _quiet:
            return function(*args, **words)

    return quiet


def label(source: Source, name: str | None) -> str:
    """How errors call a picture: as asked, or by its path."""
    return name or ("picture" if isinstance(source, bytes) else str(source))


def read_file(path: Path | str, name: str | None = None, *, limit: int | None = None) -> bytes:
    """The bytes of a picture file.

    Args:
        path: the file.
        name: how errors call it; the path by default.
        limit: most bytes; `MAX_BYTES` by default.

    Raises:
        ImageError: missing, no ordinary file, too large, or it may not be read; the message names the file.
    """
    name = name or str(path)
    try:
        return read_bytes(path, "picture", limit=limit or MAX_BYTES)
    except MissingFileError as error:
        raise ImageError(f"{name} does not exist") from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into the memory") from error
    except RequestError as error:
        raise ImageError(str(error).replace(str(path), name)) from error


@quietly
def open_picture(source: Source, name: str, max_pixels: int) -> Opened:
    """Open a picture with only its header read.

    Raises:
        ImageError: not a picture, missing, or larger than `max_pixels`; the message names the file.
    """
    content = source if isinstance(source, bytes) else read_file(source, name)
    try:
        try:
            picture = _open(content)
        except BROKEN:
            if (rest := _pixels_only(content)) is None:
                raise
            content, picture = rest, _open(rest)
    except Image.DecompressionBombError as error:
        number = re.search(r"\d+", str(error))  # the library's own words name a limit of its own
        size = f"{int(number.group()):,} pixels; " if number else ""
        raise ImageError(f"{name} is too large: {size}the limit is {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(_no_picture(name, content)) from error
    except BROKEN as error:
        raise broken(name, error) from error
    pixels = picture.width * picture.height
    most = min(max_pixels, Image.MAX_IMAGE_PIXELS or max_pixels)
    if pixels > most:
        size = f"{picture.width} x {picture.height} = {pixels:,} pixels"
        raise ImageError(f"{name} is too large: {size}; the limit is {most:,} pixels")
    frames = getattr(picture, "n_frames", 1)
    return Opened(picture, content, raw_mode(picture), orientation_of(picture, content), frames)


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=_FORMATS)


def _pixels_only(content: bytes) -> bytes | None:
    """A PNG without what is not needed to see it, for one that is damaged there; None for other files."""
    if read_format(content[:HEAD]) != "png":
        return None
    at, kept = 8, [content[:8]]
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] in _CRITICAL:
            kept.append(content[at:end])
        at = end
    rest = b"".join(kept)
    return rest if rest != content else None


def _no_picture(name: str, content: bytes) -> str:
    if read_format(content[:HEAD]):
        return f"{name} cannot be decoded: its header is damaged"
    if not content:
        return f"{name} is not a picture: it is empty"
    kind = other_kind(content[:HEAD], "")
    return (
        f"{name} is not a picture of a kind that is read, but {kind}; {READ}"
        if kind
        else f"{name} is not a picture; {READ}"
    )


def probe(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Probe:
    """Read a picture's upright size and whether it is gray, without decoding its pixels.

    Raises:
        ImageError: not a picture, missing, or larger than `max_pixels`; the message names the file.
    """
    opened = open_picture(source, label(source, name), max_pixels)
    width, height = opened.picture.size
    if is_turned(opened.orientation):
        height, width = width, height
    return Probe(height, width, opened.picture.mode in GRAY - WITH_ALPHA and not has_transparency(opened.picture))


@quietly
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
    name = label(source, name)
    opened = open_picture(source, name, max_pixels)
    try:
        flat = on_white(*opened.layers())
        if gray is not None:
            flat = flat.convert("L" if gray else "RGB")
        return np.array(flat, dtype=np.uint8)  # a copy: the array is writable and owns its memory
    except (*BROKEN, MemoryError) as error:
        raise broken(name, error) from error


def broken(name: str, error: BaseException) -> ImageError:
    """The error of a picture that cannot be decoded."""
    if isinstance(error, MemoryError):
        return ImageError(f"{name} does not fit into the memory")
    said = str(error) or type(error).__name__
    return ImageError(f"{name} {'is truncated' if 'truncated' in said.lower() else 'cannot be decoded'}: {said}")


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
