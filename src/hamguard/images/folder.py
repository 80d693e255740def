"""List the pictures of a folder, in an order that does not depend on the machine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hamguard.core.errors import RequestError
from hamguard.images.io import SUFFIXES

UNREAD = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg")
"""Pictures in formats that hamguard does not read."""


def unread_pictures(folder: Path | str) -> dict[str, int]:
    """How many files of other picture formats a folder holds, by suffix; hidden files are left out."""
    folder = Path(folder)
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in UNREAD]
    return dict(Counter(sorted(n.suffix.lower() for n in names if not any(p.startswith(".") for p in n.parts))))


def list_pictures(folder: Path | str, *, recursive: bool = True) -> list[Path]:
    """List the picture files below a folder, sorted by their path inside it; hidden files are left out.

    Args:
        folder: where to look.
        recursive: look into folders inside it, too.

    Raises:
        RequestError: the folder is missing, is a file, or holds no picture.
    """
    folder = Path(folder)
    if not folder.exists():
        raise RequestError(f"folder {folder} does not exist")
    if not folder.is_dir():
        raise RequestError(f"{folder} is a file; a folder of pictures is needed")
    found = [
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        raise RequestError(f"folder {folder} holds no picture; looked for {', '.join(SUFFIXES)}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
