"""`lists:DIR` and the sets that come as text lists: paths and 0/1 label rows, one picture a line.

Two layouts are read, plain or `.xz`:

* ProS-GAN, SAAT, CgAT: `[prosgan_]NAME_{train,test,database}_{img,label}.txt`, line i of both files is one picture;
* HashNet, DHTA: `{train,test,database}.txt` with `path 0 1 0 ...` a line (`hamguard.data.list_files` has the rules).

Beside the lists of the first layout may lie texts or tags (`hamguard.data.tags`).
Pictures are looked for below the folder of the lists, its `images/`, and the folders named after the set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from hamguard.core.checks import suggest
from hamguard.core.errors import DataMissingError, RequestError
from hamguard.core.label_arrays import read_label_array
from hamguard.core.types import Bytes, Ints
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.label_names import MOST_CLASSES
from hamguard.data.list_files import ListPart, ListSet, find_lists, read_list, unread_files
from hamguard.data.pictures import Finder, decode_files
from hamguard.data.registry import list_source
from hamguard.data.split import Split, draw_split
from hamguard.data.tags import add_nus_tags, read_texts
from hamguard.images.folder import first_names

PUBLISHED = {"flickr25k": "FLICKR-25K", "nus-wide": "NUS-WIDE", "mscoco": "MS-COCO"}
# queries, database pictures, training lines (ProS-GAN, table 1 and its lists)
PROSGAN = {"flickr25k": (1700, 23_300, 5000), "nus-wide": (2100, 193_734, 10_500), "mscoco": (5000, 117_218, 10_000)}


def read_lists(
    lists: ListSet, *, seed: int = 0, name: str | None = None, protocol: str = "listed"
) -> tuple[Dataset, Split]:
    """Read the lists of one set; its pictures stay absent until `add_pictures`.

    Repeated lines are kept once; `split.lines` has their number. Where no database list exists, all listed pictures
    that are no queries stand in for it, and a note says so.

    Raises:
        RequestError: no train or test list, lists that disagree about labels or texts, or broken lists.
    """
    for part in ("train", "test"):
        if part not in lists.files:
            raise RequestError(f"the lists of {lists.name} lack {part}; found: {', '.join(sorted(lists.files))}")
    read: dict[str, ListPart] = {
        part: read_list(*lists.files[part]) for part in ("database", "train", "test") if part in lists.files
    }
    if len({part.labels.shape[1] for part in read.values()}) > 1:
        widths = ", ".join(f"{name} {part.labels.shape[1]}" for name, part in read.items())
        raise RequestError(f"the lists of {lists.name} have different numbers of labels: {widths}")
    marks, notes = _marks(lists.name, read)
    row_of: dict[str, int] = {}
    rows: list[Bytes] = []
    index: dict[str, Ints] = {}
    for part, labels in marks.items():
        chosen = []
        for path, label in zip(read[part].paths, labels, strict=True):
            row = row_of.setdefault(path, len(rows))
            if row == len(rows):
                rows.append(label)
            elif not np.array_equal(rows[row], label):
                raise RequestError(f"the lists of {lists.name} give {path} two different label rows")
            chosen.append(row)
        index[part] = np.array(list(dict.fromkeys(chosen)), np.int64)
    C = next(iter(marks.values())).shape[1]
    text_of = read_texts(lists.name, lists.texts, {name: part.paths for name, part in read.items()})
    if "database" not in index:
        index["database"] = np.setdiff1d(index["train"], index["test"])
        notes = (*notes, "the database list is missing: the training pictures stand in for it")
    dataset = Dataset(
        name=name or lists.name,
        images=ImageStore.absent(len(rows), f"the lists of {lists.name} came without pictures"),
        labels=np.stack(rows),
        class_names=tuple(f"label {c}" for c in range(C)),
        ids=np.array(list(row_of)),
        texts=None if text_of is None else tuple(text_of[path] for path in row_of),
        notes=notes,
    )
    names = {"train": "train", "test": "query", "database": "database"}
    split = draw_split(
        dataset,
        query=index["test"],
        database=index["database"],
        train=index["train"],
        n_train=None,
        protocol=protocol,
        seed=seed,
        lines={names[name]: (len(part.paths), len(index[name])) for name, part in read.items()},
        notes=("split as in the published lists; validation is drawn from the database outside training",),
    )
    return dataset, split


def _marks(name: str, read: Mapping[str, ListPart]) -> tuple[dict[str, Bytes], tuple[str, ...]]:
    """Labels of all parts as rows of one width, and notes on how they were read.

    Raises:
        RequestError: a class number beyond 99,999.
    """
    joined = read_label_array(np.concatenate([part.labels for part in read.values()]), f"labels of {name}")
    if joined.numbers is not None and (largest := int(joined.numbers.max())) >= MOST_CLASSES:
        raise RequestError(
            f"the class numbers of {name} count from 0; the largest is {largest}, which is no class number"
        )
    ends = np.cumsum([len(part.paths) for part in read.values()])[:-1]
    return dict(zip(read, np.split(joined.multi_hot(), ends), strict=True)), joined.notes


def add_pictures(
    dataset: Dataset, folders: Sequence[Path], *, size: int | None, progress: Progress | None, required: bool
) -> Dataset:
    """Find and decode the pictures of lists below the first folder that holds any of them.

    Args:
        dataset: what `read_lists` gave; its ids are the listed paths.
        folders: where to look, in order.
        size: height and width; 224 by default, as the papers have it.
        progress: called with `(done, total)`.
        required: without it, a set none of whose pictures is here comes back with the reason instead of pixels.

    Raises:
        RequestError: pictures are required and a listed path leads out of the folder of pictures.
        DataMissingError: pictures are required and none is here, or some are here and others are not.
        ImageError: a picture is broken; the message names it.
    """
    ids = [str(name) for name in dataset.ids]
    if outside := [name for name in ids if _leaves(name)]:
        reason = (
            f"{len(outside):,} of {len(ids):,} listed paths lead out of the folder of pictures, first {outside[0]}; "
            "rewrite the lists with paths inside it"
        )
        if required:
            raise RequestError(reason)
        return replace(dataset, images=ImageStore.absent(len(dataset), reason))
    finders = [Finder(folder) for folder in folders]
    held = next((find for find in finders if any(find(name) for name in (ids[0], ids[-1]))), None)
    if held is None:
        reason = f"pictures of {dataset.name} are not here; put {ids[0]} and the others below {folders[0]}"
        if required:
            raise DataMissingError(reason)
        return replace(dataset, images=ImageStore.absent(len(dataset), reason))
    found = {name: held(name) for name in ids}
    if lost := [name for name, path in found.items() if path is None]:
        raise DataMissingError(
            f"{len(lost):,} of {len(ids):,} listed pictures are not below {held.folder}, first {first_names(lost)}"
        )
    paths = [path for path in found.values() if path is not None]
    return replace(dataset, images=decode_files(paths, size=size, progress=progress, names=ids))


def _leaves(name: str) -> bool:
    """Whether a listed path is absolute or climbs: lists come from strangers and must not name a person's other files."""
    path = PureWindowsPath(name)  # knows both kinds of slashes
    return bool(path.anchor) or ".." in path.parts


