"""Average precision in closed form from distance histograms, exact over the order inside tie groups.

A K-bit code has K + 1 distances, so almost every rank is shared. For one query let a tie group hold n items, r of them
relevant, behind N0 nearer items with H0 hits, and let the cut-off leave t of its places.

*Expected.* In a uniformly random order place i of the group is a hit with probability r / n, and given that, the i - 1
places before it hold (i - 1)(r - 1)/(n - 1) hits on average. With a = (r - 1)/(n - 1) the group adds
`(r / n) sum_{i=1..t} (H0 + 1 + a (i - 1)) / (N0 + i)`, which is `(r / n) [(H0 + 1 - a) D + a (t - N0 D)]` with the
harmonic span `D = sum_{i=1..t} 1 / (N0 + i)`. (The expectation over ties goes back to McSherry and Najork, ECIR 2008.)
*Best, worst.* The hits stand at the front or at the back of the group: j hits from place s + 1 on add
`sum_{i=1..j} (H0 + i) / (s + i) = H0 D + (j - s D)` with the span of s and j.
With the denominator "hits" the number of hits within the cut is itself free in the group at the cut, and both sum
and denominator change with it; `_extreme_ratio` finds the true bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hamguard.codes.histograms import DistanceHistograms
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Floats, Ints, Norm, Ties

TABLE = 64  # harmonic numbers below this come from a table, above from a series good to the last bit
SLICE_CELLS = 1 << 15  # cells (queries x distances) evaluated at once: a dozen temporaries of 256 KiB

_HARMONIC = np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, TABLE + 1))))


def harmonic_span(start: Array, count: Array) -> Floats:
    """`sum_{i=1..count} 1 / (start + i)`, elementwise, accurate to about 1e-15 of the value for any start.

    Differences of tabulated harmonic numbers would lose all digits of a short span that begins late, and a table for
    ten million ranks is larger than the codes. Behind rank 64 the series in `m = n + 1/2` is used:
    `H(n) = ln m + c + 1/(24 m^2) - 7/(960 m^4) + 31/(8064 m^6) - ...`, whose logarithms join in one `log1p`.

    >>> round(float(harmonic_span(np.array([2]), np.array([2]))[0]), 12)  # 1/3 + 1/4
    0.583333333333
    """
    stop = start + count
    early = _HARMONIC[np.minimum(stop, TABLE)] - _HARMONIC[np.minimum(start, TABLE)]
    low, high = np.maximum(start, TABLE) + 0.5, np.maximum(stop, TABLE) + 0.5
    late = np.log1p((high - low) / low) + (_series(high) - _series(low))
    return np.asarray(early + late, dtype=np.float64)


def _series(m: Floats) -> Floats:
    square = 1.0 / (m * m)
    return square * (1 / 24 - square * (7 / 960 - square * (31 / 8064)))


def average_precision_from(
    histograms: DistanceHistograms, *, at: int | None = None, ties: Ties = "expected", norm: Norm = "relevant"
) -> Floats:
    """Average precision of each query, expected over the order inside tie groups or its bounds over all orders.

    Args:
        histograms: counts per query and distance.
        at: only the first `at` ranks count; None for all.
        ties: `expected`, `worst` or `best`; `stable` needs the order of the database, see `metrics`.
        norm: the denominator: all relevant items, those found within the cut, or `min(at, relevant)`.

    Returns:
        Values in [0, 1], `(Q,)`; 0 for a query without a relevant item.

    Raises:
        RequestError: unknown `ties` or `norm`, `stable` ties, `at` below 1, or expected ties under a cut with the
            denominator `hits`, whose value is the mean of a ratio that has no closed form.
    """
    check_policy(at, ties, norm, histograms.database)
    if ties == "stable":
        raise RequestError("histograms do not know the order of the database; allowed ties: expected, worst, best")
    value = np.zeros(len(histograms))
    last = histograms.database if at is None else min(at, histograms.database)
    for rows in slices(histograms):
        groups = TieGroups.of(histograms, rows, last)
        if norm == "hits" and ties != "expected" and last < histograms.database:
            value[rows] = _extreme_ratio(groups, best=ties == "best")
            continue
        terms = {"expected": _expected_terms, "worst": _worst_terms, "best": _best_terms}[ties](groups)
        divisor = groups.relevant.sum(axis=1)
        if norm == "min" and at is not None:
            divisor = np.minimum(divisor, at)
        value[rows] = terms.sum(axis=1) / np.maximum(divisor, 1)
    return value


def first_hits_from(histograms: DistanceHistograms, *, k: int, ties: Ties) -> Floats:
    """Mean precision at the first `min(k, relevant)` hits wherever they are, best or worst over the order of ties.

    Raises:
        RequestError: `k` is below 1, or ties are not `best` or `worst`: the expectation has no closed form.
    """
    check_range("k", k, 1)
    check_choice("ties of the first k hits", ties, ("stable", "worst", "best"))
    if ties == "stable":
        raise RequestError("histograms do not know the order of the database; allowed ties: worst, best")
    value = np.zeros(len(histograms))
    for rows in slices(histograms):
        groups = TieGroups.of(histograms, rows, histograms.database)
        counted = np.clip(k - groups.hits_before, 0, groups.relevant)
        start = groups.before + (groups.total - groups.relevant if ties == "worst" else 0)
        terms = _run(groups.hits_before, start, counted)
        value[rows] = terms.sum(axis=1) / np.clip(groups.relevant.sum(axis=1), 1, k)
    return value


def check_policy(at: int | None, ties: Ties, norm: Norm, database: int) -> None:
    """Check cut-off, ties and denominator together.

    Raises:
        RequestError: one of them is unknown or out of range, or the combination has no defined value.
    """
    check_choice("ties", ties, ("expected", "stable", "worst", "best"))
    check_choice("norm", norm, ("relevant", "hits", "min"))
    if at is None:
        return
    check_range("at", at, 1)
    if ties == "expected" and norm == "hits" and at < database:
        raise RequestError(
            f"expected ties at {at} with norm 'hits' have no defined value, because the number of hits within the cut "
            "depends on the order; use norm 'relevant' or 'min', or ties 'stable', 'worst' or 'best'"
        )


@dataclass(frozen=True)
class TieGroups:
    """Tie groups of some queries, all arrays `(q, K + 1)` int64: one group a distance, nearest first.

    Attributes:
        total: items n.
        relevant: relevant items r.
        before: items nearer, N0.
        hits_before: hits nearer, H0.
        places: places t that the cut-off leaves, between 0 and n.
    """

    total: Ints
    relevant: Ints
    before: Ints
    hits_before: Ints
    places: Ints

    @classmethod
    def of(cls, histograms: DistanceHistograms, rows: slice, last: int) -> TieGroups:
        """Tie groups of the queries `rows`, cut after rank `last`."""
        total, relevant = histograms.total[rows], histograms.relevant[rows]
        before = np.cumsum(total, axis=1) - total
        return cls(total, relevant, before, np.cumsum(relevant, axis=1) - relevant, np.clip(last - before, 0, total))

    @property
    def expected_hits(self) -> Floats:
        """Expected hits within the places of each group."""
        return np.asarray(self.relevant * (self.places / np.maximum(self.total, 1)))

    @property
    def fewest_hits(self) -> Ints:
        """Hits within the places when relevant items stand at the back."""
        return np.maximum(0, self.places - (self.total - self.relevant))

    @property
    def most_hits(self) -> Ints:
        """Hits within the places when relevant items stand at the front."""
        return np.minimum(self.places, self.relevant)


def slices(histograms: DistanceHistograms) -> Iterator[slice]:
    """Slices of queries small enough that temporaries stay in a cache."""
    step = max(1, SLICE_CELLS // (histograms.bits + 1))
    for start in range(0, len(histograms), step):
        yield slice(start, start + step)


def _run(hits: Array, start: Array, count: Array) -> Floats:
    """`sum_{i=1..count} (hits + i) / (start + i)`: precisions at `count` hits in a row behind rank `start`."""
    span = harmonic_span(start, count)
    return np.asarray(hits * span + (count - start * span))


def _expected_terms(g: TieGroups) -> Floats:
    slope = np.maximum(g.relevant - 1, 0) / np.maximum(g.total - 1, 1)  # (q, K + 1)
    span = harmonic_span(g.before, g.places)
    share = g.relevant / np.maximum(g.total, 1)
    return np.asarray(share * ((g.hits_before + (1 - slope)) * span + slope * (g.places - g.before * span)))


def _best_terms(g: TieGroups) -> Floats:
    return _run(g.hits_before, g.before, g.most_hits)


def _worst_terms(g: TieGroups) -> Floats:
    return _run(g.hits_before, g.before + (g.total - g.relevant), g.fewest_hits)


def _extreme_ratio(g: TieGroups, *, best: bool) -> Floats:
    """Extreme of (sum of precisions) / (hits within the cut) over all orders, `(q,)`.

    Groups that lie wholly before the cut take their extreme order. In the group at the cut, with t places, the number
    of hits j is free between its fewest and most. Best: j hits at the front; the next hit's precision never falls, so
    the mean falls while precisions lie below it and then rises: the best j is at an end. Worst: j hits at the back of
    the t places; one hit more adds `(H0 + 1)/(N0 + t - j) + sum_{i=1..j} 1/(N0 + t - j + i)`, which grows with j, so the
    ratio falls and then rises: the least is found by bisection on the sign of its change.
    """
    terms = _best_terms(g) if best else _worst_terms(g)
    at_cut = (g.places > 0) & (g.places < g.total)  # (q, K + 1), at most one a row
    whole = np.where(at_cut, 0.0, terms).sum(axis=1)  # (q,)
    hits = np.where(at_cut | (g.places == 0), 0, g.relevant).sum(axis=1)
    group = np.argmax(at_cut, axis=1)[:, None]
    places, before, fewest, most = (
        np.where(at_cut.any(axis=1), np.take_along_axis(x, group, axis=1)[:, 0], 0)
        for x in (g.places, g.before, g.fewest_hits, g.most_hits)
    )

    def ratio(j: Array) -> Floats:
        added = _run(hits, before + (0 if best else places - j), j)
        return np.asarray((whole + added) / np.maximum(hits + j, 1))

    if best:
        return np.maximum(ratio(fewest), ratio(most))
    low, high = fewest.copy(), most.copy()
    while bool((low < high).any()):
        middle = (low + high) // 2
        rises = ratio(np.minimum(middle + 1, most)) >= ratio(middle)
        low = np.where(rises | (low >= high), low, middle + 1)
        high = np.where(rises, np.minimum(high, middle), high)
    return ratio(low)
