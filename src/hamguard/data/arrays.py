"""`arrays:FILE.npz`: a data set in one NumPy file, read without executing anything.

The file holds `images` uint8 (N, H, W) or (N, H, W, 3), or encoded pictures as `data` (bytes) and `offsets` (N + 1);
`labels` as class numbers (N,) or multi-hot (N, C); optionally `texts`, `class_names` (or `label_names`), `ids`, and
`split` (0 train, 1 validation, 2 query, 3 rest of the database).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Ints
from hamguard.data.cache import Progress, decode_all, fit_array
from hamguard.data.dataset import Dataset, ImageStore, multi_hot
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


def read_labels(labels: Array, n_classes: int | None = None) -> Bytes:
    """Labels as multi-hot, from class numbers `(N,)` or multi-hot `(N, C)`.

    Raises:
        RequestError: another shape, fractions, negative numbers, or values beyond 0 and 1.
    """
    if labels.ndim not in {1, 2} or labels.dtype.kind not in "biuf":
        raise RequestError(f"labels must be (N,) class numbers or (N, C) multi-hot, got {labels.shape} {labels.dtype}")
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.round(labels)).all()):
        raise RequestError("labels must be whole numbers, got fractions or NaN")
    if labels.ndim == 1:
        largest = int(labels.max()) if labels.size else -1
        if largest >= 100_000:
            raise RequestError(f"class numbers count from 0; the largest is {largest}, which is no class number")
        return multi_hot(labels, n_classes if n_classes is not None else largest + 1)
    if labels.size and not ((labels == 0) | (labels == 1)).all():
        raise RequestError(f"multi-hot labels must be 0 or 1, got values up to {labels.max()}")
    return labels.astype(np.uint8)


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


def _words(arrays: dict[str, Array], *names: str) -> tuple[str, ...] | None:
    for name in names:
        if name in arrays:
            if arrays[name].ndim != 1 or arrays[name].dtype.kind not in "US":
                raise RequestError(f"{name} must be a list of strings, got {arrays[name].shape} {arrays[name].dtype}")
            words = arrays[name]
            return tuple(str(w) for w in (np.char.decode(words, "utf-8") if words.dtype.kind == "S" else words))
    return None


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
    with reading(path) as arrays:
        if "labels" not in arrays or not ("images" in arrays or {"data", "offsets"} <= arrays.keys()):
            raise RequestError(
                f"needs labels and images, or labels, data and offsets; got {', '.join(sorted(arrays)) or 'nothing'}"
            )
        offsets = None if "images" in arrays else check_offsets(arrays["offsets"], arrays["data"])
        plain = ImageStore(arrays["images"]) if offsets is None else None
        N = len(plain) if plain is not None else len(arrays["offsets"]) - 1
        if N == 0:
            raise RequestError("holds no picture")
        names = _words(arrays, "class_names", "label_names")
        labels = read_labels(arrays["labels"], len(names) if names is not None else None)
        names = tuple(str(c) for c in range(labels.shape[1])) if names is None else names
        ids = arrays["ids"].astype(str) if "ids" in arrays else np.arange(N).astype(str)
        texts = _words(arrays, "texts")
        for name, value in (("labels", labels), ("ids", ids), ("texts", texts)):
            if value is not None and len(value) != N:
                raise RequestError(f"{name} must match the pictures: {N:,} pictures, {len(value):,} {name}")
        native = _native(arrays, N)
        unread = sorted(arrays.keys() - set(KNOWN))
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
            class_names=names,
            ids=ids,
            texts=texts,
            notes=(f"arrays not read: {', '.join(unread)}",) if unread else (),
            native=native,
        )


def _native(arrays: dict[str, Array], N: int) -> Bytes | None:
    if "split" not in arrays:
        return None
    split = arrays["split"]
    if split.shape != (N,) or split.dtype.kind not in "iu" or (split.size and not 0 <= split.min() <= split.max() <= 3):
        raise RequestError(f"split must hold one of 0, 1, 2, 3 a picture ({N:,} of them), got {split.shape}")
    if not (split == 2).any() or (split == 2).all():
        raise RequestError("split must hold queries (2) and database pictures (0, 1 or 3)")
    return split.astype(np.uint8)
