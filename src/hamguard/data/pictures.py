"""Picture files of a source: found by name however it is written, bounded in bytes, decoded together."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hamguard.core.digests import digest_bytes, digest_content
from hamguard.core.errors import ImageError
from hamguard.data.cache import Progress, decode_all
from hamguard.data.dataset import ImageStore
from hamguard.images.io import decode, read_file


def plain_path(name: str) -> str:
    r"""A listed path as it is compared: `/` between folders, no `.` among them, composed Unicode (NFC).

    >>> plain_path(".\\x\\p2.png"), plain_path("x//p2.png")
    ('x/p2.png', 'x/p2.png')
    """
    slashed = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    kept = [part for part in slashed.split("/") if part not in ("", ".")]
    return ("/" if slashed.startswith("/") else "") + "/".join(kept)


class Finder:
    """Finds files below a folder by listed names, in either Unicode form and with either slash.

    Args:
        folder: where the names begin.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[Path, dict[str, str]] = {}

    def __call__(self, name: str) -> Path | None:
        """The ordinary file that a name means, or None."""
        try:
            if (direct := self.folder / name).is_file():
                return direct
            place = self.folder
            for part in plain_path(name).split("/"):
                real = self._names(place).get(part)
                if real is None:
                    return None
                place = place / real
            return place if place.is_file() else None
        except OSError:  # a name that no file can have
            return None

    def _names(self, folder: Path) -> dict[str, str]:
        """Names in a folder by their composed form."""
        if folder not in self._listed:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            self._listed[folder] = {unicodedata.normalize("NFC", name): name for name in reversed(names)}
        return self._listed[folder]


def decode_files(
    paths: Sequence[Path], *, size: int | None, progress: Progress | None, names: Sequence[str] | None = None
) -> ImageStore:
    """Decode picture files to one size.

    Args:
        paths: the files.
        size: height and width, as in `decode_all`.
        progress: called with `(done, total)`.
        names: how errors call the pictures; their paths where not given.

    Raises:
        ImageError: a picture is missing, too large or broken; the message names it.
    """
    content = digest_bytes(*(digest_content(read_file(path)).encode() for path in paths))
    called = [str(path) for path in paths] if names is None else names
    return decode_all(called, lambda i: read_file(paths[i]), content, size=size, progress=progress)


def decode_readable(
    paths: Sequence[Path], *, size: int | None, progress: Progress | None
) -> tuple[list[int], ImageStore, list[str]]:
    """Decode those of many picture files that can be read.

    Returns:
        Numbers of the pictures that can be read, their pixels, and why each of the others cannot.

    Raises:
        ImageError: none can be read; the message names the first.
    """

    def fault(path: Path) -> str:
        try:
            decode(path)
        except ImageError as error:
            return str(error)
        return ""

    try:
        return list(range(len(paths))), decode_files(paths, size=size, progress=progress), []
    except ImageError:  # look at each of them only where one is broken
        with ThreadPoolExecutor(4) as pool:
            faults = list(pool.map(fault, paths))
        kept = [i for i in range(len(paths)) if not faults[i]]
        if not kept or len(kept) == len(paths):
            raise
        chosen = [paths[i] for i in kept]
        return kept, decode_files(chosen, size=size, progress=progress), [reason for reason in faults if reason]
