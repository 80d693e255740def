"""`folder:PATH`: class folders, or pictures with a table of labels and texts.

* **Class folders**: `PATH/cat/1.jpg`, `PATH/dog/2.png`; the class is the first folder below PATH.
* **A table** `labels.csv` (or the only `*.csv`), or the only `*.jsonl`, in PATH, one row a picture:
  `file` the picture's path inside PATH; `labels` the label names, separated by `;` in CSV, a list in JSON
  (`label` for a single one is read too); `text` and `split` (train, validation, query or database), optional.
  Every picture must have a row and every row a picture. A row without labels is an unlabeled picture.
* **Neither**: pictures directly in PATH are read without labels, for unsupervised methods and for search.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_bytes, digest_content
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes
from hamguard.data.cache import Progress, decode_all
from hamguard.data.dataset import Dataset
from hamguard.data.registry import source
from hamguard.images.folder import left_out_note, look_into, require_pictures
from hamguard.images.io import read_file

PARTS = {"train": 0, "validation": 1, "query": 2, "database": 3}


@dataclass(frozen=True)
class Row:
    """One row of a table of labels."""

    file: str
    labels: tuple[str, ...]
    text: str | None
    split: str | None


def find_table(folder: Path) -> Path | None:
    """The table of labels in a folder, if there is one.

    Raises:
        RequestError: there are several, and none is called labels.csv or labels.jsonl.
    """
    for name in ("labels.csv", "labels.jsonl"):
        if (folder / name).is_file():
            return folder / name
    tables = sorted([*folder.glob("*.csv"), *folder.glob("*.jsonl")])
    if len(tables) > 1:
        found = ", ".join(path.name for path in tables)
        raise RequestError(f"folder {folder} holds several tables ({found}); name the one to use labels.csv")
    return tables[0] if tables else None


def read_table(path: Path) -> list[Row]:
    """Read a CSV or JSONL table of labels.

    Raises:
        RequestError: no UTF-8 text, no `file` column, a line that is not JSON, labels that are no list, an unknown split
            name, or a picture named twice.
    """
    raw: list[dict[str, Any]] = []
    try:
        content = path.read_bytes().decode("utf-8-sig")
        if path.suffix == ".csv":
            raw = list(csv.DictReader(io.StringIO(content, newline="")))  # a quoted text may hold line ends
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} is not a readable table in UTF-8: {error}") from error
    if path.suffix != ".csv":
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                try:
                    raw.append(dict(json.loads(line)))
                except (ValueError, TypeError) as error:
                    raise RequestError(f"{path} line {number} is not a JSON object: {error}") from error
    rows = []
    for number, entry in enumerate(raw, 1):
        if not entry.get("file"):
            raise RequestError(f"{path} row {number} has no file; columns are file, labels, text, split")
        given = entry.get("labels", entry.get("label"))
        if isinstance(given, str):
            given = given.split(";") if path.suffix == ".csv" else [given]
        elif isinstance(given, int | float):
            given = [given]
        elif not isinstance(given, list | None):
            raise RequestError(f"{path} row {number}: labels must be a list of names, got {type(given).__name__}")
        names = tuple(dict.fromkeys(str(name).strip() for name in given or () if str(name).strip()))
        part = entry.get("split") or None
        if part is not None:
            check_choice(f"split in {path.name} row {number}", part, PARTS)
        text = entry.get("text")
        rows.append(Row(str(entry["file"]), names, None if text is None else str(text), part))
    files = [row.file for row in rows]
    if twice := sorted({file for file in files if files.count(file) > 1} if len(set(files)) < len(files) else ()):
        raise RequestError(f"{path} names {len(twice)} pictures more than once: {_first(twice)}")
    return rows


def _first(names: Sequence[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")


@source("folder", "class folders, or pictures with labels.csv or a .jsonl of labels and texts", takes_path=True)
def read_folder(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read a folder of pictures in one of the layouts above.

    Args:
        folder: the folder.
        size: height and width; None keeps a common size of at most 256 pixels, and fits to 224 otherwise.
        progress: called with `(done, total)` while pictures are decoded.

    Raises:
        RequestError: the folder is missing or empty, or labels and pictures do not match.
        ImageError: a picture is broken; the message names it.
    """
    contents = look_into(folder)
    ids = require_pictures(folder, contents)
    paths = [folder / name for name in ids]
    table = find_table(folder)
    notes: tuple[str, ...] = ()
    texts: tuple[str, ...] | None = None
    native: Bytes | None = None
    if table is not None:
        rows = _match(read_table(table), ids, table)
        names_of = [row.labels for row in rows]
        if any(row.text is not None for row in rows):
            texts = tuple(row.text or "" for row in rows)
        if any(row.split for row in rows):
            native = _parts(rows, table)
    else:
        names_of = [(Path(name).parts[0],) if len(Path(name).parts) > 1 else () for name in ids]
        loose = sum(not names for names in names_of)
        if loose and loose < len(ids):
            raise RequestError(f"folder {folder} mixes class folders with {loose} pictures outside of them")
        if loose:
            notes = ("pictures without labels: no class folders and no labels.csv",)
    if note := left_out_note(one for one in contents.left if table is None or folder / one.file != table):
        notes = (*notes, note)
    class_names = tuple(sorted({name for names in names_of for name in names}))
    column = {name: c for c, name in enumerate(class_names)}
    labels = np.zeros((len(ids), len(class_names)), np.uint8)
    for i, names in enumerate(names_of):
        for name in names:
            labels[i, column[name]] = 1
    content = digest_bytes(*(digest_content(read_file(path)).encode() for path in paths))
    images = decode_all(
        [str(path) for path in paths], lambda i: read_file(paths[i]), content, size=size, progress=progress
    )
    return Dataset(
        name=folder.resolve().name,
        images=images,
        labels=labels,
        class_names=class_names,
        ids=np.array(ids),
        texts=texts,
        notes=notes,
        native=native,
    )


def _match(rows: Sequence[Row], ids: Sequence[str], table: Path) -> list[Row]:
    """Rows in the order of the pictures."""
    by_file = {Path(row.file).as_posix(): row for row in rows}
    absent = sorted(by_file.keys() - set(ids))
    unlisted = [name for name in ids if name not in by_file]
    if absent or unlisted:
        parts = []
        if absent:
            parts.append(f"{len(absent)} rows without a picture ({_first(absent)})")
        if unlisted:
            parts.append(f"{len(unlisted)} pictures without a row ({_first(unlisted)})")
        raise RequestError(f"{table} does not match the pictures: {' and '.join(parts)}")
    return [by_file[name] for name in ids]


def _parts(rows: Sequence[Row], table: Path) -> Bytes:
    if open_rows := [row.file for row in rows if row.split is None]:
        raise RequestError(f"{table} gives a split for some pictures only; without: {_first(open_rows)}")
    native = np.array([PARTS[row.split] for row in rows if row.split is not None], np.uint8)
    if not (native == 2).any() or (native == 2).all():
        raise RequestError(f"{table} must name pictures of the query split and of the database")
    return native
