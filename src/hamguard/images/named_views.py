"""What becomes of a uint8 picture on its way, by its written form: `jpeg:75`, `resize:0.5`, `crop:216`, `contrast:0.8`, `median:3`.

A table of the forms stands in docs/protect.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes
from hamguard.images.io import check_picture
from hamguard.images.views import crop_image, fit_image, jpeg_image, resize_image, shrink_image, webp_image

View = Callable[[Bytes], Bytes]
_ENHANCERS = {"contrast": ImageEnhance.Contrast, "color": ImageEnhance.Color, "brightness": ImageEnhance.Brightness}
_FACTORS = {"contrast": (0.1, 4.0), "color": (0.0, 4.0), "brightness": (0.1, 4.0), "screenshot": (0.25, 2.0)}
"""Views whose number is a factor, with its smallest and largest value; color:0 is a gray picture."""

VIEWS = ("jpeg", "webp", "crop", "resize", "thumbnail", "screenshot", "blur", "median", "bits", *_ENHANCERS)
LARGEST_SIDE = 4096
LARGEST_RADIUS = 64.0
LARGEST_WINDOW = 15
THUMBNAIL_QUALITY = 85
EXAMPLES = "jpeg:50, crop:216, crop:0.9, resize:128, resize:0.5, blur:1.5, contrast:0.8, median:3"


def parse_view(text: str) -> View:
    """A change of a uint8 picture by its written form; the picture keeps its size.

    `jpeg:50` and `webp:80` re-encode at that quality (`webp:100` is exact), `crop:216` keeps the middle 216 pixels and scales it
    back to the old size, `resize:128` scales to 128 pixels and back. With a point in the number, `crop:0.9` keeps that part of
    each side and `resize:0.5` scales both sides by it. `blur:1.5` is a Gaussian of that standard deviation in pixels, `median:3`
    the median of 3 x 3 pixels, `bits:5` keeps 2^5 levels a value. `contrast:0.8`, `color:0.7` and `brightness:1.1` multiply
    contrast, saturation and brightness. For `thumbnail:256` and `screenshot:0.75` see `thumbnail_image` and `screenshot_image`.

    Raises:
        RequestError: unknown view, or a number that is missing or out of range.
    """
    kind, _, number = text.partition(":")
    check_choice("view", kind, VIEWS)
    low, high = _FACTORS.get(kind, (0.0, 0.0))
    none = kind != "color"  # without color a picture is still one
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", number) or (none and float(number) <= 0):
        raise RequestError(f"view {text!r} needs a number, e.g. {EXAMPLES}")
    if kind in _FACTORS:
        factor = float(number)
        if not low <= factor <= high:
            raise RequestError(f"view {text!r}: a factor of {kind} lies between {low:g} and {high:g}")
        if kind == "screenshot":
            return lambda image: screenshot_image(image, factor)
        return lambda image: enhance_image(image, kind, factor)
    if kind == "blur":
        if float(number) > LARGEST_RADIUS:
            raise RequestError(f"view {text!r}: the radius of a blur is at most {LARGEST_RADIUS:g} pixels")
        return lambda image: blur_image(image, float(number))
    if "." in number:
        share = float(number)
        if kind not in ("crop", "resize") or share >= 1:
            raise RequestError(f"view {text!r}: parts of a side are written crop:0.9 or resize:0.5, below 1")
        if kind == "crop":
            return lambda image: _cut(image, _part(image, share))
        return lambda image: resize_image(resize_image(image, _part(image, share)), _sides(image))
    return _of_whole(text, kind, int(number))


def _of_whole(text: str, kind: str, amount: int) -> View:
    """A view whose number is a whole one, at least 1."""
    if amount > LARGEST_SIDE:
        raise RequestError(f"view {text!r}: sides have at most {LARGEST_SIDE:,} pixels")
    if kind in ("jpeg", "webp"):
        if amount > 100:
            raise RequestError(f"view {text!r}: {'JPEG' if kind == 'jpeg' else 'WebP'} quality lies between 1 and 100")
        return lambda image: (jpeg_image if kind == "jpeg" else webp_image)(image, amount)
    if kind == "bits":
        if amount > 7:
            raise RequestError(f"view {text!r}: bits of a value lie between 1 and 7")
        return lambda image: reduce_bits(image, amount)
    if kind == "median":
        if not 3 <= amount <= LARGEST_WINDOW or amount % 2 == 0:
            raise RequestError(f"view {text!r}: the window of a median is odd, from 3 to {LARGEST_WINDOW} pixels")
        return lambda image: median_image(image, amount)
    if kind == "thumbnail":
        return lambda image: thumbnail_image(image, amount)
    if kind == "crop":
        return lambda image: _cut(image, amount)
    return lambda image: resize_image(resize_image(image, amount), _sides(image))


def enhance_image(image: Bytes, kind: str, factor: float) -> Bytes:
    """One uint8 picture with another contrast, color or brightness, as Pillow's `ImageEnhance` makes it.

    Each value moves on the line from what stands at 0 (the picture's mean gray, its gray picture, black) through what it is at 1,
    and is cut to 0 and 255.

    Args:
        image: `(H, W)` or `(H, W, 3)`; `color` leaves a gray picture as it is.
        kind: `contrast`, `color` or `brightness`.
        factor: at least 0; 1 changes nothing.

    Raises:
        RequestError: not a picture.
    """
    check_picture(image)
    return np.asarray(_ENHANCERS[kind](Image.fromarray(image)).enhance(factor))


def median_image(image: Bytes, window: int) -> Bytes:
    """One uint8 picture whose values are medians of a square of `window` pixels, each channel by itself: a simple purifier.

    Raises:
        RequestError: not a picture.
    """
    check_picture(image)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.MedianFilter(window)))


def thumbnail_image(image: Bytes, side: int) -> Bytes:
    """One uint8 picture as a site's small copy shows it, scaled back to the picture's own size.

    The longer side is shrunk to `side` pixels (bicubic with antialiasing; a smaller picture is not enlarged) and saved as JPEG of
    quality 85 with chroma 4:2:0. It comes back at the old size (bicubic), as after `resize`, because whoever compares the picture
    with others expects its size; a matcher that shrinks to fewer than `side` pixels sees little of that way back.

    Args:
        image: `(H, W)` or `(H, W, 3)`.
        side: longer side in pixels, at least 1.

    Raises:
        RequestError: not a picture.
    """
    check_picture(image)
    return resize_image(jpeg_image(shrink_image(image, side), THUMBNAIL_QUALITY), _sides(image))


def screenshot_image(image: Bytes, factor: float) -> Bytes:
    """One uint8 picture as a screen showed it and somebody saved the screen, scaled back to the picture's own size.

    A screen samples between pixels, without a filter before it: bilinear at `factor` times the size, on a grid that lies half a
    pixel of the picture further right and below, so that no sample meets the grid that noise was made on; the edge is repeated.
    The PNG that is saved then is exact, so none is written. It comes back at the old size (bicubic).

    Args:
        image: `(H, W)` or `(H, W, 3)`.
        factor: size on the screen, above 0.

    Raises:
        RequestError: not a picture.
    """
    check_picture(image)
    H, W = _sides(image)
    height, width = _part(image, factor)
    edge = np.pad(image, ((0, 1), (0, 1), (0, 0))[: image.ndim], mode="edge")
    grid = (W / width, 0, 0.5, 0, H / height, 0.5)  # the middle of a sample on the picture, whose first pixel ends at 1
    screen = Image.fromarray(edge).transform((width, height), Image.Transform.AFFINE, grid, Image.Resampling.BILINEAR)
    return resize_image(np.asarray(screen), (H, W))


def blur_image(image: Bytes, radius: float) -> Bytes:
    """One uint8 picture under a Gaussian blur.

    Args:
        image: `(H, W)` or `(H, W, 3)`.
        radius: standard deviation in pixels.

    Raises:
        RequestError: not a picture.
    """
    check_picture(image)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def reduce_bits(image: Bytes, depth: int) -> Bytes:
    """One uint8 picture with `2^depth` levels a value, evenly from 0 to 255.

    Raises:
        RequestError: not a picture.
    """
    check_picture(image)
    top = 2**depth - 1
    levels = np.arange(256) * top / 255
    table = np.rint(np.rint(levels) * 255 / top).astype(np.uint8)  # (256,)
    reduced: Bytes = table[image]
    return reduced


def _part(image: Bytes, share: float) -> tuple[int, int]:
    return max(1, round(image.shape[0] * share)), max(1, round(image.shape[1] * share))


def _cut(image: Bytes, size: int | tuple[int, int]) -> Bytes:
    return fit_image(np.ascontiguousarray(crop_image(image, size)), _sides(image))


def _sides(image: Bytes) -> tuple[int, int]:
    return int(image.shape[0]), int(image.shape[1])
