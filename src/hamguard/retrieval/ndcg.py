"""Normalized discounted cumulative gain, expected over the order inside tie groups."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hamguard.codes.gains import shared_labels
from hamguard.codes.histograms import CountPath, DistanceHistograms, distance_histograms
from hamguard.codes.labeled import Database, LabeledCodes
from hamguard.core.checks import check_choice, check_range
from hamguard.core.types import Array, Floats
from hamguard.retrieval.score import Score, metric_name, score_of
from hamguard.retrieval.ties import slices

Gain = Literal["binary", "shared"]
"""Gain of an item: 1 when it shares a label, or the number of labels it shares."""

CHUNK = 1 << 17  # ranks whose discounts are held at once


def ndcg_at(
    query: LabeledCodes,
    database: Database,
    n: int,
    *,
    gain: Gain = "binary",
    histograms: DistanceHistograms | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> Score:
    """NDCG of the first `n` ranks, per query and mean, expected over the order of equal distances.

    Rank r is discounted by `1 / log2(r + 1)` (Järvelin and Kekäläinen 2002, with the gain itself, not a power of two).
    In a tie group every place holds the group's mean gain in expectation, so the expected gain of a group is its mean
    gain times the sum of its discounts (McSherry and Najork, ECIR 2008). The ideal ranking is by falling gain.

    Args:
        query: packed codes with labels, Q of them.
        database: the N items, whole or in shards.
        n: number of first ranks, 1 to N.
        gain: `binary` or `shared`; graded gains need one more pass over the database.
        histograms: `distance_histograms(query, database)` where they are at hand.
        path: which code counts the histograms.
        threads: threads of the numba path.

    Returns:
        Values in [0, 1]; 0 for a query without relevant items.

    Raises:
        RequestError: unknown gain, `n` not between 1 and N, or unfitting inputs.
    """
    check_choice("gain", gain, ("binary", "shared"))
    table = distance_histograms(query, database, path=path, threads=threads) if histograms is None else histograms
    check_range("n", n, 1, table.database)
    if gain == "binary":
        items, hits = table.total.sum(axis=1), table.relevant_count
        gains, counts = table.relevant, np.stack([items - hits, hits], axis=1)
    else:
        shared = shared_labels(query, database)
        gains, counts = shared.by_distance, shared.counts  # (Q, K + 1), (Q, G + 1)
    value = np.zeros(len(table))
    for rows in slices(table):
        stop = np.cumsum(table.total[rows], axis=1)  # (q, K + 1)
        mean = gains[rows] / np.maximum(table.total[rows], 1)
        found = (mean * _discounts(stop - table.total[rows], stop, n)).sum(axis=1)  # (q,)
        falling = counts[rows, ::-1]  # (q, G + 1)
        stop = np.cumsum(falling, axis=1)
        grade = np.arange(falling.shape[1])[::-1]
        ideal = (grade * _discounts(stop - falling, stop, n)).sum(axis=1)  # (q,)
        value[rows] = found / np.where(ideal > 0, ideal, 1)
    name = metric_name("ndcg", at=n) + ("[gain=shared]" if gain == "shared" else "")
    return score_of(name, value, value > 0, "zero", query, table, n, "expected")


def _discounts(start: Array, stop: Array, n: int) -> Floats:
    """Sum of the discounts of ranks `start + 1 .. stop` that are at most `n`, elementwise."""
    start, stop = np.minimum(start, n), np.minimum(stop, n)
    points = np.unique(np.concatenate([start.ravel(), stop.ravel()]))
    sums, base = np.zeros(len(points)), 0.0
    for first in range(0, int(points[-1]), CHUNK):
        last = min(first + CHUNK, int(points[-1]))
        running = base + np.cumsum(
            1.0 / np.log2(np.arange(first + 2, last + 2))
        )  # discounts of ranks first + 1 .. last
        inside = (points > first) & (points <= last)
        sums[inside] = running[points[inside] - first - 1]
        base = float(running[-1])
    return np.asarray(sums[np.searchsorted(points, stop)] - sums[np.searchsorted(points, start)])
