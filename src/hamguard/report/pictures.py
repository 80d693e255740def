"""Pictures that stand beside a rows file: a list `pictures.json`, so that a page shows them with their captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard.core.checks import check_choice
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
    """

    file: Path | str
    caption: str
    section: str = "other"


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
        lines.append({"file": place, "caption": one.caption, "section": one.section})
    write_json(folder / LIST, lines)
    return folder / LIST


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
        raise RequestError(f"{where}: must be an object of texts: file, caption, section")
    unknown = set(content) - {"file", "caption", "section"}
    if unknown or not content.get("file"):
        what = f"unknown keys {', '.join(sorted(unknown))}" if unknown else "no file"
        raise RequestError(f"{where}: {what}; allowed: file, caption, section")
    section = content.get("section", "other")
    if section not in SECTIONS:
        raise RequestError(f"{where}: unknown section {section!r}; allowed: {', '.join(SECTIONS)}")
    file = _inside(folder, Path(content["file"]), where)
    _check(file, where)
    return Picture(file, content.get("caption", ""), section)


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
