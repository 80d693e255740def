"""A picture file with all that must not be lost on the way to its protected copy: transparency, color profile, metadata as asked.

`io.decode` gives what a person sees and nothing else; here the layers stay apart, so that the copy can have them again. Whatever
may show the unprotected picture is left out under every rule: EXIF thumbnails, maker notes (they hold previews), XMP packets
with pictures in them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import ImageError
from hamguard.core.types import Bytes
from hamguard.images.io import BROKEN, MAX_PIXELS, Source, broken, check_picture, label, open_picture, quietly
from hamguard.images.kinds import Format
from hamguard.images.layers import on_white
from hamguard.images.orientation import ORIENTATION, xmp_upright

Metadata = Literal["strip", "no-location", "keep"]
METADATA: tuple[Metadata, ...] = ("strip", "no-location", "keep")

STRIP_PIXELS = 1 << 20
"""Pixels that are worked on at once where a picture may be large."""

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_PICTURES = {  # offsets of pictures or of strips of them, and fields that hold previews
    0x0100, 0x0101, 0x0111, 0x0117, 0x014A, 0x0201, 0x0202, 0x501B, 0x927C, 0xA005, 0xC634,
}  # fmt: skip
_PLACES = {_GPS_IFD, 0x02BC, 0x83BB, 0x8649}  # GPS; XMP, IPTC and Photoshop blocks, which may name places
_WIDTH, _HEIGHT = 0xA002, 0xA003
_LONGEST = 1024  # bytes of a binary field; previews are longer
_XMP_PICTURES = (b"xmpGImg", b"Thumbnails", b"GImage", b"GDepth", b"GContainer")
_PNG_LEVEL = 3  # noise hardly packs: level 6 takes twice as long and saves 2% of the bytes
_WEBP_METHOD = 2


@dataclass(frozen=True)
class Original:
    """A picture, upright, in layers.

    Attributes:
        pixels: color or gray without transparency, `(H, W, 3)` or `(H, W)` uint8.
        alpha: `(H, W)` uint8, 255 is opaque; None where the file has none.
        icc: color profile; empty where there is none or it does not fit 8-bit RGB or gray.
        exif: EXIF block to write; empty for none.
        xmp: XMP packet to write; empty for none.
        frames: how many pictures the file holds, of which this is the first.
    """

    pixels: Bytes
    alpha: Bytes | None = None
    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    frames: int = 1

    @property
    def seen(self) -> Bytes:
        """What a person sees: transparency on white, as `io.decode` gives it, gray where `pixels` are."""
        return self.pixels if self.alpha is None else lay_on_white(self.pixels, self.alpha)


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture in parts of about a million pixels."""
    rows = max(1, STRIP_PIXELS // max(1, width))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def lay_on_white(pixels: Bytes, alpha: Bytes) -> Bytes:
    """Colors under transparency as they look on white, the shape of `pixels`, in strips."""
    out = np.empty_like(pixels)
    gray = pixels.ndim == 2
    for rows in strips(*pixels.shape[:2]):
        part = Image.fromarray(np.ascontiguousarray(pixels[rows]))
        flat = on_white(part, Image.fromarray(np.ascontiguousarray(alpha[rows])))
        out[rows] = np.asarray(flat.convert("L" if gray else "RGB"))
    return out


@quietly
def read_original(
    source: Source, *, name: str | None = None, metadata: Metadata = "strip", max_pixels: int = MAX_PIXELS
) -> Original:
    """Decode a picture file, or its bytes, upright, with its layers.

    Args:
        source: a path, or the bytes of the file.
        name: how errors call the picture; the path by default.
        metadata: `strip` keeps the color profile only; `no-location` also EXIF without GPS, XMP, IPTC and unknown fields; `keep`
            EXIF and XMP. A damaged block is left out.
        max_pixels: larger pictures are refused before their pixels are decoded.

    Raises:
        RequestError: unknown rule for metadata.
        ImageError: not a picture, missing, truncated, or larger than `max_pixels`; the message names the file.
    """
    check_choice("metadata", metadata, METADATA)
    name = label(source, name)
    opened = open_picture(source, name, max_pixels)
    picture = opened.picture
    icc = picture.info.get("icc_profile") or b""
    if picture.mode in {"CMYK", "YCCK", "LAB"}:  # the profile describes the inks, not the RGB values made of them
        icc = b""
    try:
        colors, alpha = opened.layers()
        exif = _exif_bytes(picture, colors.size, location=metadata == "keep") if metadata != "strip" else b""
        xmp = _xmp_bytes(picture.info) if metadata == "keep" else b""
        frames = opened.frames
        del picture, opened  # a large one counts
        return Original(np.array(colors), None if alpha is None else np.array(alpha), icc, exif, xmp, frames)
    except (*BROKEN, MemoryError) as error:
        raise broken(name, error) from error


def _exif_bytes(picture: Image.Image, size: tuple[int, int], *, location: bool) -> bytes:
    """The EXIF block of a picture whose upright width and height are `size`: no pictures, and no places where not wanted."""
    try:
        found = picture.getexif()
        kept = Image.Exif()
        kept.endian = found.endian
        for tag, value in _fields(found, location).items():
            kept[tag] = value
        if ORIENTATION in found:
            kept[ORIENTATION] = 1
        inner = _fields(found.get_ifd(_EXIF_IFD), location)
        for tag, side in ((_WIDTH, size[0]), (_HEIGHT, size[1])):  # a turned picture has changed sides
            if tag in inner:
                inner[tag] = side
        if inner:
            kept[_EXIF_IFD] = inner
        if location and (places := dict(found.get_ifd(_GPS_IFD))):
            kept[_GPS_IFD] = places
        return kept.tobytes() if len(kept) else b""
    except BROKEN:
        return b""


def _fields(ifd: Mapping[int, Any], location: bool) -> dict[int, Any]:
    left_out = _PICTURES | {_EXIF_IFD, _GPS_IFD} | (set() if location else _PLACES)
    return {
        tag: value
        for tag, value in ifd.items()
        if tag not in left_out
        and (location or tag in ExifTags.TAGS)
        and not (isinstance(value, bytes) and len(value) > _LONGEST)
    }


def _xmp_bytes(info: Mapping[Any, Any]) -> bytes:
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    return b"" if any(mark in packet for mark in _XMP_PICTURES) else xmp_upright(packet)


def encode_original(original: Original, kind: Format, *, quality: int = 95, name: str = "picture") -> bytes:
    """Encode a picture with its layers and metadata.

    PNG and WebP of quality 100 are exact. JPEG keeps all of the color (4:4:4), because halved color would take half of the noise;
    it holds no transparency, which is laid on white.

    Args:
        original: what to write.
        kind: `png`, `jpeg` or `webp`.
        quality: 1 to 100, for `jpeg` and `webp`.
        name: how errors call the picture.

    Raises:
        RequestError: unknown format, quality out of range, or not a picture.
        ImageError: the format cannot hold it: too many pixels a side, or a block of metadata that is too long.
    """
    check_choice("picture format", kind, ("png", "jpeg", "webp"))
    check_range("quality", quality, 1, 100)
    check_picture(original.pixels)
    words: dict[str, Any] = {"icc_profile": original.icc} if original.icc else {}
    if original.exif:
        words["exif"] = original.exif
    if original.xmp and kind != "png":
        words["xmp"] = original.xmp
    out = io.BytesIO()
    try:
        if kind == "jpeg":
            picture = Image.fromarray(original.seen)
            picture.save(out, "JPEG", quality=quality, subsampling=0, **words)
        elif kind == "webp":
            exact = quality == 100
            effort = 50 if exact else quality  # of a lossless file the number says how long to try
            picture = _with_alpha(original)
            picture.save(out, "WEBP", quality=effort, lossless=exact, exact=True, method=_WEBP_METHOD, **words)
        else:
            if original.xmp:
                text = PngImagePlugin.PngInfo()
                text.add_itxt("XML:com.adobe.xmp", original.xmp.decode("utf-8", "replace"))
                words["pnginfo"] = text
            _with_alpha(original).save(out, "PNG", compress_level=_PNG_LEVEL, **words)
    except BROKEN as error:
        raise ImageError(f"{name} cannot be written as {kind}: {error}") from error
    return out.getvalue()


def _with_alpha(original: Original) -> Image.Image:
    picture = Image.fromarray(original.pixels)
    if original.alpha is not None:
        picture.putalpha(Image.fromarray(original.alpha))
    return picture
