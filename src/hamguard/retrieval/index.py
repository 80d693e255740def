"""A search index over packed codes: what every engine offers, wherever it is kept, and the facts that are known of it.

Each code is kept once, with the items that have it: learned codes collapse, and 60,000 items may lie on 5,000 codes. Items are
ranked by Hamming distance and then by age: of equally distant items the one added earlier stands first, and the same rule decides
which of them are kept at the k-th place. So every exact engine gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import check_packed
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.types import Array, Bytes, Ints

ENGINES = ("flat", "ivf")
"""`flat` compares with every code; `ivf` only with the codes of the nearest cells, and may miss neighbors."""


class Nearest(NamedTuple):
    """The k nearest items of each query.

    Attributes:
        distances: Hamming distances, `(Q, k)` int64, rising; -1 where fewer than k were found: by an inexact engine, or because
            fewer have the label that is asked for.
        ids: their ids, `(Q, k)` strings; empty where the distance is -1.
    """

    distances: Ints
    ids: Array


class Ball(NamedTuple):
    """All items within a radius of each query; those of query i stand at `limits[i]:limits[i + 1]`, nearest first.

    Attributes:
        limits: `(Q + 1,)` int64.
        distances: Hamming distances, `(limits[-1],)` int64.
        ids: their ids, `(limits[-1],)` strings.
    """

    limits: Ints
    distances: Ints
    ids: Array

    def select(self, queries: Ints) -> Ball:
        """The same of some queries, by number, which may stand there again and again."""
        begins, sizes = self.limits[queries], np.diff(self.limits)[queries]
        parts = [slice(begin, begin + size) for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True)]
        limits = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        if not parts:
            return Ball(limits, self.distances[:0], self.ids[:0])
        return Ball(limits, *(np.concatenate([one[part] for part in parts]) for one in (self.distances, self.ids)))


def padded(found: Nearest, k: int) -> Nearest:
    """Answers with k places, the last of which are empty."""
    shape = (len(found.ids), k)
    wide = Nearest(np.full(shape, -1, np.int64), np.zeros(shape, found.ids.dtype))
    for whole, part in zip(wide, found, strict=True):
        whole[:, : part.shape[1]] = part
    return wide


@dataclass(frozen=True)
class IndexFacts:
    """What is known of an index.

    Attributes:
        engine: name of the engine, one of `ENGINES`.
        bits: code length K.
        count: number of items N.
        distinct: number of codes that differ.
        classes: number of classes of their labels; 0 where nothing is labeled.
        model_hash: hash of the model that made the codes; empty for foreign codes.
        split_hash: hash of the split the items came from.
        bank_digest: digest of the bank that the index was built from; empty once items were added or removed.
    """

    engine: str
    bits: int
    count: int
    distinct: int
    classes: int
    model_hash: str
    split_hash: str
    bank_digest: str

    @classmethod
    def of(cls, bank: CodeBank, engine: str, distinct: int) -> IndexFacts:
        """Facts of an index that was built of a bank."""
        classes = int(bank.labels.shape[1])
        return IndexFacts(
            engine, bank.bits, len(bank), distinct, classes, bank.model_hash, bank.split_hash, bank.digest
        )

    @property
    def common(self) -> dict[str, Any]:
        """What stands above, without what one kind of index knows besides."""
        return {one.name: getattr(self, one.name) for one in fields(IndexFacts)}


class Index(Protocol):
    """What every engine offers; queries are a `CodeBank`, or packed codes `(Q, ceil(bits / 8))` uint8.

    An index in a folder is read whole, and a change is in memory until it is saved; one in a data base is changed there.
    """

    @property
    def facts(self) -> IndexFacts:
        """What is known of it."""

    @property
    def bits(self) -> int:
        """Code length K."""

    @property
    def model_hash(self) -> str:
        """Hash of the model that made the codes; empty for foreign codes."""

    @property
    def ids(self) -> Array:
        """Ids in the order of insertion, `(N,)` strings."""

    def bank(self) -> CodeBank:
        """All items in the order of insertion: codes, labels where they were given, ids."""

    def __len__(self) -> int: ...

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank behind those present."""

    def remove(self, ids: Array) -> None:
        """Remove items by id; at least one stays."""

    def search(self, query: CodeBank | Bytes, k: int, *, label: int | None = None) -> Nearest:
        """The k nearest items of each query, of those with a label where one is given."""

    def within(self, query: CodeBank | Bytes, radius: int, *, label: int | None = None) -> Ball:
        """All items at most `radius` bits away from each query, of those with a label where one is given."""


Known = TypeVar("Known", bound=IndexFacts)


def check_current(name: str, facts: Known, model_hash: str | None, split_hash: str | None) -> Known:
    """The facts of an index, where they are of the model and the split that are asked for.

    Args:
        name: where the index lies.
        facts: what is known of it.
        model_hash: hash of the model whose queries will come, or None to accept any.
        split_hash: the same for the split.

    Raises:
        StaleError: the index belongs to another model or split.
    """
    for what, wanted, got in (("model", model_hash, facts.model_hash), ("split", split_hash, facts.split_hash)):
        if wanted is not None and wanted != got:
            raise StaleError(
                f"index {name} is stale: it belongs to {what} {got or '(unknown)'}, the {what} is now {wanted}; "
                "build it again"
            )
    return facts


def check_kin(facts: IndexFacts, bank: CodeBank) -> None:
    """Check that codes can be compared with those of an index.

    Raises:
        RequestError: wrong number of bits.
        StaleError: they were made by another model.
    """
    if bank.bits != facts.bits:
        raise RequestError(f"the index holds codes of {facts.bits} bits, these have {bank.bits}")
    if bank.model_hash and facts.model_hash and bank.model_hash != facts.model_hash:
        raise StaleError(
            f"the index belongs to model {facts.model_hash}, these codes to model {bank.model_hash}; "
            "encode again with one model"
        )


def packed_query(facts: IndexFacts, query: CodeBank | Bytes) -> Bytes:
    """Packed codes that ask, `(Q, ceil(bits / 8))`, contiguous.

    Raises:
        RequestError: wrong number of bits.
        StaleError: they were made by another model.
    """
    if isinstance(query, CodeBank):
        check_kin(facts, query)
        return np.ascontiguousarray(query.packed)
    check_packed(query, facts.bits, "query codes")
    return np.ascontiguousarray(query)


def check_label(facts: IndexFacts, label: int) -> int:
    """A class number that items of an index may have.

    Raises:
        RequestError: there is no such class, or the index holds no labels.
    """
    if not facts.classes:
        raise RequestError("the index holds no labels to choose by; build it of codes with labels")
    return check_range("label", label, 0, facts.classes - 1)


def names_of(bank: CodeBank) -> Array:
    """Ids of a bank that is to be indexed, `(N,)` strings.

    Raises:
        RequestError: one stands there twice.
    """
    names = [str(i) for i in bank.ids.tolist()]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RequestError(f"ids must be unique, {twice!r} stands in the bank more than once")
    return np.array(names, dtype=np.str_)


def unknown_ids(unknown: int, first: str) -> RequestError:
    """The error of ids that are not there."""
    return RequestError(f"{unknown} ids are not in the index, the first is {first!r}")


def check_some_stay(count: int, gone: int) -> None:
    """Check that a removal leaves something.

    Raises:
        RequestError: it does not.
    """
    if gone >= count:
        raise RequestError(f"these are all {count:,} items of the index; it keeps at least one")
