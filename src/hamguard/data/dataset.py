"""`Dataset` and `ImageStore`: pictures as uint8 with multi-hot labels, ids and texts, in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hamguard.core.digests import digest_array, digest_bytes
from hamguard.core.errors import DataMissingError, RequestError
from hamguard.core.types import Array, Bytes, Ints, is_tensor

if TYPE_CHECKING:
    from torch import Tensor

Index: TypeAlias = "Ints | Tensor | Sequence[int] | slice"


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Pictures of one size as uint8.

    Attributes:
        array: `(N, H, W)` gray or `(N, H, W, 3)` RGB, uint8; in memory or a memory map.
        missing: where not empty, there are no pixels (`H` is 0) and this says which files to put where.
        known_digest: content hash where it is known already, so that a large memory map is not read for it.
    """

    array: Bytes
    missing: str = ""
    known_digest: str = ""

    def __post_init__(self) -> None:
        if self.array.dtype != np.uint8:
            raise RequestError(f"images must be uint8, got {self.array.dtype}")
        if self.array.ndim not in {3, 4} or (self.array.ndim == 4 and self.array.shape[3] != 3):
            raise RequestError(f"images must have shape (N, H, W) or (N, H, W, 3), got {self.array.shape}")
        object.__setattr__(self, "array", self.array.view(np.ndarray))  # a memmap stays mapped, only the class goes

    @classmethod
    def absent(cls, n: int, reason: str) -> ImageStore:
        """A store that knows how many pictures there should be and where to put them, but has no pixels."""
        return cls(np.empty((n, 0, 0, 3), np.uint8), missing=reason)

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        return f"ImageStore({len(self)} pictures of {self.size[0]} x {self.size[1]}, {self.channels} channels)"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every picture."""
        return int(self.array.shape[1]), int(self.array.shape[2])

    @property
    def channels(self) -> int:
        """1 for gray pictures, 3 for RGB."""
        return 1 if self.array.ndim == 3 else 3

    @cached_property
    def digest(self) -> str:
        """Content hash of all pixels."""
        return self.known_digest or digest_array(self.array)

    def pixels(self, index: Index) -> Bytes:
        """Copy the pictures of an index, uint8 `(B, H, W)` or `(B, H, W, 3)`.

        Raises:
            DataMissingError: this store has no pixels; the message says which files to put where.
            RequestError: an index is outside the store.
        """
        if self.missing:
            raise DataMissingError(self.missing)
        if isinstance(index, slice):
            return self.array[index].copy()
        rows = index.cpu().numpy() if is_tensor(index) else np.asarray(index, dtype=np.int64)
        try:
            return self.array.take(rows, axis=0)
        except IndexError as error:
            raise RequestError(f"a picture index must be below {len(self)}, got {int(np.max(rows))}") from error

    def batch(self, index: Index) -> Tensor:
        """Pictures as a network takes them.

        Args:
            index: which pictures, `(B,)` integers, or a slice.

        Returns:
            `(B, C, H, W)` float32 in [0, 1]; `C` is 1 for gray pictures and 3 for RGB.

        Raises:
            DataMissingError: this store has no pixels; the message says which files to put where.
            RequestError: an index is outside the store.
        """
        import torch  # here, so that lists of data do not wait for it

        found = torch.from_numpy(self.pixels(index))
        # channels first while still one byte a value: a quarter of the memory traffic
        laid = found[:, None] if found.ndim == 3 else found.permute(0, 3, 1, 2).contiguous()  # (B, C, H, W)
        return laid.to(torch.float32).div_(255)


@dataclass(frozen=True)
class Opened:
    """How a data set was opened, so that a model trained on it finds it again.

    Attributes:
        source: as it was written, e.g. `digits` or `folder:photos`.
        protocol: rule of the split, None for the source's own.
        split_seed: seed of the split.
        size: side in pixels, None for the source's own.
        drop_duplicates: whether copies were left out.
        content: content hash of the data set.
        split: content hash of the split.
    """

    source: str
    protocol: str | None
    split_seed: int
    size: int | None
    drop_duplicates: bool
    content: str
    split: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: N pictures with labels; which picture plays which part is said by a `Split`.

    Attributes:
        name: short name, e.g. `cifar10`; for `folder:PATH` and the like the last part of the path.
        images: the pictures.
        labels: multi-hot, `(N, C)` uint8 in {0, 1}.
        class_names: one name a label, `C` of them.
        ids: one name a picture, `(N,)` strings without repetition.
        texts: one text a picture, or None.
        notes: what a reader of any figure on this set must be told, e.g. a defect of this copy.
        synthetic: True where the pictures are drawn, not photographed.
        native: the set's own parts, `(N,)` uint8: 0 train, 1 validation, 2 query, 3 rest of the database; or None.
        defect: what this copy of a known set suffers from, e.g. `JPEG copy`; rows never name the set without it.
        opened: how `open_source` opened it; None for data made in Python, which are found under no name again.
        unread: why each picture that lies there and cannot be read is not in the set.
        text_features: features of the texts, `(N, D)` float32, of a file that holds features in the place of pictures; or None.
    """

    name: str
    images: ImageStore
    labels: Bytes
    class_names: tuple[str, ...]
    ids: Array
    texts: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    native: Bytes | None = None
    defect: str = ""
    opened: Opened | None = None
    unread: tuple[str, ...] = ()
    text_features: Array | None = None

    def __post_init__(self) -> None:
        N = len(self.images)
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8:
            raise RequestError(f"labels must be (N, C) uint8, got {self.labels.shape} {self.labels.dtype}")
        if self.labels.size and int(self.labels.max()) > 1:
            raise RequestError(f"labels must be multi-hot, 0 or 1, got {int(self.labels.max())}")
        if len(self.class_names) != self.labels.shape[1]:
            raise RequestError(f"{self.labels.shape[1]} labels need as many names, got {len(self.class_names)}")
        others: dict[str, Any] = {"labels": self.labels, "ids": self.ids, "texts": self.texts, "split": self.native}
        others["text_features"] = self.text_features
        for name, value in others.items():
            if value is not None and len(value) != N:
                raise RequestError(f"{name} must match the pictures: {N} pictures, {len(value)} {name}")
        if len(np.unique(self.ids)) != N:
            raise RequestError(f"ids must differ: {N} pictures, {len(np.unique(self.ids))} distinct ids")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self.images!r}, {len(self.class_names)} labels)"

    @property
    def title(self) -> str:
        """The name as figures carry it: with the defect of this copy, where it has one."""
        return f"{self.name} ({self.defect})" if self.defect else self.name

    @cached_property
    def single_label(self) -> bool:
        """True where every picture has exactly one label."""
        return bool(len(self) and (self.labels.sum(1, dtype=np.int64) == 1).all())

    @cached_property
    def digest(self) -> str:
        """Content hash of pictures, labels, ids, texts and their features."""
        texts = digest_bytes(*(text.encode() for text in self.texts or ()))
        parts = [self.images.digest, digest_array(self.labels), digest_array(self.ids), texts]
        if self.text_features is not None:
            parts.append(digest_array(self.text_features))
        return digest_bytes(*(part.encode() for part in parts))


def multi_hot(numbers: Array, n_classes: int) -> Bytes:
    """Class numbers `(N,)` as multi-hot labels `(N, C)`.

    Raises:
        RequestError: a number is negative, or not below `n_classes`.
    """
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < n_classes:
        found = f"{int(numbers.min())} to {int(numbers.max())}"
        raise RequestError(f"class numbers must lie between 0 and {n_classes - 1}, got {found}")
    labels = np.zeros((len(numbers), n_classes), np.uint8)
    labels[np.arange(len(numbers)), numbers.astype(np.int64)] = 1
    return labels
