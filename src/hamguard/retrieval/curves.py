"""Curves from distance histograms: precision and recall by Hamming radius, by rank, and by number of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hamguard.codes.histograms import DistanceHistograms
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Floats, Ints, Ties
from hamguard.retrieval.metrics import hits_within
from hamguard.retrieval.ties import slices

Average = Literal["macro", "micro"]
"""Mean of the queries' values, or one value from the sums of their counts."""

EmptyBall = Literal["skip", "zero", "one"]
"""Precision of a ball without items: left out of the mean, 0, or 1."""


@dataclass(frozen=True)
class RadiusCurve:
    """Precision and recall of Hamming balls.

    Attributes:
        radius: 0..K, `(K + 1,)`.
        precision: precision within each radius, `(K + 1,)`; NaN where every ball is empty and empty balls are skipped.
        recall: recall within each radius, `(K + 1,)`; a query without relevant items counts as 0.
        balls: queries whose ball holds at least one item, `(K + 1,)`.
        without_relevant: queries without any relevant item.
        name: average and treatment of empty balls, for a result row.
    """

    radius: Ints
    precision: Floats
    recall: Floats
    balls: Ints
    without_relevant: int
    name: str


def radius_curve(
    histograms: DistanceHistograms, *, average: Average = "macro", empty: EmptyBall = "skip"
) -> RadiusCurve:
    """Precision and recall of the ball of each radius around a query.

    Args:
        histograms: counts per query and distance.
        average: `macro`, mean over queries, or `micro`, from sums over queries.
        empty: precision of an empty ball (macro), or of a radius where all balls are empty (micro).

    Raises:
        RequestError: unknown `average` or `empty`, or no queries.
    """
    check_choice("average", average, ("macro", "micro"))
    check_choice("empty", empty, ("skip", "zero", "one"))
    _check_queries(histograms)
    size = histograms.bits + 1
    items, hits, balls = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    precision, recall = np.zeros(size), np.zeros(size)
    for rows in slices(histograms):
        ball = np.cumsum(histograms.total[rows], axis=1)  # (q, K + 1)
        found = np.cumsum(histograms.relevant[rows], axis=1)  # (q, K + 1)
        items += ball.sum(axis=0)
        hits += found.sum(axis=0)
        balls += np.count_nonzero(ball, axis=0)
        precision += (found / np.maximum(ball, 1)).sum(axis=0)
        recall += (found / np.maximum(found[:, -1:], 1)).sum(axis=0)
    if average == "micro":
        precision, recall = _fill(hits, items, empty), hits / max(int(hits[-1]), 1)
    else:
        if empty == "skip":
            precision = _fill(precision, balls, empty)
        else:
            precision = (precision + (len(histograms) - balls) * (empty == "one")) / len(histograms)
        recall = recall / len(histograms)
    without = int(np.count_nonzero(histograms.relevant_count == 0))
    return RadiusCurve(np.arange(size), precision, recall, balls, without, f"radius[{average},empty={empty}]")


def radius_precision(histograms: DistanceHistograms, radius: int, *, empty: EmptyBall = "zero") -> Floats:
    """Precision within a Hamming radius of each query, `(Q,)`; hashing papers print radius 2 with empty balls as 0.

    Args:
        histograms: counts per query and distance.
        radius: radius in bits, 0 to K, inclusive.
        empty: value of an empty ball; `skip` makes it NaN, for the caller to leave out and count.

    Raises:
        RequestError: radius out of range or unknown `empty`.
    """
    _check_queries(histograms)
    check_range("radius", radius, 0, histograms.bits)
    check_choice("empty", empty, ("skip", "zero", "one"))
    ball = histograms.total[:, : radius + 1].sum(axis=1)  # (Q,)
    return _fill(histograms.relevant[:, : radius + 1].sum(axis=1), ball, empty)


def radius_recall(histograms: DistanceHistograms, radius: int) -> Floats:
    """Share of each query's relevant items within a Hamming radius, `(Q,)`; 0 for a query without any.

    Raises:
        RequestError: radius out of range.
    """
    _check_queries(histograms)
    check_range("radius", radius, 0, histograms.bits)
    found = histograms.relevant[:, : radius + 1].sum(axis=1)
    return np.asarray(found / np.maximum(histograms.relevant_count, 1))


@dataclass(frozen=True)
class RecallCurve:
    """Precision at levels of recall, mean over the queries that have relevant items.

    Attributes:
        recall: levels, `(G,)` in (0, 1].
        precision: mean precision at each level, `(G,)`.
        n: queries in the mean.
        without_relevant: queries left out because nothing is relevant to them.
        name: ties and interpolation, for a result row.
        per_query: precision of each query at each level, `(Q, G)`; NaN for those that are left out.
    """

    recall: Floats
    precision: Floats
    n: int
    without_relevant: int
    name: str
    per_query: Floats


