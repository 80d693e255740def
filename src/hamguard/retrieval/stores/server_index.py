"""An index in a data base: the data base finds codes and gives their items, and what is said by distance and age is said here.

So every engine answers alike, and what travels is each item once, however many queries find it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.label_sets import LabelSets
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.types import Array, Bytes, Ints
from hamguard.retrieval.index import (
    Ball,
    IndexFacts,
    Nearest,
    check_current,
    check_kin,
    check_label,
    packed_query,
    padded,
)
from hamguard.retrieval.items import Items
from hamguard.retrieval.stores.address import Address

R = TypeVar("R")


class NearCodes(NamedTuple):
    """Codes that queries find.

    Attributes:
        query: number of the query, `(c,)`, rising.
        distance: Hamming distance, `(c,)`.
        code: what the data base calls the code, `(c,)` strings.
    """

    query: Ints
    distance: Ints
    code: Array


class ItemsOfCodes(NamedTuple):
    """Items that have some codes.

    Attributes:
        code: number of the code among those asked for, `(n,)`.
        age: place in the order of insertion, `(n,)`; gaps are left by items that are gone.
        id: `(n,)` strings.
    """

    code: Ints
    age: Ints
    id: Array


class Reader(Protocol):
    """One look at a data base, in which nothing changes meanwhile."""

    @property
    def facts(self) -> IndexFacts:
        """What is known of the index now."""

    def near(self, packed: Bytes, k: int, label: int | None) -> NearCodes:
        """Codes on which the k nearest items lie, and all codes as far as the last of these, or more."""

    def within(self, packed: Bytes, radius: int, label: int | None) -> NearCodes:
        """All codes at most `radius` bits away."""

    def items(self, codes: Array, most: int | None, label: int | None) -> ItemsOfCodes:
        """The `most` oldest items of each code, in any order."""

    def everything(self) -> CodeBank:
        """All items in the order of insertion."""


class ServerStore(ABC):
    """A place in a data base in which an index lies or will; what is the same whatever data base it is.

    Args:
        address: of the data base, with the name of the index.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def shown(self) -> str:
        """The address without a password."""
        return self.address.shown

    def open(self, *, model_hash: str | None = None, split_hash: str | None = None) -> ServerIndex:
        """Open the index.

        Raises:
            RequestError: no index there, or one of another form.
            StaleError: it belongs to another model or split.
            RunError: the server cannot be reached, or fails.
        """
        facts = self.reading(lambda reader: reader.facts)
        return ServerIndex(self, check_current(self.shown, facts, model_hash, split_hash))

    @abstractmethod
    def reading(self, work: Callable[[Reader], R]) -> R:
        """What some work finds in one state of the index; begun again where the connection is lost, or the state."""

    @abstractmethod
    def add(self, bank: CodeBank) -> None:
        """Add items, whole or not at all."""

    @abstractmethod
    def remove(self, ids: Array) -> None:
        """Remove items, whole or not at all."""

    def check_new(self, bank: CodeBank, engine: str) -> None:
        """Check what an index is to be built of.

        Raises:
            RequestError: an empty bank, or another engine than `flat`.
        """
        if engine != "flat":
            raise RequestError(
                f"{self.shown} compares with every code; leave out engine {engine}, which is for folders"
            )
        if len(bank) == 0:
            raise RequestError("an index needs at least one code, the bank is empty")


def check_joins(facts: IndexFacts, bank: CodeBank, labels: LabelSets) -> None:
    """Check that the items of a bank may be added.

    Raises:
        RequestError: wrong number of bits, or other classes.
        StaleError: the bank was made by another model.
    """
    check_kin(facts, bank)
    if labels.classes and facts.classes and labels.classes != facts.classes:
        raise RequestError(f"labels of {facts.classes} classes and of {labels.classes} do not go together")


