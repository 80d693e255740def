"""The index engines of faiss: `IndexBinaryFlat`, exact, and `IndexBinaryIVF`, cells of similar codes.

What faiss does with equal distances was looked up by experiment (version 1.15) and is held by tests: the flat index
with counting instead of heaps keeps and returns the earliest of them, and is faster; the cells return them in the
order of cells, so there more items are fetched and the choice at the k-th place is made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import check_packed
from hamguard.core.checks import check_range
from hamguard.core.digests import digest_bytes
from hamguard.core.errors import MissingFileError, RequestError, StaleError
from hamguard.core.files import read_bytes, write_bytes
from hamguard.core.types import Array, Bytes, Ints
from hamguard.retrieval.index import Ball, IndexFacts, Nearest

TRAINING_ITEMS_PER_CELL = 39  # faiss warns below this: the cells would follow single items
TRAINING_LIMIT = 64
ABSENT = (1 << 40) - 1
HEADER = 64 << 20  # more bytes than the centers of the cells and what the engine says of itself take
SPARE = 16  # items fetched beyond 2 k from cells; where a tie is longer than that, a radius search finds it all


class FaissIndex:
    """Codes in a faiss index, with their ids in the order of insertion."""

    def __init__(self, inner: Any, numbers: Ints, facts: IndexFacts) -> None:
        self._inner = inner
        self._numbers = numbers  # faiss's number of each item, rising; the flat index renumbers after a removal
        self._facts = facts
        self._ids = np.array(facts.ids, dtype=np.str_)
        self._known = set(facts.ids)
        if facts.engine == "flat":
            inner.use_heap = False

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
        return self._ids

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
        return len(self._ids)

    def __repr__(self) -> str:
        return f"FaissIndex({self.engine}, {len(self)} codes of {self.bits} bits)"

    @classmethod
    def build(cls, bank: CodeBank, *, engine: str = "flat", cells: int | None = None, probes: int = 16) -> FaissIndex:
        """An index over a bank; see `engines.build_index`.

        Raises:
            RequestError: empty bank, duplicate ids, or cells or probes out of range.
        """
        if len(bank) == 0:
            raise RequestError("an index needs at least one code, the bank is empty")
        width = 8 * bank.packed.shape[1]
        if engine == "flat":
            inner: Any = faiss.IndexBinaryFlat(width)
        else:
            usual = int(min(len(bank) ** 0.5, len(bank) / TRAINING_ITEMS_PER_CELL))
            number = check_range("cells", max(1, usual) if cells is None else cells, 1, len(bank))
            quantizer: Any = faiss.IndexBinaryFlat(width)
            inner = faiss.IndexBinaryIVF(quantizer, width, number)
            inner.own_fields = True
            quantizer.this.disown()  # the index frees it
            inner.cp.min_points_per_centroid = 1  # few items are a choice here, not a mistake
            inner.cp.max_points_per_centroid = TRAINING_LIMIT  # a seeded sample: a million codes train in seconds
            inner.train(np.ascontiguousarray(bank.packed))
            inner.nprobe = min(check_range("probes", probes, 1), number)
        facts = IndexFacts(engine, bank.bits, 0, "", "", bank.model_hash, bank.split_hash, "", [])
        index = cls(inner, np.empty(0, dtype=np.int64), facts)
        index.add(bank)
        index._facts = _changed(index._facts, bank_digest=bank.digest)
        return index

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank behind those present.

        Raises:
            RequestError: wrong number of bits, or an id that is twice in the bank or already in the index.
            StaleError: the bank was made by another model.
        """
        self._check_kin(bank)
        names = [str(i) for i in bank.ids.tolist()]
        fresh = set(names)
        if len(fresh) < len(names):
            raise RequestError(f"ids must be unique, {_first_repeated(names)!r} stands in the bank more than once")
        both = fresh & self._known
        if both:
            raise RequestError(f"ids must be unique, {min(both)!r} is already in the index; remove it first")
        first = int(self._numbers[-1]) + 1 if len(self._numbers) else 0
        numbers = np.arange(first, first + len(names), dtype=np.int64)
        packed = np.ascontiguousarray(bank.packed)
        if self.engine == "ivf":
            self._inner.add_with_ids(packed, numbers)
        else:
            self._inner.add(packed)
        self._numbers = np.concatenate([self._numbers, numbers])
        self._ids = np.concatenate([self._ids, np.array(names, dtype=np.str_)]) if names else self._ids
        self._known |= fresh
        self._facts = _changed(self._facts, bank_digest="")

    def remove(self, ids: Array) -> None:
        """Remove items by id; the order of the others stays.

        Raises:
            RequestError: an id is not in the index; nothing is removed then.
        """
        names = {str(i) for i in np.asarray(ids).ravel().tolist()}
        unknown = names - self._known
        if unknown:
            raise RequestError(f"{len(unknown)} ids are not in the index, the first is {min(unknown)!r}")
        gone = np.fromiter((i in names for i in self._ids.tolist()), dtype=bool, count=len(self))
        self._inner.remove_ids(self._numbers[gone])
        kept = self._numbers[~gone]
        self._numbers = kept if self.engine == "ivf" else np.arange(len(kept), dtype=np.int64)
        self._ids = self._ids[~gone]
        self._known -= names
        self._facts = _changed(self._facts, bank_digest="")

    def search(self, query: CodeBank | Bytes, k: int) -> Nearest:
        """The k nearest items of each query, nearest first, of equal ones the earliest added first.

        Args:
            query: a bank, or packed codes `(Q, ceil(bits / 8))` uint8.
            k: number of results, 1 to N.

        Raises:
            RequestError: wrong number of bits, or k out of range.
            StaleError: the query bank was made by another model.
        """
        packed = self._packed(query)
        check_range("k", k, 1, len(self))
        if self.engine == "flat":
            distances, places = self._inner.search(packed, k)
        else:
            distances, places = self._search_cells(packed, k)
        ids = self._ids[np.maximum(places, 0)]
        if self.engine == "ivf":
            missing = places < 0
            distances = np.where(missing, -1, distances)
            ids = np.where(missing, "", ids)
        return Nearest(distances.astype(np.int64), ids)

    def within(self, query: CodeBank | Bytes, radius: int) -> Ball:
        """All items at most `radius` bits away, nearest first, of equal ones the earliest added first.

        Raises:
            RequestError: wrong number of bits, or a radius that is not between 0 and K.
            StaleError: the query bank was made by another model.
        """
        packed = self._packed(query)
        check_range("radius", radius, 0, self.bits)
        limits, distances, places = self._ball(packed, radius)
        return Ball(limits, distances, self._ids[places])

    def save(self, folder: Path | str) -> None:
        """Write the index folder; an older index in it is replaced in one step.

        Raises:
            RunError: the folder cannot be written.
        """
        folder = Path(folder)
        content = faiss.serialize_index_binary(self._inner).tobytes()
        if self.engine == "ivf":
            content += self._numbers.tobytes()
        file_hash = digest_bytes(content)
        facts = _changed(
            self._facts, count=len(self), file=f"codes-{file_hash}.faiss", file_hash=file_hash, ids=self._ids.tolist()
        )
        write_bytes(folder / facts.file, content)
        facts.save(folder)
        self._facts = facts
        for other in folder.glob("codes-*.faiss"):
            if other.name != facts.file:
                other.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path | str, *, model_hash: str | None = None, split_hash: str | None = None) -> FaissIndex:
        """Read an index folder; see `engines.open_index`.

        Raises:
            RequestError: no index there, or it is damaged.
            StaleError: it belongs to another model or split.
        """
        facts, content = _read(Path(folder), model_hash, split_hash)
        if digest_bytes(content) != facts.file_hash:
            raise RequestError(
                f"index {folder} is damaged: {facts.file} is not the file that index.json names; build it again"
            )
        numbers = np.arange(facts.count, dtype=np.int64)
        try:
            if facts.engine == "ivf":
                split = max(0, len(content) - 8 * facts.count)
                content, numbers = content[:split], np.frombuffer(content[split:], dtype=np.int64)
            inner = faiss.deserialize_index_binary(np.frombuffer(content, dtype=np.uint8))
        except (RuntimeError, ValueError, MemoryError) as error:
            raise RequestError(
                f"index {folder} is damaged: {facts.file} does not fit index.json; build it again"
            ) from error
        kind = faiss.IndexBinaryFlat if facts.engine == "flat" else faiss.IndexBinaryIVF
        if not isinstance(inner, kind) or inner.ntotal != facts.count or inner.d != 8 * -(-facts.bits // 8):
            raise RequestError(
                f"index {folder} is damaged: index.json says {facts.engine}, {facts.count} codes of {facts.bits} bits; "
                f"{facts.file} holds {inner.ntotal} of {inner.d}"
            )
        return cls(inner, numbers, facts)

    def _packed(self, query: CodeBank | Bytes) -> Bytes:
        if isinstance(query, CodeBank):
            self._check_kin(query)
            return np.ascontiguousarray(query.packed)
        check_packed(query, self.bits, "query codes")
        return np.ascontiguousarray(query)

    def _check_kin(self, bank: CodeBank) -> None:
        if bank.bits != self.bits:
            raise RequestError(f"the index holds codes of {self.bits} bits, these have {bank.bits}")
        if bank.model_hash and self.model_hash and bank.model_hash != self.model_hash:
            raise StaleError(
                f"the index belongs to model {self.model_hash}, these codes to model {bank.model_hash}; "
                "encode again with one model"
            )

    def _places(self, numbers: Ints) -> Ints:
        """Faiss's numbers as places in the order of insertion; -1 stays."""
        if self.engine == "flat":
            return numbers
        return np.where(numbers < 0, -1, np.searchsorted(self._numbers, numbers))

    def _search_cells(self, packed: Bytes, k: int) -> tuple[Ints, Ints]:
        """Search in cells, with the promised order and choice among equal distances."""
        fetch = min(len(self), 2 * k + SPARE)
        distances, numbers = self._inner.search(packed, fetch)  # (Q, fetch)
        places = self._places(numbers)
        # One number that sorts by distance, then by place: places stay below 2**40, what is missing has a huge distance.
        far = np.minimum(distances, self.bits + 1).astype(np.int64)
        key = np.sort(far << 40 | np.where(places < 0, ABSENT, places), axis=1)[:, :k]
        nearest, chosen = key >> 40, key & ABSENT
        chosen[chosen == ABSENT] = -1
        # Where the tie at place k reaches the end of what was fetched, earlier members of it may be missing.
        open_end = (chosen[:, -1] >= 0) & (nearest[:, -1] == distances[:, -1]) & (fetch < len(self))
        for row in np.flatnonzero(open_end):
            _, ball, inside = self._ball(packed[row : row + 1], int(nearest[row, -1]))
            nearest[row], chosen[row] = ball[:k], inside[:k]
        return nearest, chosen

    def _ball(self, packed: Bytes, radius: int) -> tuple[Ints, Ints, Ints]:
        limits, distances, numbers = self._inner.range_search(packed, radius + 1)  # faiss excludes the radius itself
        limits, distances = limits.astype(np.int64), distances.astype(np.int64)
        places = self._places(numbers)
        owner = np.repeat(np.arange(len(packed)), np.diff(limits))
        order = np.lexsort((places, distances, owner))
        return limits, distances[order], places[order]


def _read(folder: Path, model_hash: str | None, split_hash: str | None) -> tuple[IndexFacts, bytes]:
    """The facts of an index and its engine's file; begun again where a writer has replaced both in between.

    Raises:
        RequestError: no index there, or it is damaged.
        StaleError: it belongs to another model or split.
    """
    while True:
        facts = IndexFacts.load(folder, model_hash=model_hash, split_hash=split_hash)
        usual = facts.count * (-(-facts.bits // 8) + 16)  # codes, and for cells two numbers an item
        try:
            return facts, read_bytes(folder / facts.file, "codes of an index", limit=2 * usual + HEADER)
        except MissingFileError as error:
            if IndexFacts.load(folder).file == facts.file:
                raise RequestError(f"index {folder} is damaged: {facts.file} is missing; build it again") from error


def _changed(facts: IndexFacts, **values: Any) -> IndexFacts:
    return IndexFacts(**{**vars(facts), **values})


def _first_repeated(names: list[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