def recall_curve(
    histograms: DistanceHistograms,
    grid: Sequence[float] | Array | None = None,
    *,
    ties: Ties = "expected",
    interpolated: bool = False,
) -> RecallCurve:
    """Precision by rank at levels of recall: needed hits over the rank at which they are reached.

    A level g needs `m = ceil(g R)` hits, at least one (SAAT's code divides oddly when R is below 1 / step). Inside a
    tie group of n items, r of them relevant, behind N0 items with H0 hits, hit m stands on average at rank
    `N0 + (m - H0)(n + 1)/(r + 1)` (mean of an order statistic), at best at `N0 + m - H0`, at worst `n - r` later.

    Args:
        histograms: counts per query and distance.
        grid: levels in (0, 1]; default 0.01, 0.02, ..., 1.
        ties: `expected`, `best` or `worst` rank of the needed hit.
        interpolated: take the highest precision at this or any later hit, which makes the curve fall monotonically.

    Raises:
        RequestError: a level outside (0, 1], unknown or stable ties, or no query with a relevant item.
    """
    _check_queries(histograms)
    try:
        levels = np.asarray(np.arange(1, 101) / 100 if grid is None else grid, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError(f"recall levels must be numbers in (0, 1], got {type(grid).__name__}") from error
    if levels.ndim != 1 or len(levels) == 0 or not bool(((levels > 0) & (levels <= 1)).all()):
        raise RequestError(f"recall levels must be one or more numbers in (0, 1], got {grid}")
    check_choice("ties of a recall curve", ties, ("expected", "worst", "best"))
    kept = histograms.relevant_count > 0
    if not kept.any():
        raise RequestError("no query has a relevant item, so no recall is defined")
    precision, per_query = np.zeros(len(levels)), np.full((len(kept), len(levels)), np.nan)
    for query in np.flatnonzero(kept):
        per_query[query] = _precision_at_recall(
            histograms.total[query], histograms.relevant[query], levels, ties, interpolated
        )
        precision += per_query[query]
    n = int(np.count_nonzero(kept))
    name = f"recall[ties={ties}{',interpolated' if interpolated else ''}]"
    return RecallCurve(levels, precision / n, n, len(kept) - n, name, per_query)


def _precision_at_recall(total: Ints, relevant: Ints, levels: Floats, ties: Ties, interpolated: bool) -> Floats:
    """One query: counts `(K + 1,)` to precision at each level, `(G,)`."""
    before, upto = np.cumsum(total) - total, np.cumsum(relevant)
    hits_before = upto - relevant

    def precision(m: Array, group: Array) -> Floats:
        inside = m - hits_before[group]  # which hit of its group
        n, r = total[group], relevant[group]
        rank = before[group] + {"expected": inside * (n + 1) / (r + 1), "best": inside, "worst": inside + n - r}[ties]
        return np.asarray(m / rank, dtype=np.float64)

    # 0.1 * 30 must need 3 hits, not 4: levels are decimal numbers, their products are not.
    needed = np.maximum(1, np.ceil(levels * upto[-1] - 1e-9)).astype(np.int64)  # (G,)
    group = np.searchsorted(upto, needed)  # (G,) the first group that reaches as many hits
    value = precision(needed, group)
    if not interpolated:
        return value
    # Within a group precision is monotonic in the hit's number, so the highest later one is at the level itself, at the
    # last hit of its group, or at the first or last hit of a later group.
    filled = np.flatnonzero(relevant)
    ends = np.zeros(len(total) + 1)
    ends[filled] = np.maximum(precision(hits_before[filled] + 1, filled), precision(upto[filled], filled))
    later = np.maximum.accumulate(ends[::-1])[::-1]  # (K + 2,)
    highest: Floats = np.maximum.reduce([value, precision(upto[group], group), later[group + 1]])
    return highest


def precision_curve(histograms: DistanceHistograms, numbers: Sequence[int], *, ties: Ties = "expected") -> Floats:
    """Mean precision among the first n results for each n, e.g. 100, 200, ..., 1000; `(len(numbers),)`.

    Raises:
        RequestError: a number is not between 1 and N, unknown or stable ties, or no queries.
    """
    _check_queries(histograms)
    return np.array([float(hits_within(histograms, n, ties).mean()) / n for n in numbers])


def _fill(hits: Array, items: Array, empty: EmptyBall) -> Floats:
    """`hits / items`, with the agreed value where there are no items."""
    value = {"skip": np.nan, "zero": 0.0, "one": 1.0}[empty]
    return np.asarray(np.where(items > 0, hits / np.maximum(items, 1), value))


def _check_queries(histograms: DistanceHistograms) -> None:
    if not isinstance(histograms, DistanceHistograms):
        raise RequestError(f"curves are drawn of distance_histograms(query, database), got {type(histograms).__name__}")
    if len(histograms) == 0:
        raise RequestError("there are no queries: histograms are empty")
