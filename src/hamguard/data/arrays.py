"""`arrays:FILE.npz`: a data set in one NumPy file, read without executing anything.

The file holds `images` uint8 (N, H, W) or (N, H, W, 3), or encoded pictures as `data` (bytes) and `offsets` (N + 1);
`labels` as class numbers or names (N,) or multi-hot (N, C), see `hamguard.core.label_arrays`; optionally `texts`,
`class_names` (or `label_names`), `ids`, and `split` (0 train, 1 validation, 2 query, 3 rest of the database).
Arrays are known by their names without regard to case; any other is named in a note.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import read_label_array
from hamguard.core.shown import shown
from hamguard.core.types import Array, Bytes, Ints
from hamguard.data.cache import Progress, decode_all, fit_array
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.label_names import MOST_CLASSES, joined_forms, merge_columns, plain_name
from hamguard.data.registry import source

KNOWN = ("images", "data", "offsets", "labels", "texts", "class_names", "label_names", "ids", "split")


@contextmanager
def reading(path: Path) -> Iterator[dict[str, Array]]:
    """Yield the arrays of a file; whatever goes wrong while they are used names the file.

    Raises:
        RequestError: as `read_npz`.
    """
    arrays = read_npz(path, "data set")
    try:
        yield arrays
    except RequestError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def check_offsets(offsets: Array, data: Array) -> Ints:
    """Offsets of encoded pictures as int64.

    Raises:
        RequestError: not rising from 0 to the number of bytes.
    """
    if data.ndim != 1 or data.dtype != np.uint8:
        raise RequestError(f"data must be (bytes,) uint8, got {data.shape} {data.dtype}")
    if offsets.ndim != 1 or len(offsets) < 2 or offsets.dtype.kind not in "iu":
        raise RequestError(f"offsets must be (N + 1,) integers, got {offsets.shape} {offsets.dtype}")
    found = offsets.astype(np.int64)
    if found[0] != 0 or found[-1] != len(data) or (np.diff(found) <= 0).any():
        raise RequestError(f"offsets must rise from 0 to {len(data)}, the length of data")
    return found


def encoded_images(
    data: Bytes, offsets: Ints, content: str, *, size: int | None, name: str, progress: Progress | None
) -> ImageStore:
    """Decode pictures that lie one after another in a byte array."""
    return decode_all(
        [f"{name} picture {i}" for i in range(len(offsets) - 1)],
        lambda i: data[offsets[i] : offsets[i + 1]].tobytes(),
        content,
        size=size,
        progress=progress,
    )


def read_words(arrays: dict[str, Array], name: str) -> tuple[str, ...] | None:
    """The strings of an array, None where it is not there."""
    if name not in arrays:
        return None
    words = arrays[name]
    if words.ndim != 1 or words.dtype.kind not in "US":
        raise RequestError(f"{name} must be a list of strings, got {words.shape} {words.dtype}")
    try:
        return tuple(str(w) for w in (np.char.decode(words, "utf-8") if words.dtype.kind == "S" else words))
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} hold bytes that are no UTF-8 text: {error.object[:20]!r}") from error


def read_ids(arrays: dict[str, Array], N: int) -> Array:
    """Names of the pictures; their numbers where the file has none."""
    if "ids" not in arrays:
        return np.arange(N).astype(str)
    ids = arrays["ids"]
    if ids.dtype.kind in "US":
        return np.array(read_words(arrays, "ids"))
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise RequestError(f"ids must be (N,) strings or whole numbers, got {ids.shape} {ids.dtype}")
    return ids.astype(str)


def known_arrays(arrays: dict[str, Array], known: Collection[str] = KNOWN) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The arrays that are read, under the names that they are read by, and the names of the others.

    A name in another case is read where none has the name itself; of `class_names` and `label_names` the first is read, and
    `images` before encoded pictures.
    """
    read: dict[str, Array] = {}
    for name in sorted(arrays, key=lambda name: name not in known):  # names as they should be come first
        plain = name.strip().lower()
        if plain in known:
            read.setdefault(plain, arrays[name])
    dropped = {"label_names"} if "class_names" in read else set()
    dropped |= {"data", "offsets"} if "images" in read else set()
    read = {name: value for name, value in read.items() if name not in dropped}
    unread = [name for name, value in arrays.items() if not any(value is one for one in read.values())]
    return read, tuple(sorted(unread))