def choose_lists(folder: Path, name: str) -> ListSet:
    """One set of a folder: the one named, or the only one.

    Raises:
        RequestError: no lists, several and none named, or an unknown name; the message lists the choices.
    """
    found = find_lists(folder)
    if not found:
        raise RequestError(f"folder {folder} holds no lists; looked for NAME_train_img.txt and train.txt, also .xz")
    choices = ", ".join(found)
    if not name:
        if len(found) > 1:
            first = next(iter(found))
            raise RequestError(f"folder {folder} holds lists of {choices}; choose one: lists:{folder}#{first}")
        return next(iter(found.values()))
    near = [key for key in found if _plain(key) == _plain(name)]
    if not near:
        raise RequestError(f"folder {folder} holds no lists of {name!r}; allowed: {choices}{suggest(name, found)}")
    return found[near[0]]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def split_choice(place: Path) -> tuple[Path, str]:
    """Part `DIR#NAME` into folder and name; the name is empty where none is given."""
    folder, _, name = str(place).partition("#")
    return Path(folder), name


@list_source("lists", "image and label text lists of the field; lists:DIR#NAME chooses one of several", takes_path=True)
def open_lists(
    folder: Path,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    pictures: bool = True,
) -> tuple[Dataset, Split]:
    """Open the lists of one set in a folder, with its pictures.

    Raises:
        RequestError: no lists, several to choose from, or lists that disagree with themselves.
        DataMissingError: pictures are asked for and not here.
        ImageError: a picture is broken; the message names it.
    """
    place, name = split_choice(folder)
    lists = choose_lists(place, name)
    dataset, split = read_lists(lists, seed=seed)
    if unread := unread_files(place, find_lists(place)):
        dataset = replace(
            dataset, notes=(*dataset.notes, f"files beside the lists that are not read: {first_names(unread)}")
        )
    folders = (place, place / "images", place / lists.name, place.parent)
    return _finish(dataset, split, folders, size=size, progress=progress, required=pictures)