class ServerIndex:
    """An index in a data base. Every answer is of one state of it, and a change is there for all who read after it.

    Args:
        base: the data base.
        facts: what was known of the index when it was opened; an index of another model that takes its place is refused.
    """

    def __init__(self, base: ServerStore, facts: IndexFacts) -> None:
        self._base, self._facts = base, facts

    @property
    def facts(self) -> IndexFacts:
        """What is known of it, as of the last look."""
        return self._facts

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self._facts.engine

    @property
    def bits(self) -> int:
        """Code length K."""
        return self._facts.bits

    @property
    def model_hash(self) -> str:
        """Hash of the model that made the codes; empty for foreign codes."""
        return self._facts.model_hash

    @property
    def ids(self) -> Array:
        """Ids in the order of insertion, `(N,)` strings; they are read each time."""
        return self.bank().ids

    def __len__(self) -> int:
        return self._facts.count

    def __repr__(self) -> str:
        return f"ServerIndex({self._base.shown}, {len(self)} items on {self._facts.distinct} codes of {self.bits} bits)"

    def bank(self) -> CodeBank:
        """All items in the order of insertion, with their labels where they were given."""
        return self._look(lambda reader: reader.everything())

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank behind those present.

        Raises:
            RequestError: wrong number of bits, other classes, or an id that is twice in the bank or already in the index.
            StaleError: the bank was made by another model.
            RunError: the data base cannot be reached, or fails; nothing is added then.
        """
        self._base.add(bank)
        self._look(lambda reader: None)

    def remove(self, ids: Array) -> None:
        """Remove items by id; the order of the others stays.

        Raises:
            RequestError: an id is not in the index, or all are to go; nothing is removed then.
            RunError: the data base cannot be reached, or fails; nothing is removed then.
        """
        self._base.remove(ids)
        self._look(lambda reader: None)

    def search(self, query: CodeBank | Bytes, k: int, *, label: int | None = None) -> Nearest:
        """The k nearest items of each query, nearest first, of equal ones the earliest added first.

        Args:
            query: a bank, or packed codes `(Q, ceil(bits / 8))` uint8.
            k: number of results, 1 to N.
            label: only items of this class.

        Raises:
            RequestError: wrong number of bits, k out of range, or no such label.
            StaleError: the query bank was made by another model, or the index belongs to another than when it was opened.
            RunError: the data base cannot be reached, or fails.
        """

        def look(reader: Reader) -> Nearest:
            packed = _packed(reader, query, label)
            check_range("k", k, 1, reader.facts.count)
            near = reader.near(packed, k, label)
            items, number = _gathered(reader, near, k, label)
            if not len(items):
                return padded(Nearest(np.empty((len(packed), 0), np.int64), np.empty((len(packed), 0), "<U1")), k)
            there = number >= 0
            distances, codes = _rows(len(packed), near.query[there], near.distance[there], number[there])
            found, places = items.nearest(distances, codes, min(k, len(items)))
            return padded(Nearest(found, np.where(places < 0, "", items.ids.take(places, mode="clip"))), k)

        return self._look(look)

    def within(self, query: CodeBank | Bytes, radius: int, *, label: int | None = None) -> Ball:
        """All items at most `radius` bits away, nearest first, of equal ones the earliest added first.

        Raises:
            RequestError: wrong number of bits, a radius that is not between 0 and K, or no such label.
            StaleError: the query bank was made by another model, or the index belongs to another than when it was opened.
            RunError: the data base cannot be reached, or fails.
        """

        def look(reader: Reader) -> Ball:
            packed = _packed(reader, query, label)
            check_range("radius", radius, 0, reader.facts.bits)
            near = reader.within(packed, radius, label)
            items, number = _gathered(reader, near, None, label)
            there = number >= 0
            limits = np.searchsorted(near.query[there], np.arange(len(packed) + 1))
            limits, distances, places = items.ball(limits, near.distance[there], number[there])
            return Ball(limits, distances, items.ids.take(places, mode="clip") if len(items) else items.ids)

        return self._look(look)

    def _look(self, work: Callable[[Reader], R]) -> R:
        def checked(reader: Reader) -> R:
            now, then = reader.facts, self._facts
            if (now.model_hash, now.bits) != (then.model_hash, then.bits):
                raise StaleError(
                    f"index {self._base.shown} is stale: it was built anew, of model {now.model_hash or '(unknown)'} with "
                    f"{now.bits} bits, since it was opened"
                )
            self._facts = now
            return work(reader)

        return self._base.reading(checked)


def _packed(reader: Reader, query: CodeBank | Bytes, label: int | None) -> Bytes:
    """Packed queries that go with the index, `(Q, ceil(bits / 8))`, where it knows the label, too."""
    if label is not None:
        check_label(reader.facts, label)
    return packed_query(reader.facts, query)


def _gathered(reader: Reader, near: NearCodes, most: int | None, label: int | None) -> tuple[Items, Ints]:
    """The items on the codes that were found, and the number of each of these codes among them; -1 where it has none."""
    keys, place = np.unique(near.code, return_inverse=True)
    none = np.empty(0, np.int64)
    found = reader.items(keys, most, label) if len(keys) else ItemsOfCodes(none, none, np.empty(0, "<U1"))
    order = np.argsort(found.age, kind="stable")
    which, first, owner = np.unique(found.code[order], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))  # codes by the age of their oldest item
    number = np.full(len(keys), -1, np.int64)
    number[which] = rank
    ids = found.id[order]
    return Items(ids, rank[owner], LabelSets.of(np.zeros((len(ids), 0), np.uint8))), number[place]


def _rows(count: int, query: Ints, distance: Ints, code: Ints) -> tuple[Ints, Ints]:
    """Codes of each query in a row, the nearest first, `(Q, c)`; -1 behind the last."""
    order = np.lexsort((code, distance, query))
    query, distance, code = query[order], distance[order], code[order]
    starts = np.searchsorted(query, np.arange(count))
    column = np.arange(len(query)) - starts[query]
    width = int(column.max(initial=0)) + 1
    distances, codes = np.full((count, width), -1, np.int64), np.full((count, width), -1, np.int64)
    distances[query, column], codes[query, column] = distance, code
    return distances, codes


def labels_of(numbers: Sequence[Sequence[int]], classes: int) -> Any:
    """Labels `(n, classes)` from class numbers; as `ClassNumbers` where that is much smaller and says the same."""
    counts = np.fromiter(map(len, numbers), np.int64, len(numbers))
    if len(numbers) * classes > 1 << 26 and counts.max(initial=0) <= 1:
        return ClassNumbers(np.array([one[0] if one else -1 for one in numbers], np.int64), classes)
    marks = np.zeros((len(numbers), classes), np.uint8)
    flat = np.fromiter((number for one in numbers for number in one), np.int64, int(counts.sum()))
    marks[np.repeat(np.arange(len(numbers)), counts), flat] = 1
    return marks
