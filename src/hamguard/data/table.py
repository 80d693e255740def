r"""Tables of labels: `.csv`, `.tsv` or `.jsonl`, one row a picture.

Columns (keys) are known by their names, without regard to case and space:

* `file` (also filename, file_name, path, image): the picture's path, with `/` or `\`;
* `labels` (also label, class, classes, tag, tags, category, categories): names separated by `;`, in JSON lines a list;
* `text` (also caption); `split`: train, validation, query or database.

Anything else is named in a note, never ignored in silence. The separator of columns is the one of comma, semicolon and tab
by which the first line has a column of files. Rows whose cells are all blank are skipped. What can be read in two ways is refused.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from hamguard.core.checks import check_choice
from hamguard.core.errors import DamagedError, RequestError
from hamguard.core.files import read_text
from hamguard.core.shown import shown
from hamguard.data.label_names import plain_name

SUFFIXES = (".csv", ".tsv", ".jsonl")
PARTS = {"train": 0, "validation": 1, "query": 2, "database": 3}
ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "file": (("file",), ("filename", "file_name", "path", "image")),
    "labels": (("labels", "label"), ("class", "classes", "tag", "tags", "category", "categories")),
    "text": (("text",), ("caption",)),
    "split": (("split",), ()),
}
"""Names of each column: those that win over the others, best first, and those of which there may be one."""
LARGEST_TABLE = 1 << 30  # bytes; a million pictures with a sentence each take about 200 MB
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_LIKELY = re.compile(r"[,|;\t]")  # what people separate labels with

Cells: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One row of a table of labels."""

    file: str
    labels: tuple[str, ...]
    text: str | None
    split: str | None


@dataclass(frozen=True)
class Table:
    """The rows of a table, what a reader must be told about it, and whether it has a column of labels."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    labeled: bool


def find_tables(folder: Path) -> tuple[Path | None, tuple[Path, ...]]:
    """The table of labels in a folder, if there is one, and the tables that are left aside for it.

    Raises:
        RequestError: there are several, and not exactly one is called labels.csv, labels.tsv or labels.jsonl.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and (path.stem.lower() == "labels" or not path.is_dir())
    )
    named = [path for path in found if path.stem.lower() == "labels"]
    chosen = named or found
    if len(chosen) > 1:
        listed = ", ".join(shown(path.name) for path in chosen)
        hint = "keep one of them" if named else "name the one to use labels.csv"
        raise RequestError(f"folder {folder} holds several tables ({listed}); {hint}")
    return (chosen[0], tuple(path for path in found if path != chosen[0])) if chosen else (None, ())


def read_table(path: Path) -> Table:
    """Read a table of labels.

    Raises:
        RequestError: not an ordinary file, no UTF-8, no column of files, two columns for one thing, a row with more cells than
            columns, a line that is no JSON object, labels that are no names or can be read in two ways, or an
            unknown split.
    """
    try:
        content = read_text(path, "table", limit=LARGEST_TABLE)
    except DamagedError as error:
        raise RequestError(f"{error}; save the table as UTF-8") from error
    rows = list(_json_rows(content, path) if path.suffix.lower() == ".jsonl" else _csv_rows(content, path))
    made, unread, labeled = [], Counter[str](), False
    for place, cells in rows:
        picked = {role: _pick(role, cells, f"{path} {place}") for role in ROLES}
        labeled = labeled or picked["labels"] is not None
        unread.update(key for key in cells if key not in picked.values())
        made.append(_row({role: None if key is None else cells[key] for role, key in picked.items()}, path, place))
    _check_marks(made, path)
    made, notes = _whole_numbers([replace(row, labels=tuple(dict.fromkeys(row.labels))) for row in made])
    _check_separators(made, path)
    if unread:
        names = ", ".join(shown(key) or "(without a name)" for key in unread)
        notes = (f"columns of {shown(path.name)} that are not read: {names}", *notes)
    return Table(tuple(made), (*notes, *_held_together(made, path)), labeled)


def _plain_key(key: object) -> str:
    return unicodedata.normalize("NFC", str(key)).strip().casefold()


