"""How copies are called, and where they may not lie: originals are never overwritten."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.files import open_ordinary
from hamguard.images.folder import LeftOut, look_into, require_pictures
from hamguard.images.io import READ
from hamguard.images.kinds import CALLED, HEAD, SUFFIXES, read_format, without_suffix
from hamguard.privacy.manifest import LINES, SETTINGS, inside

SUFFIX: dict[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""What the names of copies end in."""

_NO_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}


def copy_names(files: Sequence[str], kind: str) -> dict[str, str]:
    """Where the copy of each file goes, both as paths inside their folders.

    A file that has the format already keeps its name; the others change the suffix: `a.jpg` becomes `a.png`, and a name without
    a suffix of pictures gets one: `IMG.2024` becomes `IMG.2024.png`. Where two meet,
    the one that keeps its name has it, else the first; the other's old suffix stays in: `a.jpg.png`. Names that differ only in
    capitals meet, too, because on many disks they are one file.

    >>> copy_names(["a.jpg", "a.png", "b/c.webp"], "png")
    {'a.jpg': 'a.jpg.png', 'a.png': 'a.png', 'b/c.webp': 'b/c.png'}
    """
    taken: set[str] = set()
    names: dict[str, str] = {}

    def take(file: str, name: str) -> bool:
        if name.casefold() in taken:
            return False
        taken.add(name.casefold())
        names[file] = name
        return True

    ordered = sorted(files)
    for file in ordered:
        if SUFFIXES.get(PurePosixPath(file).suffix.lower()) == kind:
            take(file, file)
    for file in ordered:
        if file in names:
            continue
        suffix = SUFFIX[kind]
        number = 2
        found = take(file, without_suffix(file) + suffix) or take(file, file + suffix)
        while not found:
            found = take(file, f"{file}.{number}{suffix}")
            number += 1
    return {file: names[file] for file in files}


def check_apart(source: Path, out: Path) -> None:
    """Check that writing to `out` cannot touch originals below `source`, once links are followed.

    Raises:
        RequestError: they are the same, or one lies in the other.
    """
    a, b = source.resolve(), out.resolve()
    if a == b or (out.exists() and out.samefile(source)):
        raise RequestError(f"{out} is {source} itself; originals are never overwritten, give another place")
    if source.is_dir() and b.is_relative_to(a):
        raise RequestError(
            f"{out} lies in {source}; copies among originals would be protected again, give another place"
        )
    if out.is_dir() and source.is_dir() and a.is_relative_to(b):
        raise RequestError(f"{source} lies in {out}; originals are never overwritten, give another place")


def check_free(folder: Path, names: Iterable[str], ours: Callable[[str], bool]) -> None:
    """Check that no copy takes the place of a file that protect did not write.

    Raises:
        RequestError: one does, or lies outside `folder` once links are followed.
    """
    for name in names:
        path = folder / name
        if not inside(folder, path):
            raise RequestError(f"{path} leads out of {folder} by a link; give another folder")
        if no_name(path):  # the run says so of that file, and does the others
            continue
        if (path.exists() or path.is_symlink()) and not ours(name):
            raise RequestError(f"{path} exists and was not written by hamguard protect; it is never overwritten")
        if name in (SETTINGS, LINES):  # no picture is called so
            raise RequestError(f"{path} is a file of protect's own")


def no_name(path: Path) -> str:
    """Why a file cannot be called so on its disk; empty where it can."""
    try:
        path.lstat()
    except OSError as error:
        return str(error.strerror) if error.errno in _NO_NAME else ""
    return ""


def chosen_format(source: Path, out: Path, kind: str | None) -> Any:
    """The format that is asked for, or that the suffix of `out` names; png where neither does.

    Raises:
        RequestError: they name different ones, or one that cannot be written.
    """
    if kind is not None:
        check_choice("picture format", kind, SUFFIX)
    if source.is_dir() or out.is_dir() or not out.suffix:
        return kind or "png"
    named = SUFFIXES.get(out.suffix.lower())
    if named not in SUFFIX:
        raise RequestError(f"a copy is written as .png, .jpg or .webp, got {out.name}")
    if kind not in (None, named):
        raise RequestError(f"format {kind} does not go with {out.name}; leave one of them out")
    return named


def places(source: Path, out: Path, form: str) -> tuple[Path, Path, dict[str, str], list[LeftOut]]:
    """Folder of the originals, folder of the copies, the path of each copy by that of its original, and what is left out.

    Raises:
        RequestError: there is no picture.
    """
    if source.is_dir():
        found = look_into(source)
        return source, out, copy_names(require_pictures(source, found), form), found.left
    with open_ordinary(source, "picture") as stream:
        if source.suffix.lower() not in CALLED and not read_format(stream.read(HEAD)):
            raise RequestError(f"{source} is no picture that can be read; {READ}")
    if out.is_dir() or not out.suffix:
        return source.parent, out, copy_names([source.name], form), []
    return source.parent, out.parent, {source.name: out.name}, []
