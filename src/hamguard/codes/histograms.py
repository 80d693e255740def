"""Distance histograms: for each query, how many items and how many relevant items lie at each Hamming distance.

Every ranking metric that respects ties is a function of these two tables, and two tables of disjoint shards add up to
the table of the whole. An item is relevant to a query when they share at least one label. Three paths count the same
integers: NumPy (nothing to compile), numba (compiled on first use, kept in a cache) and torch (follows the device of
its tensors). The stable average precision, which needs the order of the database, is a second pass over the same
blocks (`stable_sums`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from hamguard.codes import histograms_numpy
from hamguard.codes.binary import hamming_pairs, words
from hamguard.codes.distinct import distinct_words
from hamguard.codes.labeled import (
    Database,
    LabeledCodes,
    as_array,
    asked_classes,
    pack_labels,
    shards_of,
    word_blocks,
)
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Floats, Ints, is_tensor

CountPath = Literal["auto", "numpy", "numba", "torch"]
"""Which code counts. All paths give equal results; `auto` takes torch for GPU tensors, numba above 1e8 pairs."""

NUMBA_PAIRS = 1e8  # below this NumPy needs less than half a second, about what loading the compiled kernels costs
STATE_BYTES = 4 << 20  # of running counters in the stable pass; more queries than fit go in several turns

QUERIES = {"numpy": 32, "numba": 128}
"""Different queries from which on it pays to look for equal items, which costs as much as some tens of queries."""

LOOK = 4096
"""Items of a block at most, a sixteenth of it, that are looked at before all are."""
MOST = 0.75
"""Share of different items among those above which to look at all would not pay: among sixteen times as many it is lower."""
Together: TypeAlias = Callable[[Array, Array], tuple[Ints, Ints]]
Counter: TypeAlias = Callable[[Array, Array, Array, Array, Ints, Ints, Ints | None], None]


@dataclass(frozen=True)
class DistanceHistograms:
    """Counts per query and Hamming distance.

    Attributes:
        total: items at each distance, `(Q, K + 1)` int64.
        relevant: items at each distance that share a label with the query, `(Q, K + 1)` int64.
        bits: code length K.

    Raises:
        RequestError: the shapes do not fit, or there are more relevant items than items.
    """

    total: Ints
    relevant: Ints
    bits: int

    def __repr__(self) -> str:
        return f"DistanceHistograms({len(self):,} queries, {self.bits} bits)"

    def __post_init__(self) -> None:
        if self.total.ndim != 2 or self.total.shape[1] != self.bits + 1 or self.total.shape != self.relevant.shape:
            raise RequestError(
                f"histograms of {self.bits} bits must have shape (Q, {self.bits + 1}), "
                f"got {self.total.shape} and {self.relevant.shape}"
            )
        if bool((self.relevant > self.total).any()) or bool((self.relevant < 0).any()):
            raise RequestError("histograms must have between 0 and all items relevant at each distance")

    def __len__(self) -> int:
        return len(self.total)

    def __add__(self, other: DistanceHistograms) -> DistanceHistograms:
        """Histograms of two disjoint parts of a database, for the same queries.

        Raises:
            RequestError: the numbers of queries or bits differ.
        """
        if self.total.shape != other.total.shape:
            raise RequestError(
                f"histograms of the same queries and bits add up; got {self.total.shape} and {other.total.shape}"
            )
        return DistanceHistograms(self.total + other.total, self.relevant + other.relevant, self.bits)

    @property
    def database(self) -> int:
        """Number of items N in the database; of the query with the most, where some leave themselves out."""
        return int(self.total.sum(axis=1).max(initial=0))

    @property
    def relevant_count(self) -> Ints:
        """Relevant items of each query, `(Q,)`."""
        return np.asarray(self.relevant.sum(axis=1))


def distance_histograms(
    query: LabeledCodes, database: Database, *, path: CountPath = "auto", threads: int = 1
) -> DistanceHistograms:
    """Count items and relevant items at each Hamming distance of each query.

    Learned codes collapse: many items, and many queries, have one code and the same labels. Equal queries are counted once, and
    equal items of a block once with their number, where they are many enough for that to be less work (not on the torch path).

    Args:
        query: packed codes `(Q, ceil(K / 8))` with multi-hot labels `(Q, C)`.
        database: the same for the N items, whole or as a sequence of shards; shards are read once, in order.
        path: which code counts; see `CountPath`.
        threads: threads of the numba path; each takes a share of the queries.

    Returns:
        The histograms. Beside them less than 32 MiB are allocated, whatever N.

    Raises:
        RequestError: no queries, no items, different bits or classes, labels that are not 0 or 1, an unknown path, or
            fewer than one thread.
    """
    shards, count = shards_of(query, database)
    path = choose_path(path, query, shards, count)
    check_range("threads", threads, 1)
    shape = (len(query.packed), query.bits + 1)
    total, relevant = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    if path == "torch":
        from hamguard.codes import histograms_torch

        histograms_torch.count_shards(query, shards, total, relevant)
        return DistanceHistograms(total, relevant, query.bits)
    q, q_labels, kept = query_words(query)
    first, owner = distinct_words(np.concatenate([q, q_labels], axis=1))  # (U, W + V)
    if len(first) < len(q):
        q, q_labels, total, relevant = q[first], q_labels[first], total[first], relevant[first]
    kernel, together = _counting(path)
    collapsed = len(q) >= QUERIES[path]  # as far as is known
    for block in word_blocks(shards, kept):
        fewer = _with_times(*block, together) if collapsed else None
        collapsed = fewer is not None
        code, label, times = fewer or (*block, None)

        def share(part: slice, code: Array = code, label: Array = label, times: Ints | None = times) -> None:
            kernel(q[part], q_labels[part], code, label, total[part], relevant[part], times)

        each_share(share, len(q), threads if path == "numba" else 1)
    if len(first) < len(owner):
        total, relevant = total[owner], relevant[owner]
    return DistanceHistograms(total, relevant, query.bits)


def _counting(path: CountPath) -> tuple[Counter, Together]:
    """The kernels of a path, which count pairs and equal items."""
    if path == "numba":
        from hamguard.codes import histograms_numba

        return histograms_numba.count, histograms_numba.together
    return histograms_numpy.count, histograms_numpy.together


def _with_times(code: Array, label: Array, together: Together) -> tuple[Array, Array, Ints] | None:
    """A block of items as its different ones, `(W, d)` and `(V, d)`, and how often each counts, `(d,)`.

    None where a part of the items, from all over the block, is so different that looking at all would not pay.
    """
    n = code.shape[1]
    size = min(LOOK, n // 16)
    step = max(1, n // max(size, 1))  # items may stand by class
    if len(together(code[:, ::step][:, :size], label[:, ::step][:, :size])[0]) > MOST * size:
        return None
    first, times = together(code, label)
    return code[:, first], label[:, first], times


def leave_out(
    histograms: DistanceHistograms, query: LabeledCodes, database: LabeledCodes, own: Ints
) -> DistanceHistograms:
    """Histograms without the query itself among its items.

    Args:
        histograms: `distance_histograms(query, database)`.
        query: packed codes with labels, Q of them.
        database: the N items, whole.
        own: which item each query is, `(Q,)` numbers of items; -1 for a query that is none of them.

    Raises:
        RequestError: `own` does not fit queries and items.
    """
    if own.shape != (len(histograms),) or int(own.max(initial=-1)) >= len(database.packed):
        raise RequestError(
            f"own must name one of {len(database.packed)} items or -1 for each of {len(histograms)} queries"
        )
    rows = np.flatnonzero(own >= 0)
    items = own[rows]
    dist = hamming_pairs(as_array(query.packed[rows]), as_array(database.packed[items]))  # (q,)
    kept = asked_classes(query.labels)
    shared = pack_labels(query.labels[rows], kept) & pack_labels(database.labels[items], kept)  # (q, V)
    total, relevant = histograms.total.copy(), histograms.relevant.copy()
    total[rows, dist] -= 1
    relevant[rows, dist] -= shared.any(axis=1)
    return DistanceHistograms(total, relevant, histograms.bits)


def stable_sums(
    query: LabeledCodes,
    database: Database,
    histograms: DistanceHistograms,
    *,
    max_rank: int | None = None,
    max_hits: int | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> tuple[Floats, Ints]:
    """Sum of precisions at the hits when ties keep database order, the numerator of a stable average precision.

    The histograms say where each distance begins in the ranking. One pass over the database then moves one counter a
    distance: it gives rank and number of hits of each relevant item. No row is sorted and no distance is stored. Terms
    are added in database order, so the sums do not depend on blocks, path or threads, not even in the last bit.

    Args:
        query: packed codes with labels, `(Q, ...)`.
        database: the items; a sequence of shards is read a second time.
        histograms: `distance_histograms(query, database)`.
        max_rank: only hits up to this rank count; None for all.
        max_hits: only that many first hits count; None for all.
        path: `numpy`, `numba` or `auto`; a torch path does not exist, tensors are counted on the CPU.
        threads: threads of the numba path.

    Returns:
        `sum of (hits up to r) / r` over the counted hits, `(Q,)` float64, and the number of counted hits, `(Q,)`.

    Raises:
        RequestError: as in `distance_histograms`, or the histograms belong to other queries or another database.
    """
    shards, count = shards_of(query, database)
    if path == "torch":
        raise RequestError("stable ties have no torch path; allowed: auto, numpy, numba")
    path = choose_path(path, query, shards, count)
    path = "numba" if path == "torch" else path
    check_range("threads", threads, 1)
    if histograms.total.shape != (len(query.packed), query.bits + 1) or histograms.database != count:
        raise RequestError(
            f"histograms of {len(histograms)} queries, {histograms.database} items and {histograms.bits} bits do not "
            f"belong to {len(query.packed)} queries, {count} items and {query.bits} bits"
        )
    if count >= 1 << 32:
        raise RequestError(f"stable ties are limited to 2**32 - 1 items, got {count}; use expected ties")
    q, q_labels, kept = query_words(query)
    last_rank = count if max_rank is None else min(max_rank, count)
    last_hit = count if max_hits is None else min(max_hits, count)
    lanes, hits = np.zeros((len(q), 4)), np.zeros(len(q), dtype=np.int64)
    kernel = histograms_numpy.stable
    if path == "numba":
        from hamguard.codes import histograms_numba

        kernel = histograms_numba.stable
    turn = max(64, STATE_BYTES // (8 * (query.bits + 1)))
    for start in range(0, len(q), turn):
        rows = slice(start, start + turn)
        state = first_ranks(histograms, rows)
        for code, label in word_blocks(shards, kept):

            def share(
                part: slice, first: int = start, state: Array = state, code: Array = code, label: Array = label
            ) -> None:
                own = slice(first + part.start, first + part.stop)
                kernel(q[own], q_labels[own], code, label, state[part], lanes[own], hits[own], last_rank, last_hit)

            each_share(share, len(state), threads if path == "numba" else 1)
    return ((lanes[:, 0] + lanes[:, 1]) + lanes[:, 2]) + lanes[:, 3], hits


def first_ranks(histograms: DistanceHistograms, rows: slice) -> Array:
    """Running counters before the first item: items nearer in the low, hits nearer in the high 32 bits, `(Q, K + 1)`."""
    total, relevant = histograms.total[rows], histograms.relevant[rows]
    before = (np.cumsum(relevant, axis=1) - relevant).astype(np.uint64) << np.uint64(32)  # (Q, K + 1)
    before |= (np.cumsum(total, axis=1) - total).astype(np.uint64)
    return before


def query_words(query: LabeledCodes) -> tuple[Array, Array, Ints | None]:
    """Code words `(Q, W)` and label words `(Q, V)` of the queries, uint64, and the classes that label words hold."""
    kept = asked_classes(query.labels)
    return words(as_array(query.packed)), pack_labels(query.labels, kept), kept


def choose_path(path: CountPath, query: LabeledCodes, shards: Sequence[LabeledCodes], count: int) -> CountPath:
    """The path that `auto` stands for: torch for tensors on a GPU, numba for many pairs, else NumPy.

    Raises:
        RequestError: the path is unknown.
    """
    check_choice("path", path, ("auto", "numpy", "numba", "torch"))
    if path != "auto":
        return path
    if any(is_tensor(part.packed) and part.packed.is_cuda for part in (query, *shards)):
        return "torch"
    return "numba" if len(query.packed) * count > NUMBA_PAIRS else "numpy"


def each_share(work: Callable[[slice], None], count: int, threads: int) -> None:
    """Call `work` on contiguous shares of `range(count)`, one a thread; with one thread, in this thread."""
    threads = min(threads, count)
    if threads <= 1:
        work(slice(0, count))
        return
    edges = np.linspace(0, count, threads + 1).astype(int)
    parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass
