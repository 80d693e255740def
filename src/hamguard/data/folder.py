"""`folder:PATH`: class folders, or pictures with a table of labels and texts.

* **Class folders**: `PATH/cat/1.jpg`, `PATH/dog/2.png`; the class is the first folder below PATH.
* **A table** `labels.csv`, `.tsv` or `.jsonl`, or the only one of any name, in PATH (`hamguard.data.table`). Every picture must
  have a row and every row a picture. A row without labels is an unlabeled picture.
* **Neither**: pictures directly in PATH are read without labels, for unsupervised methods and for search.

What a folder holds besides is counted in notes: files of other kinds, hidden ones, pictures that cannot be read, folders without
a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.shown import shown
from hamguard.core.types import Bytes
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset
from hamguard.data.label_names import mark, readable
from hamguard.data.pictures import decode_readable, plain_path
from hamguard.data.registry import source
from hamguard.data.table import PARTS, Row, find_tables, read_table
from hamguard.images.folder import Contents, first_names, left_out_note, look_into, require_pictures

PARTLIKE = ("train", "training", "val", "valid", "validation", "test", "query", "gallery", "database")
"""Names of folders that hold parts of a split more often than classes."""


@source("folder", "class folders, or pictures with labels.csv or a .jsonl of labels and texts", takes_path=True)
def read_folder(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read a folder of pictures in one of the layouts above.

    Args:
        folder: the folder.
        size: height and width; None keeps a common size of at most 256 pixels, and fits to 224 otherwise.
        progress: called with `(done, total)` while pictures are decoded.

    Raises:
        RequestError: the folder is missing or empty, or labels and pictures do not match.
        ImageError: no picture can be read; the message names the first.
    """
    contents = look_into(folder)
    ids = require_pictures(folder, contents)
    paths = [folder / name for name in ids]
    found, aside = find_tables(folder)
    notes: tuple[str, ...] = ()
    rows: list[Row] | None = None
    if found is not None:
        table = read_table(found)
        rows, notes = _match(table.rows, ids, found), table.notes
        if not table.labeled:
            notes = (f"pictures without labels: {shown(found.name)} has no column of labels", *notes)
    names_of = [row.labels for row in rows] if rows is not None else _class_folders(folder, ids)
    if rows is None:
        notes = tuple(_folder_notes(ids))
    notes = (*notes, *_left_out(folder, contents, found, aside))
    kept, images, unread = decode_readable(paths, size=size, progress=progress)
    if unread:
        listed = "; ".join(shown(reason) for reason in unread[:3]) + ("; ..." if len(unread) > 3 else "")
        notes = (*notes, f"{len(unread):,} pictures cannot be read and are left out: {listed}")
    labels, class_names, joined = mark([names_of[i] for i in kept])
    texts: tuple[str, ...] | None = None
    native: Bytes | None = None
    if rows is not None and found is not None:
        rows = [rows[i] for i in kept]
        if any(row.text is not None for row in rows):
            texts = tuple(row.text or "" for row in rows)
        if any(row.split for row in rows):
            native = _parts(rows, found)
    return Dataset(
        name=readable(folder.resolve().name),
        images=images,
        labels=labels,
        class_names=class_names,
        ids=np.array([readable(ids[i]) for i in kept]),
        texts=texts,
        notes=(*notes, *joined),
        native=native,
        unread=tuple(unread),
    )


def _class_folders(folder: Path, ids: Sequence[str]) -> list[tuple[str, ...]]:
    """The class of each picture, none for pictures that lie directly in the folder.

    Raises:
        RequestError: some do and others do not.
    """
    names_of: list[tuple[str, ...]] = [(Path(name).parts[0],) if len(Path(name).parts) > 1 else () for name in ids]
    loose = [name for name, names in zip(ids, names_of, strict=True) if not names]
    if loose and len(loose) < len(ids):
        raise RequestError(
            f"folder {folder} mixes class folders with {len(loose)} pictures outside of them ({first_names(loose)}); "
            "put all pictures into class folders or none, or give a table labels.csv"
        )
    return names_of


def _folder_notes(ids: Sequence[str]) -> Iterator[str]:
    """What class folders do not say, or say in two ways."""
    parts = [Path(name).parts for name in ids]
    if all(len(one) == 1 for one in parts):
        yield "pictures without labels: no class folders and no labels.csv"
        return
    if deep := [name for name, one in zip(ids, parts, strict=True) if len(one) > 2]:
        yield f"only the first folder is a label: {len(deep):,} pictures lie deeper, first {shown(deep[0])}"
    if partlike := sorted({one[0] for one in parts if one[0].lower() in PARTLIKE}):
        yield (
            f"the folders {', '.join(map(shown, partlike))} are read as classes; where they are parts of a split, "
            "give a table labels.csv with file, labels, split"
        )


def _left_out(folder: Path, contents: Contents, table: Path | None, aside: Sequence[Path]) -> Iterator[str]:
    """What lies in a folder and is not read, counted."""
    tables = {path.name for path in (*aside, *([table] if table is not None else []))}
    if aside and table is not None:
        yield f"tables that are not read, because {shown(table.name)} is: {first_names([path.name for path in aside])}"
    if note := left_out_note(one for one in contents.left if one.file not in tables):
        yield note
    holding = {parent.as_posix() for name in contents.pictures for parent in PurePosixPath(name).parents}
    folders = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*/"))]
    seen = ("/".join(("", name)) for name in folders)
    if bare := [name for name, path in zip(folders, seen, strict=True) if name not in holding and "/." not in path]:
        yield f"{len(bare):,} folders hold no picture: {first_names(bare)}"


def _match(rows: Sequence[Row], ids: Sequence[str], table: Path) -> list[Row]:
    """Rows in the order of the pictures; a name is found in either Unicode form and with either slash.

    Raises:
        RequestError: a picture is named twice, or rows and pictures do not match.
    """
    exact = {name: i for i, name in enumerate(ids)}
    alike: dict[str, list[int]] = {}
    for i, name in enumerate(ids):
        alike.setdefault(plain_path(name), []).append(i)
    row_of: dict[int, Row] = {}
    absent, twice = dict[str, None](), list[str]()
    for row in rows:
        near = alike.get(plain_path(row.file), [])
        i = exact.get(row.file, near[0] if len(near) == 1 else -1)
        if (i < 0 and row.file in absent) or i in row_of:
            twice.append(row.file)
        elif i < 0:
            absent[row.file] = None
        else:
            row_of[i] = row
    if twice:
        raise RequestError(f"{table} names {len(twice)} pictures more than once: {first_names(twice)}")
    unlisted = [name for i, name in enumerate(ids) if i not in row_of]
    if absent or unlisted:
        parts = []
        if absent:
            parts.append(f"{len(absent)} rows without a picture ({first_names(sorted(absent))})")
        if unlisted:
            parts.append(f"{len(unlisted)} pictures without a row ({first_names(unlisted)})")
        raise RequestError(f"{table} does not match the pictures: {' and '.join(parts)}")
    return [row_of[i] for i in range(len(ids))]


def _parts(rows: Sequence[Row], table: Path) -> Bytes:
    if open_rows := [row.file for row in rows if row.split is None]:
        raise RequestError(f"{table} gives a split for some pictures only; without: {first_names(open_rows)}")
    native = np.array([PARTS[row.split] for row in rows if row.split is not None], np.uint8)
    if not (native == 2).any() or (native == 2).all():
        raise RequestError(f"{table} must name pictures of the query split and of the database")
    return native
