"""`features:FILE.npz`: features that a network made of pictures, in one NumPy file; hash codes are learned on them as they are.

The file holds `features`, real numbers (N, D), and beside them what `arrays:` holds beside its pictures: `labels`, and optionally
`texts`, `class_names`, `ids` and `split`. `text_features`, real numbers (N, E), are what a network made of the texts; a cross-modal
model learns on both. Labels may be missing. Learning, encoding, search and metrics work on such a set; what looks at pixels does
not, and says so. `hamguard features` writes such a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_array
from hamguard.core.errors import DamagedError, RequestError
from hamguard.core.files import SEAL, digest_arrays, write_npz
from hamguard.core.shown import shown
from hamguard.core.types import Array, Bytes, is_tensor
from hamguard.data.arrays import known_arrays, read_ids, read_names, read_words, stored_parts
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset, ImageStore, Index
from hamguard.data.registry import source
from hamguard.data.split import Split

if TYPE_CHECKING:
    from torch import Tensor

NAME = "features"
"""Of the array, of the source, and of the backbone that hands features on as they are."""
TEXT = "text_features"
"""Of the array with features of texts."""
MOST = 4096
"""Features of a picture, as many as a model's card allows for the side of one."""


@dataclass(frozen=True, eq=False, repr=False)
class FeatureStore(ImageStore):
    """Features in the place of pictures: to a network they are gray pictures of one row, `(B, 1, 1, D)`, of any real numbers.

    Attributes:
        values: `(N, D)` float32.
    """

    values: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @classmethod
    def of(cls, values: Array, name: str) -> FeatureStore:
        """Features `(N, D)` of a file that is called `name` in messages."""
        missing = (
            f"{name} holds features, no pictures; what changes or shows pictures needs the encoder that made the features "
            "and its pictures: attack with --encoder and --data"
        )
        return cls(np.empty((len(values), 0, 0), np.uint8), missing, digest_array(values), values)

    def __repr__(self) -> str:
        return f"FeatureStore({len(self)} of {self.values.shape[1]} features)"

    @property
    def size(self) -> tuple[int, int]:
        """One row of D."""
        return 1, int(self.values.shape[1])

    def batch(self, index: Index) -> Tensor:
        """Features as a network takes them, `(B, 1, 1, D)` float32.

        Raises:
            RequestError: an index is outside the store.
        """
        import torch

        rows = index.cpu().numpy() if is_tensor(index) else index
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        if rows.size and int(rows.max()) >= len(self):
            raise RequestError(f"a picture index must be below {len(self)}, got {int(rows.max())}")
        return torch.from_numpy(self.values[rows])[:, None, None]


def holds_features(dataset: Dataset) -> bool:
    """Whether a set has features in the place of pictures."""
    return isinstance(dataset.images, FeatureStore)


