r"""Lists of pictures and labels as they lie in a folder: which files belong to which set, and what their lines say.

A line of labels is a row of 0 and 1, one mark a class, or one class number, by the rule of `hamguard.core.label_arrays`.
Values stand apart by space, tabs, commas or semicolons. Paths are written with `/` or `\`. Lines that are blank in both lists
of a pair are skipped, also those of separators only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.shown import shown
from hamguard.core.types import Ints
from hamguard.data.lines import iter_lines, values
from hamguard.data.pictures import plain_path
from hamguard.data.tags import find_texts
from hamguard.images.kinds import CALLED, other_kind

_PAIR = re.compile(r"(?:prosgan_)?(?P<name>.+)_(?P<part>train|test|database)_img\.txt(?:\.xz)?", re.IGNORECASE)
_SINGLE = re.compile(r"(?P<part>train|test|database)\.txt(?:\.xz)?", re.IGNORECASE)
_TAG_NAMES = re.compile(r"(?:.+_)?tags\.txt(?:\.xz)?", re.IGNORECASE)
_PATH = re.compile(
    r"(?P<path>.*?\.(?:jpe?g|jpe|jfif|png|webp|bmp|gif|tiff?|mpo)|[^\s,;]+)(?:[\s,;]+(?P<rest>.*))?", re.IGNORECASE
)
_WHOLE = re.compile(r"\d{1,15}(?:\.0*)?")


@dataclass(frozen=True)
class ListSet:
    """Where the lists of one set lie: part name to its list of paths, and to its labels (or None: in the same file).

    `texts` has the files with texts or tags of each part that has any.
    """

    name: str
    files: dict[str, tuple[Path, Path | None]]
    texts: dict[str, tuple[Path, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ListPart:
    """The lines of one list.

    Attributes:
        paths: listed paths, n of them.
        labels: rows of 0 and 1 `(n, C)`, or class numbers `(n, 1)`.
        file: the file with the labels.
    """

    paths: list[str]
    labels: Ints
    file: Path


def find_lists(folder: Path) -> dict[str, ListSet]:
    """All sets whose lists lie in a folder, by name; the HashNet layout has the folder's name.

    Raises:
        RequestError: the folder is missing, or an image list has no label list.
    """
    if not folder.is_dir():
        raise RequestError(f"folder {folder} does not exist")
    found: dict[str, dict[str, tuple[Path, Path | None]]] = {}
    listed = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True)}
    for path in sorted(listed.values()):  # a plain list comes before the packed one of its name, and wins
        if match := _PAIR.fullmatch(path.name):
            stem = path.name.lower().removesuffix(".xz").removesuffix("_img.txt") + "_label.txt"
            label = next((listed[name] for name in (stem, f"{stem}.xz") if name in listed), None)
            if label is None:
                beside = re.sub(r"_img\.txt$", "_label.txt", re.sub(r"\.xz$", "", path.name, flags=re.I), flags=re.I)
                raise RequestError(f"{path} has no label list beside it; put {beside} there")
            found.setdefault(match["name"], {}).setdefault(match["part"].lower(), (path, label))
        elif match := _SINGLE.fullmatch(path.name):
            found.setdefault(folder.resolve().name, {}).setdefault(match["part"].lower(), (path, None))
    return {name: ListSet(name, files, _texts(files)) for name, files in found.items()}


def _texts(files: dict[str, tuple[Path, Path | None]]) -> dict[str, tuple[Path, ...]]:
    """Files with texts beside lists that have their labels beside them; HashNet's layout has none."""
    found = {part: find_texts(image) for part, (image, label) in files.items() if label is not None}
    return {part: paths for part, paths in found.items() if paths}


def unread_files(folder: Path, sets: dict[str, ListSet]) -> list[str]:
    """Names of the files beside lists that nobody reads; pictures are not counted."""
    used = {path for one in sets.values() for pair in one.files.values() for path in pair if path is not None}
    texts = {path for one in sets.values() for paths in one.texts.values() for path in paths}
    names = bool(texts)
    return [
        path.name
        for path in sorted(folder.iterdir())
        if path not in used | texts
        and not path.is_dir()
        and not (path.suffix.lower() in CALLED or other_kind(b"", path.suffix.lower()))
        and not path.name.startswith(".")
        and not (names and _TAG_NAMES.fullmatch(path.name))
    ]


def read_list(image_file: Path, label_file: Path | None) -> ListPart:
    """Read one list.

    Raises:
        RequestError: different numbers of lines, lines that do not lie side by side, rows of different length, or values that
            are neither 0 and 1 nor class numbers.
    """
    lines = _lines(image_file)
    if not lines:
        raise RequestError(f"{image_file} is empty")
    if label_file is None:
        shown_file, pairs = image_file, [_parted(line) for line in lines if line]
        paths, rows = [path for path, _ in pairs], [values(rest) for _, rest in pairs]
        if bare := next((path for path, row in zip(paths, rows, strict=True) if not row), None):
            raise RequestError(
                f"{image_file} has a line without labels: {shown(bare)[:60]!r}; a line is a path and its labels, with space, "
                "commas or semicolons between them"
            )
    else:
        shown_file, marks = label_file, _lines(label_file)
        counts = sum(map(bool, marks)), sum(map(bool, lines))
        if counts[0] != counts[1]:
            raise RequestError(
                f"{shown_file} does not match {image_file.name}: {counts[0]:,} label rows, {counts[1]:,} pictures"
            )
        if odd := next(
            (i for i, pair in enumerate(zip(lines, marks, strict=False), 1) if bool(pair[0]) != bool(pair[1])), 0
        ):
            raise RequestError(
                f"{shown_file} does not match {image_file.name}: line {odd} is blank in one of them only"
            )
        paths, rows = [_unquoted(line) for line in lines if line], [values(line) for line in marks if line]
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1 or widths[0] == 0:
        raise RequestError(f"{shown_file} has label rows of different length: {', '.join(map(str, widths))}")
    return ListPart([plain_path(path) for path in paths], _numbers(rows, shown_file), shown_file)


def _lines(path: Path) -> list[str]:
    """The lines of a list up to the last that is filled; those of separators only are blank."""
    lines = [line if line.strip(" ,;\t") else "" for line in iter_lines(path)]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _parted(line: str) -> tuple[str, str]:
    """Path and labels of a line; a path with a picture's suffix may hold spaces."""
    match = _PATH.fullmatch(line.replace('"', ""))
    return (match["path"], match["rest"] or "") if match else (line, "")


def _unquoted(line: str) -> str:
    return line.strip(" ,;\t").strip('"')


def _numbers(rows: list[list[str]], path: Path) -> Ints:
    """Rows of values as whole numbers."""
    if all({"0", "1"}.issuperset(row) for row in rows):
        return np.array(rows, dtype="<U1").astype(np.int64)
    wide = len(rows[0]) > 1
    for row in rows:
        if not all(_WHOLE.fullmatch(value) and (not wide or float(value) <= 1) for value in row):
            allowed = "rows of 0 and 1" if wide else "rows of 0 and 1, or one class number a line"
            raise RequestError(f"{path} must hold {allowed}, got {shown(' '.join(row))[:40]!r}")
    return np.array([[int(value.partition(".")[0]) for value in row] for row in rows], np.int64)