def _role(key: str) -> str | None:
    return next((role for role, (best, others) in ROLES.items() if _plain_key(key) in best + others), None)


def _pick(role: str, cells: Cells, where: str) -> str | None:
    """The column that plays a role in a row, None where none does.

    Raises:
        RequestError: two do, and neither has the first name.
    """
    best, others = ROLES[role]
    held = {_plain_key(key): key for key in cells if _plain_key(key) in best + others}
    chosen = next((held[name] for name in best if name in held), None)
    if chosen is None and len(held) > 1:
        raise RequestError(
            f"{where}: {' and '.join(held.values())} can both be read as the column {best[0]}; call one of them {best[0]}"
        )
    return chosen if chosen is not None else next(iter(held.values()), None)


def _csv_rows(content: str, path: Path) -> Iterator[tuple[str, Cells]]:
    """Place and cells of each row that is not blank."""
    line = next((line for line in content.splitlines() if line.strip(" ,;\t")), "")
    heads = {mark: next(csv.reader([line], delimiter=mark), []) for mark in _SEPARATORS}
    marks = [mark for mark, head in heads.items() if any(_role(cell) == "file" for cell in head)]
    if not marks:
        raise RequestError(
            f"{path} has no column called file: its first line is {shown(line[:60])!r}; columns are file, labels, text, "
            "split, separated by commas, semicolons or tabs"
        )
    mark = max(marks, key=lambda mark: len(heads[mark]))
    reader = csv.reader(
        io.StringIO(content, newline=""), delimiter=mark, strict=True
    )  # a quoted text may hold line ends
    header: list[str] | None = None
    before = 0
    for cells in _readable(reader, path):
        place, before = f"line {before + 1}", reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            _check_twice(header, path)
            continue
        while len(cells) > len(header) and not cells[-1].strip():  # a separator at the end of the line
            cells.pop()
        if len(cells) > len(header):
            raise RequestError(
                f"{path} {place} has {len(cells)} cells, there are {len(header)} columns; put quotes around a cell that "
                f"holds a {_SEPARATORS[mark]}, and ; between labels"
            )
        named = dict(zip(header, cells, strict=False))
        yield place, {key: cell for key, cell in named.items() if key or cell.strip()}


def _readable(reader: Any, path: Path) -> Iterator[list[str]]:
    """The rows of a reader; its complaints in our words."""
    try:
        yield from reader
    except csv.Error as error:
        reason = "a quotation mark is not closed" if "end of data" in str(error) else str(error)
        raise RequestError(f"{path} is not a readable table near line {reader.line_num}: {reason}") from error


def _check_twice(keys: Sequence[str], path: Path, place: str = "") -> None:
    """Refuse a table in which two columns have one of the names that are read."""
    count = Counter(_plain_key(key) for key in keys if _role(key))
    if twice := [key for key, n in count.items() if n > 1]:
        raise RequestError(f"{path}{place} has {count[twice[0]]} columns called {twice[0]}; keep one of them")


