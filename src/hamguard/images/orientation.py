"""How a picture is turned: one answer for those who ask for its size and those who decode it.

The tag is read from the bytes of the EXIF block itself: a field that is damaged elsewhere in it must not lay a photo on its side.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from PIL import Image

ORIENTATION = 0x0112
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NUMBERS = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
}  # types of TIFF that are whole numbers, as `struct` calls them
_IN_XMP = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([0-9]+)""")
_PNG_XMP = b"XML:com.adobe.xmp\0"


def orientation_of(picture: Image.Image, content: bytes) -> int:
    """The number 1 to 8 of EXIF; 1, upright, where the file has none, or none that is allowed.

    Args:
        picture: opened, its pixels not read yet.
        content: the bytes of its file.
    """
    blocks = [_exif_of(picture.info)]
    packets = [picture.info.get("xmp"), picture.info.get("XML:com.adobe.xmp")]
    for kind, block in _later_chunks(content) if picture.format == "PNG" else ():
        if kind == b"eXIf":
            blocks.append(block)
        elif block.startswith(_PNG_XMP):  # then two bytes on compression, a language and a translated word, both empty
            packets.append(block)
    for block in blocks:
        if 1 <= (found := _tag(block)) <= 8:
            return found
    for packet in packets:
        text = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
        if isinstance(text, bytes) and (match := _IN_XMP.search(text)) and 1 <= int(match[2]) <= 8:
            return int(match[2])
    return 1


def is_turned(orientation: int) -> bool:
    """Whether height and width change places."""
    return orientation >= 5


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture upright, decoded; the same one where it is upright already."""
    method = _METHODS.get(orientation)
    return picture if method is None else picture.transpose(method)


def xmp_upright(packet: bytes) -> bytes:
    """An XMP packet for a picture that was turned upright."""
    return _IN_XMP.sub(rb"\g<1>1", packet)


def _exif_of(info: dict[str | tuple[int, int], object]) -> bytes:
    """The EXIF block of a picture whose header is read; empty for none."""
    block = info.get("exif")
    if isinstance(block, bytes):
        return block
    text = info.get("Raw profile type exif")  # as ImageMagick writes it into a PNG: words, then hexadecimal digits
    if isinstance(text, str):
        try:
            return bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            return b""
    return b""


def _later_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Metadata of a PNG that stands behind its pixels, so that reading the header does not find it."""
    at, behind = 8, False
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        behind = behind or kind == b"IDAT"
        if behind and kind in (b"eXIf", b"iTXt"):
            yield kind, content[at + 8 : at + 8 + length]
        at += 12 + length


def _tag(block: bytes) -> int:
    """The orientation in the first directory of a TIFF block; 0 where there is none, or it is no number."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(count):
            at = start + 2 + 12 * entry
            tag, kind, values = struct.unpack_from(f"{order}HHI", block, at)
            if tag == ORIENTATION:
                if kind not in _NUMBERS or values < 1:
                    return 0
                return int(struct.unpack_from(f"{order}{_NUMBERS[kind]}", block, at + 8)[0])
    except struct.error:  # the block ends early
        return 0
    return 0