@source("features", "one .npz file with features of pictures, labels, texts, split", takes_path=True)
def read_features(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read features from an .npz file of the layout above.

    Args:
        folder: the file itself.
        size: None; features have no size.
        progress: not called.

    Raises:
        RequestError: missing file, Python objects inside, no features, NaN among them, or arrays whose shapes do not agree.
        DamagedError: `hamguard features` wrote it, and its content is not what was written.
    """
    path = folder
    if size is not None:
        raise RequestError(f"features have no size in pixels, got size={size}")
    stored = read_npz(path, "data set")
    held = stored.pop(SEAL, None)
    if held is not None and (held.shape != () or str(held) != digest_arrays(stored)):
        raise DamagedError(path, "its arrays are not those that were written")
    try:
        return _read(stored, path)
    except RequestError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def _read(stored: dict[str, Array], path: Path) -> Dataset:
    """A data set of the arrays of a file."""
    arrays, unread = known_arrays(stored, (NAME, TEXT, "labels", "texts", "class_names", "label_names", "ids", "split"))
    if NAME not in arrays:
        raise RequestError(f"needs an array {NAME} (N, D); got {', '.join(sorted(stored)) or 'nothing'}")
    values = check_features(arrays[NAME])
    N = len(values)
    names = read_words(arrays, "class_names") or read_words(arrays, "label_names")
    labels, class_names, notes = _no_labels(N)
    if "labels" in arrays and arrays["labels"].shape != (N, 0):
        labels, class_names, notes = read_names(arrays["labels"], names, N)
    ids, texts = read_ids(arrays, N), read_words(arrays, "texts")
    of_texts = check_features(arrays[TEXT], TEXT) if TEXT in arrays else None
    for name, value in (("ids", ids), ("texts", texts), (TEXT, of_texts)):
        if value is not None and len(value) != N:
            raise RequestError(f"{name} must match the features: {N:,} rows, {len(value):,} {name}")
    return Dataset(
        name=path.stem,
        images=FeatureStore.of(values, path.name),
        labels=labels,
        class_names=class_names,
        ids=ids,
        texts=texts,
        notes=(*((f"arrays not read: {', '.join(map(shown, unread))}",) if unread else ()), *notes),
        native=stored_parts(arrays["split"], N) if "split" in arrays else None,
        text_features=of_texts,
    )


def _no_labels(N: int) -> tuple[Bytes, tuple[str, ...], tuple[str, ...]]:
    """Marks, names and notes of data without labels."""
    return np.zeros((N, 0), np.uint8), (), ()


def check_features(features: Array, what: str = NAME) -> Array:
    """Features as they are kept, `(N, D)` float32; `what` names them in messages.

    Raises:
        RequestError: another shape or type, no row, more than 4,096 columns, or values that are not finite.
    """
    if features.ndim != 2 or features.dtype.kind != "f":
        raise RequestError(f"{what} must be real numbers (N, D), got {features.dtype} {features.shape}")
    if 0 in features.shape or features.shape[1] > MOST:
        raise RequestError(f"{what} must be at least one row of 1 to {MOST:,} numbers, got {features.shape}")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(features, np.float32)
    broken = ~np.isfinite(values).all(1)
    if broken.any():
        raise RequestError(
            f"{what} hold NaN or infinite numbers in {int(broken.sum()):,} rows, e.g. row {int(broken.argmax())}"
            + (" (beyond what 32 bits hold)" if np.isfinite(features[broken]).all() else "")
        )
    return values


def write_features(
    path: Path, features: Array, dataset: Dataset, split: Split, *, text_features: Array | None = None
) -> None:
    """Write features of all pictures of a data set, with its labels, texts, ids and split, as `features:PATH` reads them.

    Args:
        path: file to write.
        features: `(N, D)` float32.
        dataset: whose pictures they are of.
        split: kept where it is one that a file can say: all but the queries are the database. Else it is drawn again.
        text_features: of its texts, `(N, E)` float32.

    Raises:
        RunError: the file cannot be written.
    """
    arrays: dict[str, Array] = {NAME: features, "ids": dataset.ids.astype(str)}
    searched = np.setdiff1d(np.arange(len(dataset)), split.query)
    if np.array_equal(np.sort(split.database), searched) and np.isin(split.train, searched).all():
        arrays["split"] = parts_of(split, len(dataset))
    if dataset.class_names:
        arrays |= {"labels": dataset.labels, "class_names": np.array(dataset.class_names)}
    if dataset.texts is not None:
        arrays["texts"] = np.array(dataset.texts)
    if text_features is not None:
        arrays[TEXT] = text_features
    write_npz(path, arrays)


def parts_of(split: Split, N: int) -> Bytes:
    """Which part each picture plays, `(N,)` uint8: 0 train, 1 validation, 2 query, 3 rest."""
    parts = np.full(N, 3, np.uint8)
    for number, index in ((0, split.train), (1, split.validation), (2, split.query)):
        parts[index] = number
    return parts
