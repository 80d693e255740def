"""What lies in a folder: the pictures that are read, in an order that does not depend on the machine, and all that is left out.

A picture is known by its first bytes, whatever its name ends in. A file that is called like a picture but holds none counts as one:
whoever reads it says that it is broken. Nothing is left out without a word, but for files that systems and hamguard itself
put into folders of pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hamguard.core.errors import RequestError
from hamguard.core.files import open_ordinary
from hamguard.core.shown import shown
from hamguard.images.kinds import CALLED, HEAD, SUFFIXES, other_kind, read_format

HIDDEN, NO_PICTURE, LINKED, UNREADABLE = "hidden", "no picture", "link to a folder", "not readable"
FIRST = 3
"""Names that a note gives of each kind."""

_SYSTEM = re.compile(
    r"\._.*|\.DS_Store|\.localized|Thumbs\.db|ehthumbs\.db|desktop\.ini|Icon\r|\.picasa\.ini|\.hamguard-.*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LeftOut:
    """A file, or a folder, in which a person may expect pictures, and which is not read.

    Attributes:
        file: its path inside the folder.
        kind: what it is, e.g. `HEIC`, `video`, or one of `HIDDEN`, `NO_PICTURE`, `LINKED`, `UNREADABLE`.
    """

    file: str
    kind: str


@dataclass(frozen=True)
class Contents:
    """What a folder holds, sorted by path inside it.

    Attributes:
        pictures: paths of the pictures that are read, those that are broken included.
        left: everything else.
    """

    pictures: list[str]
    left: list[LeftOut]


def look_into(folder: Path | str) -> Contents:
    """Everything below a folder; links to folders are not followed, so that no circle is endless.

    Raises:
        RequestError: the folder is missing, may not be read, or is no folder.
    """
    folder = Path(folder)
    if not folder.exists():
        raise RequestError(f"folder {folder} does not exist")
    if not folder.is_dir():
        raise RequestError(f"{folder} is a file; a folder of pictures is needed")
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise RequestError(f"folder {folder} cannot be read: {error.strerror}") from error
    pictures, left = [], []
    for name, entry in _walk(folder, ""):
        if (found := _kind(name, entry)) == "":
            pictures.append(name)
        elif found:
            left.append(LeftOut(name, found))
    return Contents(sorted(pictures), sorted(left, key=lambda one: one.file))


def _walk(place: Path | str, above: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Paths and entries of all files below a folder, and of links to folders; no entry for a folder that may not be read."""
    try:
        with os.scandir(place) as listed:
            entries = list(listed)
    except OSError:
        yield above.rstrip("/"), None
        return
    for entry in entries:
        name = above + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/")
        else:
            yield name, entry


def _kind(name: str, entry: os.DirEntry[str] | None) -> str | None:
    """Empty for a picture that is read, None for what is not worth a word, else the kind of what is left out."""
    if entry is None:
        return UNREADABLE
    if _SYSTEM.fullmatch(entry.name):
        return None
    if entry.is_symlink() and Path(entry.path).is_dir():
        return LINKED
    suffix = PurePosixPath(entry.name).suffix.lower()
    called, head = suffix in CALLED, b""
    hidden = any(part.startswith(".") for part in name.split("/"))
    if not called:
        try:
            with open_ordinary(entry.path, "file") as stream:
                head = stream.read(HEAD)
        except (RequestError, OSError):  # a pipe, a device, a link to nowhere, or no right to read
            return None if hidden else UNREADABLE
    other = other_kind(head, suffix)
    if hidden:
        return HIDDEN if called or other or read_format(head) else None
    return "" if called or read_format(head) else other or NO_PICTURE


def list_pictures(folder: Path | str) -> list[Path]:
    """The picture files below a folder, sorted by their path inside it.

    Raises:
        RequestError: the folder is missing, is a file, or holds no picture.
    """
    return [Path(folder) / name for name in require_pictures(folder, look_into(folder))]


def require_pictures(folder: Path | str, found: Contents) -> list[str]:
    """The pictures of a folder that was looked into, by their paths inside it.

    Raises:
        RequestError: there is none; the message says what lies there instead.
    """
    if not found.pictures:
        note = left_out_note(found.left)
        raise RequestError(
            f"folder {folder} holds no picture; looked for {', '.join(SUFFIXES)}" + (f"; {note}" if note else "")
        )
    return found.pictures


def left_out_note(left: Iterable[LeftOut]) -> str:
    """What was left out, by kinds, with the first names of each, as one line; empty for nothing.

    >>> left_out_note([LeftOut("a.heic", "HEIC"), LeftOut(".b.jpg", "hidden"), LeftOut("c.txt", "no picture")])
    'left out: 1 HEIC (a.heic), 1 hidden (.b.jpg), 1 no picture (c.txt)'
    """
    kinds: dict[str, list[str]] = {}
    for one in left:
        kinds.setdefault(one.kind, []).append(one.file)
    order = sorted(kinds, key=lambda kind: (kind == NO_PICTURE, kind == HIDDEN, kind))
    told = ", ".join(f"{len(kinds[kind]):,} {kind} ({first_names(kinds[kind])})" for kind in order)
    return f"left out: {told}" if told else ""


def first_names(names: Sequence[str], most: int = FIRST) -> str:
    """The first of some names, as a terminal may show them."""
    return ", ".join(shown(name) for name in names[:most]) + (", ..." if len(names) > most else "")