def read_names(labels: Array, names: tuple[str, ...] | None, N: int) -> tuple[Bytes, tuple[str, ...], tuple[str, ...]]:
    """Multi-hot labels, the names of their columns, and notes on how they were read.

    Args:
        labels: as in `hamguard.core.label_arrays`.
        names: names of the classes where the file has them.
        N: number of pictures.

    Raises:
        RequestError: labels that are none of these, a class number beyond 99,999 or beyond the names.
    """
    read = read_label_array(labels, items=N, classes=None if names is None else len(names))
    if read.names:
        if names is not None and (strange := sorted(set(read.names) - set(map(plain_name, names)))):
            raise RequestError(f"labels hold a name that is not among class_names: {shown(strange[0])!r}")
        if names is None:
            notes = joined_forms(np.unique(labels)) if labels.dtype.kind == "U" else ()
            return read.multi_hot(), read.names, (*read.notes, *notes)
        place = [list(map(plain_name, names)).index(name) for name in read.names]
        marks = np.zeros((len(read), len(names)), np.uint8)
        marks[:, place] = read.multi_hot()
    elif read.numbers is not None and names is None and (largest := int(read.numbers.max(initial=0))) >= MOST_CLASSES:
        raise RequestError(f"class numbers count from 0; the largest is {largest}, which is no class number")
    else:
        marks = read.multi_hot(None if names is None else len(names))
    if names is None:
        return marks, tuple(str(c) for c in range(marks.shape[1])), read.notes
    marks, kept, notes = merge_columns(marks, names)
    return marks, kept, (*read.notes, *notes)


@source("arrays", "one .npz file with images or encoded pictures, labels, texts, split", takes_path=True)
def read_arrays(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read a data set from an .npz file of the layout above.

    Args:
        folder: the file itself.
        size: bring the pictures to this height and width.
        progress: called with `(done, total)` while encoded pictures are decoded.

    Raises:
        RequestError: missing file, Python objects inside, a missing array, or arrays whose shapes do not agree.
        ImageError: an encoded picture is broken; the message says which one.
    """
    path = folder  # every reader takes the place it reads from under one name
    with reading(path) as stored:
        arrays, unread = known_arrays(stored)
        if "labels" not in arrays or not ("images" in arrays or {"data", "offsets"} <= arrays.keys()):
            raise RequestError(
                f"needs labels and images, or labels, data and offsets; got {', '.join(sorted(stored)) or 'nothing'}"
            )
        offsets = None if "images" in arrays else check_offsets(arrays["offsets"], arrays["data"])
        plain = ImageStore(arrays["images"]) if offsets is None else None
        N = len(plain) if plain is not None else len(arrays["offsets"]) - 1
        if N == 0:
            raise RequestError("holds no picture")
        names = read_words(arrays, "class_names") or read_words(arrays, "label_names")
        labels, class_names, notes = read_names(arrays["labels"], names, N)
        ids, texts = read_ids(arrays, N), read_words(arrays, "texts")
        for name, value in (("ids", ids), ("texts", texts)):
            if value is not None and len(value) != N:
                raise RequestError(f"{name} must match the pictures: {N:,} pictures, {len(value):,} {name}")
        native = stored_parts(arrays["split"], N) if "split" in arrays else None
        if offsets is None:
            images = ImageStore(fit_array(arrays["images"], size))
        else:
            images = encoded_images(
                arrays["data"], offsets, digest_file(path), size=size, name=path.name, progress=progress
            )
        return Dataset(
            name=path.stem,
            images=images,
            labels=labels,
            class_names=class_names,
            ids=ids,
            texts=texts,
            notes=(*((f"arrays not read: {', '.join(map(shown, unread))}",) if unread else ()), *notes),
            native=native,
        )


def stored_parts(parts: Array, N: int) -> Bytes:
    """Which part each picture plays, `(N,)` uint8: 0 train, 1 validation, 2 query, 3 rest of the database.

    Raises:
        RequestError: another shape or another number, or no query, or no database.
    """
    if parts.shape != (N,) or parts.dtype.kind not in "iu" or (parts.size and not 0 <= parts.min() <= parts.max() <= 3):
        held = f" with numbers from {parts.min()} to {parts.max()}" if parts.size and parts.dtype.kind in "iu" else ""
        raise RequestError(
            f"split must hold one of 0, 1, 2, 3 a picture ({N:,} of them), got {parts.dtype} {parts.shape}{held}"
        )
    if not (parts == 2).any() or (parts == 2).all():
        raise RequestError("split must hold queries (2) and database pictures (0, 1 or 3)")
    return parts.astype(np.uint8)