def _json_rows(content: str, path: Path) -> Iterator[tuple[str, Cells]]:
    """Place and values of each line that is not blank."""

    def joined(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(keys := [key for key, _ in pairs]) != len(set(keys)):
            raise ValueError("a key stands twice in it")
        return dict(pairs)

    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            cells = json.loads(line, object_pairs_hook=joined)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{path} {place} is not a JSON object: {error}") from error
        if not isinstance(cells, dict):
            raise RequestError(f"{path} {place} is not a JSON object: it is {_kind(cells)}")
        _check_twice(list(cells), path, f" {place}")
        yield place, cells


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _row(found: Mapping[str, Any], path: Path, place: str) -> Row:
    where = f"{path} {place}"
    file = found["file"]
    if not isinstance(file, str | None):
        raise RequestError(f"{where}: file must be a path, got {_kind(file)}")
    if file is None or not file.strip():
        raise RequestError(f"{where} has no file; columns are file, labels, text, split")
    part = found["split"]
    if not isinstance(part, str | None):
        raise RequestError(f"{where}: split must be one of {', '.join(PARTS)}, got {_kind(part)}")
    part = part.strip().lower() if part and part.strip() else None
    if part is not None:
        check_choice(f"split in {path.name} {place}", part, PARTS)
    text = found["text"]
    if isinstance(text, dict | list | bool):
        raise RequestError(f"{where}: text must be text, got {_kind(text)}")
    names = _labels(found["labels"], where, split=path.suffix.lower() != ".jsonl")
    return Row(file.strip(), names, None if text is None else str(text), part)


def _labels(given: Any, where: str, *, split: bool) -> tuple[str, ...]:
    """Names of the labels of one row."""
    if isinstance(given, str):
        text = given.strip()
        if len(text) > 1 and text[0] + text[-1] in ("[]", "()", "{}"):
            raise RequestError(
                f"{where}: the labels {shown(text[:60])!r} are a list written as text; separate names by ; in tables, "
                "or write a list in JSON lines"
            )
        items: list[Any] = text.split(";") if split else [text]
    elif isinstance(given, list):
        items = given
    else:
        items = [] if given is None else [given]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise RequestError(f"{where}: labels must be a list of names, got {_kind(item)}")
    return tuple(name for item in items if (name := str(item).strip()))


def _check_marks(rows: Sequence[Row], path: Path) -> None:
    """Refuse labels that look like rows of 0 and 1, one mark a class: as names they would be two labels.

    Raises:
        RequestError: the message names both readings.
    """
    filled = [row for row in rows if row.labels]
    marks = [row.labels[0].split() if len(row.labels) == 1 else list(row.labels) for row in filled]
    if not marks or len(marks[0]) < 2 or any(len(one) != len(marks[0]) for one in marks):
        return
    if {"0", "1", "0.0", "1.0"}.issuperset(mark for one in marks for mark in one):
        raise RequestError(
            f"{path}: the labels of {shown(filled[0].file)} ({' '.join(marks[0][:8])}) can be read as labels called 0 and 1, "
            "or as one mark for each class; write the names of each picture's labels, or use arrays: for rows of 0 and 1"
        )


def _whole_numbers(rows: Sequence[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Class numbers written with decimals (`1.0`) as whole ones, where all labels are whole numbers."""
    names = {name for row in rows for name in row.labels}
    decimal = sorted(name for name in names if re.fullmatch(r"\d+\.0*", name))
    if not decimal or not all(re.fullmatch(r"\d+(\.0*)?", name) for name in names):
        return list(rows), ()
    plain = {name: name.partition(".")[0] for name in names}
    made = [replace(row, labels=tuple(dict.fromkeys(plain[name] for name in row.labels))) for row in rows]
    return made, (f"class numbers with decimals are read as whole ones: {decimal[0]} as {plain[decimal[0]]}",)


def _check_separators(rows: Sequence[Row], path: Path) -> None:
    """Refuse labels whose parts are labels of their own, parted by another sign than `;`.

    Raises:
        RequestError: the message names both readings.
    """
    plain = {plain_name(name) for row in rows for name in row.labels}
    for row in rows:
        for name in row.labels:
            parts = [plain_name(part) for part in _LIKELY.split(name)]
            if len(parts) > 1 and plain.issuperset(parts):
                raise RequestError(
                    f"{path}: the label {shown(name)!r} of {shown(row.file)} can be read as one label, or as "
                    f"{' and '.join(dict.fromkeys(map(shown, parts)))}; separate labels by ; in a table, or write them as a "
                    "list in JSON lines"
                )


def _held_together(rows: Sequence[Row], path: Path) -> tuple[str, ...]:
    """The note where labels hold a sign that may have been meant to separate them."""
    plain = {plain_name(name) for row in rows for name in row.labels}
    odd = [
        name
        for row in rows
        for name in row.labels
        if _LIKELY.search(name) or (len(parts := name.split()) > 1 and plain.issuperset(map(plain_name, parts)))
    ]
    if not odd:
        return ()
    return (
        f"{len(odd):,} labels of {shown(path.name)} hold a sign that separates elsewhere and are read as one name each, "
        f"first {shown(odd[0])}; only ; separates labels",
    )
