"""Codes that other software made: `.npz` files with `codes` and `labels`, of any length.

`codes` are `(N, K)` of {-1, +1} or {0, 1}, or packed `uint8` `(N, ceil(K / 8))` with a scalar `bits`; `labels` mean what
`core.label_arrays` says; `ids`, `(N,)`, name the items. A code bank of hamguard is read and checked as such. What a file
holds beyond that, and what could be read in two ways, is told in notes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.given import ORDERS, BitOrder, ids_of, lowest_first, packed_of
from hamguard.codes.labeled import ClassNumbers, as_array
from hamguard.core.archives import read_npz
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import LabelArray, read_label_array
from hamguard.core.types import Array, Bytes, Ints

READ = {"codes", "bits", "labels", "ids"}
LARGEST_CLASS = (
    1 << 24
)  # an index reserves nothing for classes that nobody has, and yet numbers that are hashes are none
OURS = {"packed", "model_hash", "split_hash"}
"""A file with one of these arrays was written as a bank of hamguard."""

MOST_CELLS = 1 << 26
"""Labels of more items times classes than these stay class numbers; 64 MiB as multi-hot rows."""


TELLING = 32
"""Bits in which the first items of a longer database must agree with the queries; fewer may agree by chance."""


@dataclass(frozen=True, eq=False)
class ForeignCodes:
    """What one file holds.

    Attributes:
        path: the file, or the place of an index, which may be an address.
        codes: packed codes, `(N, ceil(K / 8))` uint8; first bit lowest unless `orders` is not empty.
        bits: code length K.
        labels: labels with their meaning; None where there are none.
        ids: one name an item, `(N,)` strings, or None.
        orders: orders that the bits may stand in, judged by their padding, where other software packed them.
        bank: the file itself, where it is a bank of hamguard.
        arrays: names of the arrays that the file holds.
        notes: what a reader must know.
    """

    path: Path | str
    codes: Array
    bits: int
    labels: LabelArray | None
    ids: Array | None
    orders: tuple[BitOrder, ...] = ()
    bank: CodeBank | None = None
    arrays: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def packed(self, order: BitOrder = "little") -> Bytes:
        """Packed codes, first bit lowest, `(N, ceil(K / 8))`."""
        return lowest_first(self.codes, order) if self.orders else self.codes

    def first(self, n: int) -> ForeignCodes:
        """The first `n` items."""
        held = self.labels
        if held is None:
            labels = None
        elif held.marks is not None:
            labels = replace(held, marks=held.marks[:n])
        else:
            labels = replace(held, numbers=cast(Ints, held.numbers)[:n])
        return replace(self, codes=self.codes[:n], labels=labels, ids=None if self.ids is None else self.ids[:n])


class ForeignPair(NamedTuple):
    """Queries and database, ready to be measured.

    Attributes:
        query: query codes with labels.
        database: database codes with labels of the same classes.
        own: which database item each query is and leaves out, `(Q,)`, -1 for none; None where none is left out.
        notes: what a reader must know.
    """

    query: CodeBank
    database: CodeBank
    own: Ints | None
    notes: tuple[str, ...]


def read_codes(path: Path | str, name: str = "labels", what: str = "codes") -> ForeignCodes:
    """Read one file.

    Args:
        path: the `.npz` file, of the layout above.
        name: how errors and notes call its labels.
        what: how errors call what should lie there.

    Raises:
        RequestError: missing file or array, pickled objects, shapes that do not fit, values that are no codes or labels,
            or a damaged bank of hamguard.
    """
    path = Path(path)
    arrays = read_npz(path, what)
    if arrays.keys() & OURS:
        return _read_ours(path, tuple(arrays))
    if "codes" not in arrays:
        raise RequestError(f"{path} must hold the arrays codes and labels; it has {', '.join(arrays) or 'none'}")
    codes, labels = arrays["codes"], arrays.get("labels")
    if codes.ndim == 2 and labels is not None and labels.ndim and len(codes) != len(labels) == codes.shape[1]:
        raise RequestError(
            f"{path}: labels must be ({len(codes)}, C) or ({len(codes)},), got {labels.shape}; "
            f"codes {codes.shape} seem to lie on their side: transpose them to {codes.shape[::-1]}"
        )
    try:
        codes, bits, orders = packed_of(codes, arrays.get("bits"))
        if len(codes) == 0:
            raise RequestError("holds no codes")
        found = None if labels is None else read_label_array(labels, name, items=len(codes))
        ids = None if "ids" not in arrays else ids_of(arrays["ids"], len(codes))
    except RequestError as error:
        raise type(error)(f"{path}: {error}") from error
    unread = sorted(arrays.keys() - READ)
    notes = (f"arrays of {path.name} not read: {', '.join(unread)}",) if unread else ()
    told = (*notes, *(found.notes if found else ()))
    return ForeignCodes(path, codes, bits, found, ids, orders, arrays=tuple(arrays), notes=told)


def read_bank(path: Path | str) -> tuple[CodeBank, tuple[str, ...]]:
    """A file as a bank to be indexed, with notes; a bank of hamguard as it is.

    Raises:
        RequestError: as `read_codes`, or an id stands there twice.
    """
    found = read_codes(path, what="code bank")
    if found.bank is not None:
        return found.bank, ()
    notes = [*found.notes, *_order_notes(found)]
    if found.ids is None:
        notes.append(f"{Path(found.path).name} has no ids: items are called by their numbers from 0")
    labels, told = _kept_labels(found)
    packed = found.packed(found.orders[0] if found.orders else "little")
    bank = (
        CodeBank(packed, found.bits, labels) if found.ids is None else CodeBank(packed, found.bits, labels, found.ids)
    )
    return bank, (*notes, *told)


def _kept_labels(found: ForeignCodes) -> tuple[Any, list[str]]:
    """Labels as an index keeps them, with notes."""
    labels, none = found.labels, np.zeros((len(found), 0), np.uint8)
    if labels is None:
        return none, []
    if labels.marks is not None:
        return labels.marks, []
    numbers = cast(Ints, labels.numbers)
    classes = int(numbers.max(initial=0)) + 1
    if labels.names or classes > LARGEST_CLASS:
        what = "are names of classes" if labels.names else f"go up to class {classes - 1:,}"
        return none, [
            f"an index keeps classes by number, up to {LARGEST_CLASS:,}, and its labels {what}: they are left out"
        ]
    kept = ClassNumbers(numbers, classes)
    return (kept if len(found) * classes > MOST_CELLS else as_array(kept)), []


def codes_of_bank(bank: CodeBank, shown: str) -> ForeignCodes:
    """What an index holds, as what a file holds.

    Args:
        bank: its items.
        shown: what messages call it.
    """
    labels = (
        LabelArray(None, bank.labels.numbers)
        if isinstance(bank.labels, ClassNumbers)
        else LabelArray(bank.labels, None)
    )
    if labels.marks is not None and bank.labels.shape[1] and bool((labels.marks.sum(axis=1) == 1).all()):
        labels = LabelArray(None, labels.marks.argmax(axis=1))  # a query may be of a class that no item has
    held = labels if bank.labels.shape[1] else None
    return ForeignCodes(shown, bank.packed, bank.bits, held, bank.ids, bank=bank, arrays=("codes", "ids"))


def read_pair(
    query: Path | str, database: Path | str | ForeignCodes, *, queries: int | None = None, exclude: bool = False
) -> ForeignPair:
    """Read query and database codes with labels of one width.

    Packed bits may stand in either order of `numpy.packbits`; padding of lengths that are no multiple of 8 tells which.
    Where it tells only one of two packed files, the other is read alike: distances do not depend on an order that both
    files share.

    Args:
        query: file of the queries.
        database: file of the items, or what was read of it.
        queries: keep only that many first queries; None for all.
        exclude: each query that is a database item is to be left out of its own answers.

    Raises:
        RequestError: as `read_codes`, no labels, two sides of different classes or code lengths, or queries that are no
            database items and cannot be left out.
    """
    q = read_codes(query, "query labels")
    d = database if isinstance(database, ForeignCodes) else read_codes(database, "database labels")
    for side in (q, d):
        if side.labels is None:
            raise RequestError(f"{side.path} must hold the arrays codes and labels; it has {', '.join(side.arrays)}")
    if q.bits != d.bits:
        raise RequestError(f"query codes have {q.bits} bits, database codes have {d.bits}")
    q = q.first(queries) if queries else q
    packed = [side for side in (q, d) if side.orders]  # a bank of hamguard has its order
    shared = [order for order in ORDERS if all(order in side.orders for side in packed)]
    notes = [*q.notes, *d.notes]
    if len(packed) == 1:
        notes += _order_notes(packed[0])
    q_labels, d_labels, told = _same_classes(cast(LabelArray, q.labels), cast(LabelArray, d.labels))
    banks = []
    for side, labels in ((q, q_labels), (d, d_labels)):
        order = shared[0] if shared else (side.orders or ORDERS)[0]
        banks.append(CodeBank(side.packed(order), side.bits, cast(Bytes, labels)))  # `ClassNumbers` stand for rows
    own, repeated = _own(banks[0], banks[1], q.ids, d.ids)
    found = int(np.count_nonzero(own >= 0))
    if exclude and not found:
        raise RequestError(
            "no query is a database item, by ids or by place, so `exclude_self` has nothing to leave out"
        )
    if exclude:
        notes.append(
            f"{found:,} of {len(q):,} queries are in the database themselves; each is left out of its own answers"
        )
    elif repeated:
        notes.append(
            f"{repeated:,} of {len(q):,} queries are in the database themselves and find themselves; "
            "--exclude-self leaves them out"
        )
    makers = [side.bank.model_hash for side in (q, d) if side.bank is not None]
    if len(makers) == 2 and makers[0] != makers[1]:
        notes.append(
            f"two models made the codes: queries {makers[0] or '(unknown)'}, database {makers[1] or '(unknown)'}"
        )
    return ForeignPair(banks[0], banks[1], own if exclude else None, tuple(dict.fromkeys((*notes, *told))))


def _read_ours(path: Path, arrays: tuple[str, ...]) -> ForeignCodes:
    bank = CodeBank.load(path)
    if len(bank) == 0:
        raise RequestError(f"{path}: holds no codes")
    labels = LabelArray(bank.labels, None) if bank.labels.shape[1] else None
    return ForeignCodes(path, bank.packed, bank.bits, labels, bank.ids, bank=bank, arrays=arrays)


def _order_notes(side: ForeignCodes) -> list[str]:
    """What is to be said about packed codes that meet others whose order is known."""
    if len(side.orders) > 1:
        return [
            f"the packed bits of {Path(side.path).name} were taken lowest first (numpy.packbits with bitorder='little'); "
            "numpy's default order is highest first, and the file does not tell which it is"
        ]
    return [f"the packed bits of {Path(side.path).name} were taken highest first: its padding says so"] * (
        "big" in side.orders
    )


Labels = Bytes | ClassNumbers


def _same_classes(query: LabelArray, database: LabelArray) -> tuple[Labels, Labels, list[str]]:
    """Labels of both sides over the same classes, with notes.

    Raises:
        RequestError: names on one side only, other columns, or class numbers beyond the columns of the other side.
    """
    if bool(query.names) != bool(database.names):
        side, other = ("query", "database") if query.names else ("database", "query")
        raise RequestError(f"{side} labels are class names, {other} labels are not; give both sides the same kind")
    if query.marks is not None and database.marks is not None:
        if query.marks.shape[1] != database.marks.shape[1]:
            raise RequestError(
                "query and database must have the same classes, "
                f"got labels {query.marks.shape} and {database.marks.shape}"
            )
        return query.marks, database.marks, []
    if query.numbers is not None and database.numbers is not None:
        if query.names:
            names = sorted({*query.names, *database.names})
            place = {name: i for i, name in enumerate(names)}
            # a blank name is number -1, which picks the last entry
            sides = [np.array([*(place[n] for n in s.names), -1])[s.numbers] for s in (query, database)]
            return *_rows(sides[0], sides[1], len(names)), []
        classes = np.unique(np.concatenate([query.numbers, database.numbers]))
        places = [np.searchsorted(classes, side.numbers) for side in (query, database)]  # type: ignore[arg-type]
        return *_rows(places[0], places[1], len(classes)), _shifted(query.numbers, database.numbers)
    if query.numbers is not None:
        return _numbers_and_marks(query.numbers, cast(Bytes, database.marks), "query", "database item")
    q_first = _numbers_and_marks(cast(Ints, database.numbers), cast(Bytes, query.marks), "database item", "query")
    return q_first[1], q_first[0], q_first[2]


def _rows(query: Ints, database: Ints, classes: int) -> tuple[Labels, Labels]:
    """Class numbers of both sides; as multi-hot rows where these are small."""
    sides = ClassNumbers(query, classes), ClassNumbers(database, classes)
    if (len(query) + len(database)) * classes > MOST_CELLS:
        return sides
    return as_array(sides[0]), as_array(sides[1])


def _numbers_and_marks(numbers: Ints, marks: Bytes, side: str, other: str) -> tuple[Labels, Labels, list[str]]:
    """Class numbers of one side over the columns of the other."""
    classes, largest = marks.shape[1], int(numbers.max())
    from_one = "; where they count from 1, subtract 1" if numbers.min() >= 1 else ""
    if largest >= classes:
        raise RequestError(
            f"class numbers go up to {largest}, but the multi-hot labels of the other side have {classes} columns, "
            f"counted from 0{from_one if largest == classes else ''}"
        )
    rows = ClassNumbers(numbers, classes)
    labels = rows if len(numbers) * classes > MOST_CELLS else as_array(rows)
    first = int(marks[:, 0].sum(dtype=np.int64))
    notes = []
    if from_one and first:
        some = f"{first:,} {other}{'' if first == 1 else 's' if other != 'query' else ''}"
        notes.append(f"no {side} has class 0, which {some} have: class numbers count from 0{from_one}")
    return labels, marks, notes


def _shifted(query: Ints, database: Ints) -> list[str]:
    """A note where one side seems to count its classes from 1 and the other from 0."""
    spans = [(int(side.min()), int(side.max())) for side in (query, database)]
    if {spans[0][0], spans[1][0]} != {0, 1} or abs(spans[0][1] - spans[1][1]) != 1 or spans[0] == spans[1]:
        return []
    if (spans[0][0] - spans[1][0]) != (spans[0][1] - spans[1][1]):
        return []
    words = [f"from {low} to {high}" for low, high in spans]
    return [f"query class numbers go {words[0]}, those of the database {words[1]}: does one side count from 1?"]


def _own(query: CodeBank, database: CodeBank, q_ids: Array | None, d_ids: Array | None) -> tuple[Ints, int]:
    """Which database item each query is, `(Q,)`, and how many queries have code and labels of that item.

    Ids tell where both sides have them. Without, the queries are the first items where all codes and labels agree.
    """
    none = np.full(len(query), -1, dtype=np.int64)
    if q_ids is not None and d_ids is not None:
        names, first = np.unique(d_ids, return_index=True)
        near = np.minimum(np.searchsorted(names, q_ids), len(names) - 1)
        own = np.where(names[near] == q_ids, first[near], none)
        rows = np.flatnonzero(own >= 0)
        return own, int(_alike(query, rows, database, own[rows]).sum())
    rows = np.arange(len(query))
    if len(query) > len(database) or not bool(_alike(query, rows, database, rows).all()):
        return none, 0
    chance = len(query) < len(database) and len(query) * query.bits < TELLING
    return rows, 0 if chance else len(rows)


def _alike(query: CodeBank, rows: Ints, database: CodeBank, items: Ints) -> Array:
    """Which pairs of a query and an item have the same code and the same labels, `(n,)` bool."""
    codes = (query.packed[rows] == database.packed[items]).all(axis=1)
    q, d = query.labels[rows], database.labels[items]
    if isinstance(q, ClassNumbers) and isinstance(d, ClassNumbers):
        return np.asarray(codes & (q.numbers == d.numbers))
    return np.asarray(codes & (as_array(q) == as_array(d)).all(axis=1))
