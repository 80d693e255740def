"""Packed codes with labels as the counting kernels want them: values, checks, and blocks of 64-bit words.

A database is one `LabeledCodes` or a sequence of them (shards in order). It is never concatenated: shards are cut
into blocks of words whose size bounds the extra memory, whatever the number of bits or classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from hamguard.codes.binary import bytes_of, check_packed, words
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Ints, is_tensor

BLOCK_BYTES = 4 << 20  # of words in one block; the kernels' other buffers are smaller than this
BLOCK_ROWS = 1 << 17  # one block of 64-bit codes and labels is 2 MiB, which stays in the second-level cache


class LabeledCodes(Protocol):
    """Packed codes `(N, ceil(bits / 8))` uint8, `bits`, and labels, multi-hot `(N, C)` or `ClassNumbers`: `CodeBank`, `Codes`."""

    @property
    def packed(self) -> Any: ...  # noqa: D102

    @property
    def bits(self) -> int: ...  # noqa: D102

    @property
    def labels(self) -> Any: ...  # noqa: D102


Database: TypeAlias = LabeledCodes | Sequence[LabeledCodes]


@dataclass(frozen=True, eq=False)
class ClassNumbers:
    """One class an item, where multi-hot rows would be zeros but for one column: N numbers in place of N x C.

    It stands wherever labels `(N, C)` do: it has their shape and is cut like them, and `numpy.asarray` makes the rows.

    Attributes:
        numbers: class of each item, `(N,)` whole numbers below `classes`; -1 for an item without label.
        classes: number of classes C, at least 1.

    Raises:
        RequestError: a number is out of range.
    """

    numbers: Ints
    classes: int

    def __post_init__(self) -> None:
        low, high = int(self.numbers.min(initial=0)), int(self.numbers.max(initial=-1))
        if low < -1 or high >= self.classes:
            raise RequestError(f"class numbers must lie between -1 and {self.classes - 1}, got {low} to {high}")

    @property
    def shape(self) -> tuple[int, int]:
        """Of the rows that the numbers stand for, `(N, C)`."""
        return len(self.numbers), self.classes

    @property
    def ndim(self) -> int:
        """2, as rows have it."""
        return 2

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> ClassNumbers:
        return ClassNumbers(self.numbers[index], self.classes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        rows = np.zeros(self.shape, dtype=np.uint8)
        labeled = np.flatnonzero(self.numbers >= 0)
        rows[labeled, self.numbers[labeled]] = 1
        return rows if dtype is None else rows.astype(dtype)


@dataclass(frozen=True)
class Codes:
    """Packed codes with labels and nothing else; the light sibling of `CodeBank`.

    Attributes:
        packed: codes, `(N, ceil(bits / 8))` uint8, a NumPy array or a torch tensor.
        bits: code length K.
        labels: multi-hot labels, `(N, C)` in {0, 1}, of the same kind and on the same device.

    Raises:
        RequestError: the shapes do not fit, or a padding bit is set.
    """

    packed: Any
    bits: int
    labels: Any

    def __post_init__(self) -> None:
        check_labeled(self, "codes")

    def __len__(self) -> int:
        return len(self.packed)


def check_labeled(codes: LabeledCodes, name: str) -> None:
    """Check shapes and padding of one set of labeled codes; values of labels are checked where they are packed.

    Raises:
        RequestError: packed codes do not fit the bits, labels are not `(N, C)` with C at least 1.
    """
    if not all(hasattr(codes, part) for part in ("packed", "bits", "labels")):
        raise RequestError(f"{name} must be a CodeBank, see hg.encode and hg.codes, got {type(codes).__name__}")
    packed = codes.packed
    if is_tensor(packed):
        # Only the last byte can hold padding: on a GPU no more than that column is copied.
        last = packed[:, -1:].cpu().numpy() if packed.ndim == 2 and packed.shape[1] else packed.cpu().numpy()
        width = bytes_of(codes.bits)
        if tuple(packed.shape[1:]) != (width,):
            raise RequestError(
                f"{name} of {codes.bits} bits must be uint8 (N, {width}), got {packed.dtype} {tuple(packed.shape)}"
            )
        check_packed(last, codes.bits - 8 * (width - 1), name)
    else:
        check_packed(packed, codes.bits, name)
    shape = tuple(getattr(codes.labels, "shape", ()))
    if len(shape) != 2 or shape[0] != len(packed) or shape[1] == 0:
        raise RequestError(f"labels of {name} must have shape ({len(packed)}, C) with C at least 1, got {shape}")


def shards_of(query: LabeledCodes, database: Database) -> tuple[Sequence[LabeledCodes], int]:
    """The database as a sequence of shards, and its size N, after checking that queries and shards fit together.

    Raises:
        RequestError: no queries, an empty database, or different numbers of bits or classes.
    """
    check_labeled(query, "query codes")
    shards: Sequence[LabeledCodes] = database if isinstance(database, Sequence) else [database]
    if len(query.packed) == 0:
        raise RequestError("there are no queries: query codes are empty")
    count = 0
    for shard in shards:
        check_labeled(shard, "database codes")
        if shard.bits != query.bits:
            raise RequestError(f"query codes have {query.bits} bits, database codes {shard.bits}; they must be equal")
        if shard.labels.shape[1] != query.labels.shape[1]:
            raise RequestError(
                f"query labels have {query.labels.shape[1]} classes, database labels {shard.labels.shape[1]}; "
                "they must be equal"
            )
        count += len(shard.packed)
    if count == 0:
        raise RequestError("the database is empty: there is nothing to rank")
    return shards, count


def as_array(values: Any) -> Array:
    """A NumPy view of an array or CPU tensor; a tensor on another device is copied."""
    return values.detach().cpu().numpy() if is_tensor(values) else np.asarray(values)


def check_marks(labels: Array) -> None:
    """Check that labels are multi-hot, whatever their type.

    Raises:
        RequestError: a value is neither 0 nor 1 (NaN included).
    """
    if labels.size == 0:
        return
    if not (labels.max() <= 1 if labels.dtype.kind in "ub" else bool(((labels == 0) | (labels == 1)).all())):
        raise RequestError("labels must be multi-hot, 0 or 1; a value is neither")


def labeled(labels: Any) -> Array:
    """Which items carry a label, `(N,)` bool."""
    if isinstance(labels, ClassNumbers):
        return np.asarray(labels.numbers >= 0)
    return np.asarray(as_array(labels).any(axis=1))


def asked_classes(labels: Any) -> Ints | None:
    """Classes that any query has, where leaving out all others makes the rows of words shorter; else None.

    A class without a query makes nothing relevant, so its column need not be looked at.
    """
    classes = labels.shape[1]
    if classes <= 64:
        return None
    if isinstance(labels, ClassNumbers):
        found = np.unique(labels.numbers[labels.numbers >= 0])
    else:
        found = np.flatnonzero(as_array(labels).any(axis=0))
    found = found if len(found) else np.zeros(1, dtype=np.int64)  # a column that no query marks, so that there is one
    return found if -(-len(found) // 64) < -(-classes // 64) else None


def pack_labels(labels: Any, kept: Ints | None = None) -> Array:
    """Labels `(N, C)` of any type as rows of words, `(N, ceil(C / 64))` uint64.

    Args:
        labels: multi-hot in {0, 1}, or `ClassNumbers`.
        kept: the classes to pack, rising; None for all.

    Raises:
        RequestError: a value is neither 0 nor 1 (NaN included).
    """
    n, classes = labels.shape
    count = classes if kept is None else len(kept)
    if isinstance(labels, ClassNumbers):
        place = labels.numbers
        if kept is not None:
            near = np.minimum(np.searchsorted(kept, place), count - 1)
            place = np.where(kept[near] == place, near, -1)
        rows = np.zeros((n, 8 * -(-count // 64)), dtype=np.uint8)
        there = np.flatnonzero(place >= 0)
        rows[there, place[there] >> 3] = np.left_shift(1, place[there] & 7)
        return words(rows)
    labels = as_array(labels)
    check_marks(labels)
    wide = np.zeros((n, 8 * -(-count // 8)), dtype=np.bool_)
    wide[:, :count] = labels if kept is None else labels[:, kept]
    # Packed as one long row: NumPy packs many short rows ten times slower.
    return words(np.packbits(wide.ravel(), bitorder="little").reshape(n, -1))


def columns(rows: Array) -> Array:
    """Rows of words as contiguous columns, `(N, W)` to `(W, N)`, so that a kernel reads one word of many items at once."""
    return np.ascontiguousarray(rows.T)


def rows_of_block(bits: int, labels: Any, kept: Ints | None = None) -> int:
    """Items whose words fit `BLOCK_BYTES`; at most `BLOCK_ROWS`."""
    classes = labels.shape[1]
    width = 8 * (-(-bits // 64) + -(-(classes if kept is None else len(kept)) // 64))
    if not isinstance(labels, ClassNumbers):
        width += classes + 7  # a byte a class while labels are packed
    return max(64, min(BLOCK_ROWS, BLOCK_BYTES // width))


def word_blocks(shards: Sequence[LabeledCodes], kept: Ints | None = None) -> Iterator[tuple[Array, Array]]:
    """Blocks in database order: code words `(W, n)` uint64 and label words `(V, n)` uint64, both contiguous.

    Args:
        shards: the database in parts.
        kept: the classes that label words hold, as `asked_classes` gives them; None for all.

    Raises:
        RequestError: a label is neither 0 nor 1.
    """
    for shard in shards:
        rows = rows_of_block(shard.bits, shard.labels, kept)
        for start in range(0, len(shard.packed), rows):
            part = slice(start, start + rows)
            yield columns(words(as_array(shard.packed[part]))), columns(pack_labels(shard.labels[part], kept))
