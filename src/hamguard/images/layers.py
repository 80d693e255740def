"""Colors and transparency of a decoded picture of any mode, on 8 bits: the one rule that all readers share."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from hamguard.core.types import Array, Bytes

WITH_ALPHA = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
GRAY = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L", "LA", "La"})
_LEVELS = {"L;2": 85, "L;4": 17}  # what one step of a gray of few bits becomes on 8 bits


def has_transparency(picture: Image.Image) -> bool:
    """Whether some pixels may be transparent, by the header."""
    return picture.mode in WITH_ALPHA or "transparency" in picture.info


def split(picture: Image.Image, raw: str, content: bytes) -> tuple[Image.Image, Image.Image | None]:
    """Colors, or gray, without transparency (`RGB` or `L`), and the transparency (`L`, 255 is opaque) or None.

    Args:
        picture: decoded, not turned yet.
        raw: how the file stores its pixels, see `raw_mode`.
        content: the bytes of the file; read again where 16-bit colors must be told apart.
    """
    clear = picture.info.get("transparency")
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64).clip(0, 65535)
        levels = ((wide + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257: rounds to nearest
        return Image.fromarray(levels), _opaque(wide != clear) if isinstance(clear, int) else None
    if picture.mode not in WITH_ALPHA and clear is None:
        return picture.convert("L" if picture.mode in GRAY else "RGB"), None
    if picture.mode == "RGB" and raw == "RGB;16B" and isinstance(clear, tuple):
        high, low = np.asarray(picture), _low_bytes(content)
        same = (high == np.array(clear) >> 8) & (low == np.array(clear) & 255)  # (H, W, 3)
        return _plain(picture), _opaque(~same.all(2))
    if picture.mode == "L" and isinstance(clear, int):
        # the color is kept as the file has it, on its own number of bits
        return _plain(picture), _opaque(np.asarray(picture) != clear * _LEVELS.get(raw, 1))
    layer = picture.convert("RGBA")
    gray = picture.mode in GRAY or raw == "LA;16B"  # which the library opens as color
    colors = layer.getchannel("R") if gray else layer.convert("RGB")
    return colors, layer.getchannel("A")


def raw_mode(picture: Image.Image) -> str:
    """How the file of a picture whose header is read stores its pixels, as the decoder calls it; empty where it does not say."""
    tiles: Any = getattr(picture, "tile", None)
    args = tiles[0][3] if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def on_white(colors: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """The colors as they look on white, in RGB where there is transparency."""
    if alpha is None:
        return colors
    layer = colors.convert("RGB")
    layer.putalpha(alpha)
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _opaque(kept: Array) -> Image.Image:
    levels: Bytes = kept.astype(np.uint8) * np.uint8(255)
    return Image.fromarray(levels)


def _plain(picture: Image.Image) -> Image.Image:
    """The picture without its rule of transparency."""
    copy = picture.copy()
    copy.info.pop("transparency", None)
    return copy


def _low_bytes(content: bytes) -> Bytes:
    """The lower eight bits of a PNG of 16-bit colors, `(H, W, 3)`: the decoder keeps the upper ones only."""
    again: Any = Image.open(io.BytesIO(content), formats=("PNG",))
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
    return np.asarray(again)