def _finish(
    dataset: Dataset,
    split: Split,
    folders: Sequence[Path],
    *,
    size: int | None,
    progress: Progress | None,
    required: bool,
) -> tuple[Dataset, Split]:
    full = add_pictures(dataset, folders, size=size, progress=progress, required=required)
    return full, replace(split, content=full.digest)


def _published(folder: Path, name: str) -> tuple[Path, ListSet] | None:
    """The folder and the lists of a published set below a data folder."""
    for place in (folder / name, folder / name / "lists", folder / "splits", folder):
        if place.is_dir():
            for key, lists in find_lists(place).items():
                if _plain(key) == _plain(name) or (place.parent == folder and place.name == name):
                    return place, lists
    return None


def _facts(name: str) -> dict[str, Any]:
    """What the registry says of one of ProS-GAN's three sets."""
    return {
        "found": lambda folder: _published(folder, name) is not None,
        "need": f"the lists splits/prosgan_{PUBLISHED[name]}_{{train,test,database}}_{{img,label}}.txt and the pictures in {name}/",
        "remark": lambda folder: "" if (folder / name).is_dir() else f"lists only; put the pictures in {name}/",
    }


def _open_published(
    name: str, folder: Path, *, size: int | None, progress: Progress | None, seed: int, pictures: bool
) -> tuple[Dataset, Split]:
    """Open a published set: lists below `splits/` or its own folder, pictures in its own folder."""
    held = _published(folder, name)
    if held is None:
        raise DataMissingError(f"the lists of {name} are not below {folder}")
    place, lists = held
    if pictures and "database" not in lists.files:
        raise DataMissingError(
            f"the database list of {name} is not here; put {PUBLISHED[name]}_database_img.txt and _label.txt into {place}"
        )
    dataset, split = read_lists(lists, seed=seed, name=name, protocol=f"prosgan-{name}")
    if name == "nus-wide":
        dataset = add_nus_tags(dataset, folder / name)
    Q, N, T = PROSGAN[name]
    seen = (len(split.query), len(split.database), split.lines["train"][0])
    if seen != (Q, N, T):
        shown = " / ".join(f"{n:,}" for n in seen)
        note = f"the paper has {Q:,} queries / {N:,} database pictures / {T:,} training lines, these lists {shown}"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    folders = (folder / name, folder / name / "images", place, folder)
    return _finish(dataset, split, folders, size=size, progress=progress, required=pictures)


@list_source("flickr25k", "25,000 photos, 38 labels (ProS-GAN's lists)", **_facts("flickr25k"))
def open_flickr25k(
    folder: Path, *, size: int | None = None, progress: Progress | None = None, seed: int = 0, pictures: bool = True
) -> tuple[Dataset, Split]:
    """Open flickr25k; see `_open_published`."""
    return _open_published("flickr25k", folder, size=size, progress=progress, seed=seed, pictures=pictures)


@list_source("nus-wide", "195,834 photos, 21 labels (ProS-GAN's lists)", **_facts("nus-wide"))
def open_nus_wide(
    folder: Path, *, size: int | None = None, progress: Progress | None = None, seed: int = 0, pictures: bool = True
) -> tuple[Dataset, Split]:
    """Open nus-wide; see `_open_published`."""
    return _open_published("nus-wide", folder, size=size, progress=progress, seed=seed, pictures=pictures)


@list_source("mscoco", "122,218 photos, 80 labels (ProS-GAN's lists)", **_facts("mscoco"))
def open_mscoco(
    folder: Path, *, size: int | None = None, progress: Progress | None = None, seed: int = 0, pictures: bool = True
) -> tuple[Dataset, Split]:
    """Open mscoco; see `_open_published`."""
    return _open_published("mscoco", folder, size=size, progress=progress, seed=seed, pictures=pictures)
