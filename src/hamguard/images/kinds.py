"""What a file is, by its first bytes: a suffix says what somebody called it, not what it holds."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

Format = Literal["png", "jpeg", "webp", "bmp"]

SUFFIXES: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".bmp": "bmp"}
"""Suffixes that are written, and the format that they name."""

CALLED = frozenset({*SUFFIXES, ".jfif", ".jpe", ".jif", ".pjpeg", ".mpo", ".apng", ".dib"})
"""Suffixes of files that must be pictures we read: one that is none is broken, and is named as such."""

HEAD = 32
"""Bytes that `kind_of` looks at."""

RAW, VIDEO = "camera raw", "video"
_NAMED = {  # by suffix, where the first bytes say nothing, or less
    ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF", ".heic": "HEIC", ".heif": "HEIC", ".avif": "AVIF", ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".svg": "SVG", ".psd": "Photoshop", ".ico": "ICO",
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"), RAW),
    **dict.fromkeys((".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".mts"), VIDEO),
}  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": RAW}
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_MAGIC = (
    (b"GIF87a", "GIF"), (b"GIF89a", "GIF"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL ", "JPEG XL"), (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"), (b"FUJIFILMCCD-RAW", RAW), (b"IIRO", RAW), (b"IIRS", RAW), (b"MMOR", RAW), (b"IIU\0", RAW),
    (b"\x1a\x45\xdf\xa3", VIDEO), (b"\0\0\x01\xba", VIDEO),
)  # fmt: skip
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}


def without_suffix(name: str) -> str:
    """The path of a file without what its name ends in, where that is known to call a picture.

    >>> without_suffix("a/two.jfif"), without_suffix("a/IMG.2024")
    ('a/two', 'a/IMG.2024')
    """
    path = PurePosixPath(name)
    known = path.suffix.lower() in CALLED or path.suffix.lower() in _NAMED
    return path.with_suffix("").as_posix() if known else name


def read_format(head: bytes) -> Format | None:
    """The format of a picture that hamguard reads, by the first `HEAD` bytes of its file; None for anything else."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:  # a text may begin with BM
        return "bmp"
    return None


def other_kind(head: bytes, suffix: str) -> str | None:
    """What kind of picture or video that hamguard does not read a file is, in a word; None for anything else.

    Args:
        head: the first `HEAD` bytes.
        suffix: of its name; it names a kind of TIFF, or speaks where the bytes do not.

    >>> other_kind(b"GIF89a" + bytes(26), ".jpg"), other_kind(b"", ".heic"), other_kind(b"dear diary", ".txt")
    ('GIF', 'HEIC', None)
    """
    named = _NAMED.get(suffix.lower())
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return _BRANDS.get(brand) or ("HEIC" if brand in _HEIC else VIDEO)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return VIDEO
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return RAW if kind == "TIFF" and (named == RAW or head[8:10] == b"CR") else kind
    return named
