"""The index engines of faiss: `IndexBinaryFlat`, exact, and `IndexBinaryIVF`, cells of similar codes.

Faiss holds each code once, numbered by age; what it finds becomes items in `items.py`. What it does with equal distances was
looked up by experiment (version 1.15) and is held by tests: the flat index with counting instead of heaps keeps and returns the
earliest of them, and is faster; the cells return them in the order of cells, so there more codes are fetched and the choice at the
k-th place is made here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import bytes_of
from hamguard.codes.distinct import distinct
from hamguard.codes.label_sets import LabelSets
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Ints
from hamguard.retrieval.index import (
    Ball,
    IndexFacts,
    Nearest,
    check_kin,
    check_label,
    check_some_stay,
    names_of,
    packed_query,
    padded,
    unknown_ids,
)
from hamguard.retrieval.index_file import Arrays, check_codes, items_of, read_index, write_index
from hamguard.retrieval.items import Items

TRAINING_CODES_PER_CELL = 39  # faiss warns below this: the cells would follow single codes
TRAINING_LIMIT = 64
ABSENT = (1 << 40) - 1
OFTEN = 0.9  # where more queries than these differ, to copy the answers of the others is no gain
SPARE = 16  # codes fetched beyond those that are likely to be enough; a tie that is longer than that is found by radius


class FaissIndex:
    """Codes in a faiss index, each once, with the items that have it."""

    def __init__(self, inner: Any, items: Items, facts: IndexFacts) -> None:
        self._inner = inner
        self._items = items
        self._facts = facts
        self._known = set(items.ids.tolist())
        self._part: tuple[int, FaissIndex | None] | None = None  # the items of a label that was asked for last
        if facts.engine == "flat":
            inner.use_heap = False

    @property
    def facts(self) -> IndexFacts:
        """What is known of it."""
        items = self._items
        return replace(self._facts, count=len(items), distinct=items.codes, classes=items.labels.classes)

    @property
    def engine(self) -> str:
        """`flat` or `ivf`."""
        return self._facts.engine

    @property
    def bits(self) -> int:
        """Code length K."""
        return self._facts.bits

    @property
    def ids(self) -> Array:
        """Ids in the order of insertion, `(N,)` strings."""
        return self._items.ids

    @property
    def model_hash(self) -> str:
        """Hash of the model that made the codes; empty for foreign codes."""
        return self._facts.model_hash

    @property
    def split_hash(self) -> str:
        """Hash of the split that the items came from."""
        return self._facts.split_hash

    @property
    def probes(self) -> int:
        """Cells that a search visits; 1 for the flat engine."""
        return int(self._inner.nprobe) if self.engine == "ivf" else 1

    @probes.setter
    def probes(self, number: int) -> None:
        if self.engine != "ivf":
            raise RequestError("only an ivf index has probes; this one is flat and compares with every code")
        self._inner.nprobe = check_range("probes", number, 1, int(self._inner.nlist))

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"FaissIndex({self.engine}, {len(self)} items on {self._items.codes} codes of {self.bits} bits)"

    @classmethod
    def build(cls, bank: CodeBank, *, engine: str = "flat", cells: int | None = None, probes: int = 16) -> FaissIndex:
        """An index over a bank; see `engines.build_index`.

        Raises:
            RequestError: empty bank, duplicate ids, or cells or probes out of range.
        """
        if len(bank) == 0:
            raise RequestError("an index needs at least one code, the bank is empty")
        names = names_of(bank)
        first, owner = distinct(bank.packed)
        codes = np.ascontiguousarray(bank.packed[first])  # (D, bytes)
        if engine == "flat":
            inner = _flat(codes)
        else:
            usual = max(1, int(min(len(codes) ** 0.5, len(codes) / TRAINING_CODES_PER_CELL)))
            number = check_range("cells", usual if cells is None else cells, 1, len(bank))
            inner = _cells(codes, min(number, len(codes)), check_range("probes", probes, 1))
        return cls(inner, Items(names, owner, LabelSets.of(bank.labels)), IndexFacts.of(bank, engine, len(codes)))

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank behind those present.

        Raises:
            RequestError: wrong number of bits, other classes, or an id that is twice in the bank or already in the index.
            StaleError: the bank was made by another model.
        """
        check_kin(self._facts, bank)
        names = names_of(bank)
        fresh = set(names.tolist())
        both = fresh & self._known
        if both:
            raise RequestError(f"ids must be unique, {min(both)!r} is already in the index; remove it first")
        count = self._items.codes
        first, owner = distinct(np.concatenate([self._codes(), bank.packed]))  # codes that are here keep their numbers
        items = self._items.join(names, owner[count:], LabelSets.of(bank.labels))
        more = np.ascontiguousarray(bank.packed[first[count:] - count])
        if self.engine == "ivf":
            self._inner.add_with_ids(more, np.arange(count, len(first), dtype=np.int64))
        else:
            self._inner.add(more)
        self._items = items
        self._known |= fresh
        self._changed()

    def remove(self, ids: Array) -> None:
        """Remove items by id; the order of the others stays.

        Raises:
            RequestError: an id is not in the index, or all are to go; nothing is removed then.
        """
        names = {str(i) for i in np.asarray(ids).ravel().tolist()}
        unknown = names - self._known
        if unknown:
            raise unknown_ids(len(unknown), min(unknown))
        check_some_stay(len(self), len(names))
        kept = np.fromiter((i not in names for i in self.ids.tolist()), dtype=bool, count=len(self))
        self._items, old = self._items.select(kept)
        if self.engine == "ivf":
            _renumber(self._inner, old)
        else:
            codes = self._codes()
            self._inner.reset()
            self._inner.add(np.ascontiguousarray(codes[old]))
        self._known -= names
        self._changed()

    def search(self, query: CodeBank | Bytes, k: int, *, label: int | None = None) -> Nearest:
        """The k nearest items of each query, nearest first, of equal ones the earliest added first.

        Args:
            query: a bank, or packed codes `(Q, ceil(bits / 8))` uint8.
            k: number of results, 1 to N.
            label: only items of this class, exactly, whatever the engine.

        Raises:
            RequestError: wrong number of bits, k out of range, or no such label.
            StaleError: the query bank was made by another model.
        """
        packed = packed_query(self._facts, query)
        check_range("k", k, 1, len(self))
        first, owner = distinct(packed)  # queries collapse as items do: equal ones have equal answers
        if len(first) < OFTEN * len(packed):
            found = self.search(packed[first], k, label=label)
            return Nearest(found.distances[owner], found.ids[owner])
        part = self if label is None else self._labeled(label)
        if part is None:
            return padded(Nearest(np.empty((len(packed), 0), np.int64), np.empty((len(packed), 0), self.ids.dtype)), k)
        if len(part) < k:
            return padded(part.search(packed, len(part)), k)
        # Where codes are shared by ten items, a tenth of the codes hold the k nearest, unless these lie on rare codes.
        distances, items = part._nearest(packed, k, max(SPARE, 2 * k * part._items.codes // len(part)))
        ids = part.ids.take(items, mode="clip")  # -1 is no item
        return Nearest(distances, np.where(items < 0, "", ids) if part.engine == "ivf" else ids)

    def within(self, query: CodeBank | Bytes, radius: int, *, label: int | None = None) -> Ball:
        """All items at most `radius` bits away, nearest first, of equal ones the earliest added first.

        Raises:
            RequestError: wrong number of bits, a radius that is not between 0 and K, or no such label.
            StaleError: the query bank was made by another model.
        """
        packed = packed_query(self._facts, query)
        check_range("radius", radius, 0, self.bits)
        first, owner = distinct(packed)
        if len(first) < OFTEN * len(packed):
            return self.within(packed[first], radius, label=label).select(owner)
        part = self if label is None else self._labeled(label)
        if part is None:
            return Ball(np.zeros(len(packed) + 1, np.int64), np.empty(0, np.int64), np.empty(0, self.ids.dtype))
        limits, distances, items = part._items.ball(*part._range(packed, radius))
        return Ball(limits, distances, part.ids.take(items, mode="clip"))

    def bank(self) -> CodeBank:
        """All items in the order of insertion, with their labels where they were given."""
        packed, labels = self._codes()[self._items.owner], self._items.labels.labels
        return CodeBank(packed, self.bits, labels, self.ids, self.model_hash, self.split_hash)  # type: ignore[arg-type]

    def save(self, folder: Path | str) -> None:
        """Write the index folder; an older index in it is replaced in one step.

        Raises:
            RunError: the folder cannot be written.
        """
        held = (
            {"codes": self._codes()} if self.engine == "flat" else {"cells": faiss.serialize_index_binary(self._inner)}
        )
        write_index(Path(folder), self.facts, self._items, held)

    @classmethod
    def load(cls, folder: Path | str, *, model_hash: str | None = None, split_hash: str | None = None) -> FaissIndex:
        """Read an index folder; see `engines.open_index`.

        Raises:
            RequestError: no index there, or it is damaged.
            StaleError: it belongs to another model or split.
        """
        facts, arrays = read_index(Path(folder), model_hash, split_hash)
        try:
            inner = _inner_of(arrays, facts)
            return cls(inner, items_of(arrays, facts), facts)
        except (KeyError, IndexError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise RequestError(
                f"index {folder} is damaged: index.json says {facts.engine}, {facts.count} items on {facts.distinct} codes of "
                f"{facts.bits} bits, and {facts.file} does not fit it; build it again"
            ) from error

    def _changed(self) -> None:
        self._facts, self._part = replace(self._facts, bank_digest=""), None

    def _labeled(self, label: int) -> FaissIndex | None:
        """A flat index of the items of a class; None where there are none."""
        check_label(self.facts, label)
        if self._part is None or self._part[0] != label:
            kept, part = self._items.labels.carry(label), None
            if kept.any():
                items, old = self._items.select(kept)
                part = FaissIndex(_flat(self._codes()[old]), items, replace(self._facts, engine="flat"))
            self._part = (label, part)
        return self._part[1]

    def _codes(self) -> Bytes:
        """The codes by number, `(D, bytes)`."""
        width = self._inner.code_size
        if self.engine == "flat":
            flat: Bytes = faiss.vector_to_array(self._inner.xb).reshape(-1, width)
            return flat
        codes = np.empty((self._inner.ntotal, width), np.uint8)
        for numbers, held in _lists(self._inner):
            codes[numbers] = held
        return codes

    def _nearest(self, packed: Bytes, k: int, fetch: int) -> tuple[Ints, Ints]:
        """The k nearest items by the `fetch` nearest codes; by more where these are not sure to be enough."""
        items = self._items
        fetch = min(fetch, k, items.codes)
        distances, codes = self._near(packed, fetch)
        if items.single:
            return distances, codes
        found, places = np.full((len(packed), k), -1, np.int64), np.full((len(packed), k), -1, np.int64)
        rows = np.arange(len(packed))
        while len(rows):
            enough = items.enough(distances, codes, k)
            items.put_nearest(distances[enough], codes[enough], rows[enough], found, places)
            rows, fetch = rows[~enough], min(4 * fetch, k, items.codes)
            distances, codes = self._near(packed[rows], fetch) if len(rows) else (distances, codes)
        return found, places

    def _near(self, packed: Bytes, count: int) -> tuple[Ints, Ints]:
        """The nearest codes by distance and age, `(Q, count)`; -1 where cells hold fewer."""
        if self.engine == "ivf":
            return self._search_cells(packed, count)
        distances, codes = self._inner.search(packed, count)
        return distances.astype(np.int64), codes

    def _search_cells(self, packed: Bytes, count: int) -> tuple[Ints, Ints]:
        """Search in cells, with the promised order and choice among equal distances."""
        fetch = min(self._items.codes, 2 * count + SPARE)
        distances, codes = self._inner.search(packed, fetch)  # (Q, fetch)
        # One number that sorts by distance, then by code: codes stay below 2**40, what is missing has a huge distance.
        far = np.minimum(distances, self.bits + 1).astype(np.int64)
        key = np.sort(far << 40 | np.where(codes < 0, ABSENT, codes), axis=1)[:, :count]
        nearest, chosen = key >> 40, key & ABSENT
        missing = chosen == ABSENT
        nearest[missing], chosen[missing] = -1, -1
        # Where the tie at the last place reaches the end of what was fetched, earlier members of it may be missing.
        open_end = ~missing[:, -1] & (nearest[:, -1] == distances[:, -1]) & (fetch < self._items.codes)
        for row in np.flatnonzero(open_end):
            _, ball, inside = self._range(packed[row : row + 1], int(nearest[row, -1]))
            order = np.lexsort((inside, ball))[:count]
            nearest[row], chosen[row] = ball[order], inside[order]
        return nearest, chosen

    def _range(self, packed: Bytes, radius: int) -> tuple[Ints, Ints, Ints]:
        """Limits, distances and numbers of the codes within a radius, of each query in any order."""
        limits, distances, codes = self._inner.range_search(packed, radius + 1)  # faiss excludes the radius itself
        return limits.astype(np.int64), distances.astype(np.int64), codes


def _flat(codes: Bytes) -> Any:
    """Codes `(D, bytes)` in the order given."""
    inner: Any = faiss.IndexBinaryFlat(8 * codes.shape[1])
    inner.add(np.ascontiguousarray(codes))
    return inner


def _cells(codes: Bytes, number: int, probes: int) -> Any:
    """Codes `(D, bytes)` in cells of similar ones."""
    width = 8 * codes.shape[1]
    quantizer: Any = faiss.IndexBinaryFlat(width)
    inner: Any = faiss.IndexBinaryIVF(quantizer, width, number)
    inner.own_fields = True
    quantizer.this.disown()  # the index frees it
    inner.cp.min_points_per_centroid = 1  # few codes are a choice here, not a mistake
    inner.cp.max_points_per_centroid = TRAINING_LIMIT  # a seeded sample: a million codes train in seconds
    inner.train(codes)
    inner.nprobe = min(probes, number)
    inner.add_with_ids(codes, np.arange(len(codes), dtype=np.int64))
    return inner


def _inner_of(arrays: Arrays, facts: IndexFacts) -> Any:
    """The faiss index of a file.

    Raises:
        ValueError: it does not fit the facts.
    """
    width = 8 * bytes_of(facts.bits)
    if facts.engine == "flat":
        check_codes(arrays["codes"], facts)
        return _flat(arrays["codes"])
    inner = faiss.deserialize_index_binary(arrays["cells"])
    if not isinstance(inner, faiss.IndexBinaryIVF) or (inner.ntotal, inner.d) != (facts.distinct, width):
        raise ValueError("cells")
    numbers = np.concatenate([numbers for numbers, _ in _lists(inner)])
    if not np.array_equal(np.sort(numbers), np.arange(facts.distinct)):
        raise ValueError("numbers of codes")
    return inner


def _lists(inner: Any) -> list[tuple[Ints, Bytes]]:
    """Numbers `(n,)` and codes `(n, bytes)` of each cell, as views of what faiss holds."""
    lists, found = inner.invlists, []
    for cell in range(inner.nlist):
        if size := lists.list_size(cell):
            numbers = faiss.rev_swig_ptr(lists.get_ids(cell), size)
            found.append((numbers, faiss.rev_swig_ptr(lists.get_codes(cell), size * inner.code_size).reshape(size, -1)))
    return found


def _renumber(inner: Any, old: Ints) -> None:
    """Keep the codes `old` of an index in cells, `(D',)` numbers, and call them by their places in `old`."""
    number = np.full(inner.ntotal, -1, np.int64)
    number[old] = np.arange(len(old))
    inner.remove_ids(np.flatnonzero(number < 0))
    for numbers, _ in _lists(inner):
        numbers[:] = number[numbers]
