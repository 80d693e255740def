"""Changes of a uint8 picture by their written form: `jpeg:75`, `resize:0.5`, `crop:216`, `blur:1`, `bits:5`."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes
from hamguard.images.io import check_picture
from hamguard.images.views import crop_image, fit_image, jpeg_image, resize_image

View = Callable[[Bytes], Bytes]
VIEWS = ("jpeg", "crop", "resize", "blur", "bits")
LARGEST_SIDE = 4096
LARGEST_RADIUS = 64.0
EXAMPLES = "jpeg:50, crop:216, crop:0.9, resize:128, resize:0.5, blur:1.5, bits:5"


def parse_view(text: str) -> View:
    """A change of a uint8 picture by its written form; the picture keeps its size.

    `jpeg:50` re-encodes at that quality, `crop:216` keeps the middle 216 pixels and scales it back to the old size,
    `resize:128` scales to 128 pixels and back. With a point in the number, `crop:0.9` keeps that part of each side and
    `resize:0.5` scales both sides by it. `blur:1.5` is a Gaussian of that standard deviation in pixels, `bits:5` keeps
    2^5 levels a value.

    Raises:
        RequestError: unknown view, or a number that is missing or out of range.
    """
    kind, _, number = text.partition(":")
    check_choice("view", kind, VIEWS)
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", number) or float(number) <= 0:
        raise RequestError(f"view {text!r} needs a number, e.g. {EXAMPLES}")
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
    amount = int(number)
    if amount > LARGEST_SIDE:
        raise RequestError(f"view {text!r}: sides have at most {LARGEST_SIDE:,} pixels")
    if kind == "jpeg":
        if amount > 100:
            raise RequestError(f"view {text!r}: JPEG quality lies between 1 and 100")
        return lambda image: jpeg_image(image, amount)
    if kind == "bits":
        if amount > 7:
            raise RequestError(f"view {text!r}: bits of a value lie between 1 and 7")
        return lambda image: reduce_bits(image, amount)
    if kind == "crop":
        return lambda image: _cut(image, amount)
    return lambda image: resize_image(resize_image(image, amount), _sides(image))


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
