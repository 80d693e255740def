"""Pictures that stand beside a rows file: a list `pictures.json`, so that a page shows them with their captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.core.files import read_text, write_json

LIST = "pictures.json"
LARGEST = 8 * 2**20  # bytes of one picture
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SECTIONS = {
    "sheets": "Retrieval sheets",
    "attacks": "Attacked pictures",
    "curves": "Further curves",
    "audit": "Audits",
    "defenses": "Defenses",
    "protection": "Protection",
    "other": "Further pictures",
}
"""Word in `pictures.json`, heading on the page; in this order."""


@dataclass(frozen=True)
class Picture:
    """A picture that belongs to a rows file.

    Attributes:
        file: a PNG file of at most 8 MB.
        caption: what it shows, in a sentence.
        section: one of `SECTIONS`.
        rows: hash of the rows file that it was drawn for; empty for all in its folder.
    """

    file: Path | str
    caption: str
    section: str = "other"
    rows: str = ""


def write_pictures(folder: Path | str, pictures: Iterable[Picture]) -> Path:
    """Write `pictures.json` into the folder of a rows file.

    Args:
        folder: where `rows.jsonl` stands.
        pictures: files inside `folder`, absolute or relative to it.

    Returns:
        The list.

    Raises:
        RequestError: a picture is missing, no PNG, too large or outside of the folder, or its section is unknown.
        RunError: the list cannot be written.
    """
    folder = Path(folder)
    lines = []
    for number, one in enumerate(pictures, 1):
        file = _inside(folder, one.file, f"picture {number}")
        _check(file, f"picture {number}")
        check_choice("section", one.section, SECTIONS)
        place = file.resolve().relative_to(folder.resolve()).as_posix()
        own = {"rows": one.rows} if one.rows else {}
        lines.append({"file": place, "caption": one.caption, "section": one.section, **own})
    write_json(folder / LIST, lines)
    return folder / LIST


def add_picture(rows: Path | str, picture: Picture) -> Path:
    """Put a picture that was drawn for a rows file first on the list beside it; one of the same file gives way.

    It belongs to these rows as they are now: once the file holds others, no page shows it with them.

    Args:
        rows: the rows file, in whose folder the picture lies.
        picture: a PNG file there; its `rows` are those of the file.

    Returns:
        The list.

    Raises:
        RequestError: the list beside the rows is broken, or the picture is no PNG in the folder of the rows.
        RunError: the list cannot be written.
    """
    rows = Path(rows)
    place = _inside(rows.parent, Path(picture.file).resolve(), "the picture")
    known = [one for one in read_pictures(rows.parent) if Path(one.file) != place]
    return write_pictures(rows.parent, [replace(picture, file=place, rows=digest_file(rows)), *known])


def may_be_listed(rows: Path | str, file: Path | str) -> bool:
    """Whether a picture that is still to be drawn lies where the list of a rows file can name it: a PNG in its folder.

    Raises:
        RequestError: the list that stands there is broken.
    """
    folder = Path(rows).parent
    read_pictures(folder)
    return Path(file).suffix.lower() == ".png" and Path(file).resolve().is_relative_to(folder.resolve())


def read_pictures(folder: Path | str) -> list[Picture]:
    """Pictures of a folder; none where it has no list.

    Raises:
        RequestError: the list is broken, or a file is missing, no PNG, too large or outside of the folder.
    """
    folder = Path(folder)
    path = folder / LIST
    if not path.exists():
        return []
    text = read_text(path, "list of pictures")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is no JSON") from error
    if not isinstance(content, list):
        raise RequestError(f"{path} must be a JSON list of objects with file, caption and section")
    return [_picture(folder, one, f"{path}, picture {number}") for number, one in enumerate(content, 1)]


def _picture(folder: Path, content: Any, where: str) -> Picture:
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise RequestError(f"{where}: must be an object of texts: file, caption, section, rows")
    unknown = set(content) - {"file", "caption", "section", "rows"}
    if unknown or not content.get("file"):
        what = f"unknown keys {', '.join(sorted(unknown))}" if unknown else "no file"
        raise RequestError(f"{where}: {what}; allowed: file, caption, section, rows")
    section = content.get("section", "other")
    if section not in SECTIONS:
        raise RequestError(f"{where}: unknown section {section!r}; allowed: {', '.join(SECTIONS)}")
    file = _inside(folder, Path(content["file"]), where)
    _check(file, where)
    return Picture(file, content.get("caption", ""), section, content.get("rows", ""))


def _inside(folder: Path, file: Path | str, where: str) -> Path:
    """The file, whose real place, links followed, is in the folder."""
    try:
        found = (folder / file).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(f"{where}: {str(file)!r} is no path") from error
    if not found.is_relative_to(folder.resolve()):
        raise RequestError(f"{where}: {file} lies outside of {folder}; pictures stand in the folder of their rows")
    return found


def _check(file: Path, where: str) -> None:
    if not file.is_file():
        raise RequestError(f"{where}: no file {file}")
    if file.stat().st_size > LARGEST:
        raise RequestError(f"{where}: {file} is larger than {LARGEST // 2**20} MB")
    with file.open("rb") as stream:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            raise RequestError(f"{where}: {file} is no PNG picture")
