"""Ranking metrics on packed codes; everything that papers do differently is a named argument.

The database is ranked by increasing Hamming distance to the query; an item is relevant when it shares a label with
the query. The database may be one set of labeled codes or a sequence of shards, which are streamed and never joined.

| peers | here |
|---|---|
| `CalcMap` (ProS-GAN, THA, DPSH, DPH), `calc_map` (CMLA, SSAH) | `ties="stable"` |
| `CalcTopMap`, `cal_map` (SAAT, CgAT, DeepHash-pytorch) | `at=5000, ties="stable", norm="hits"` |
| `mean_average_precision` of DHTA and HashNet | `at=1000, ties="stable", norm="hits", empty="skip"` |
| `calc_map_k` (torchcmh) | `first_hits_average_precision`: its k is no rank |
| t-MAP | `mean_average_precision(with_labels(query, target_labels), database)` |

Peers sort with an unstable sort, so their figures differ from ours by the accident of their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamguard.codes.histograms import CountPath, DistanceHistograms, distance_histograms, stable_sums
from hamguard.codes.labeled import Codes, Database, LabeledCodes
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Floats, Norm, Ties
from hamguard.retrieval.ndcg import ndcg_at
from hamguard.retrieval.score import Empty, Score, metric_name, score_of
from hamguard.retrieval.ties import (
    TieGroups,
    average_precision_from,
    check_policy,
    first_hits_from,
    slices,
)

__all__ = [
    "Empty",
    "Score",
    "average_precision",
    "first_hits_average_precision",
    "hits_within",
    "mean_average_precision",
    "metric_name",
    "ndcg_at",
    "precision_at",
    "recall_at",
    "with_labels",
]


def with_labels(query: LabeledCodes, labels: Any) -> Codes:
    """The same codes under other labels, e.g. the target labels of a targeted attack, whose MAP is the t-MAP.

    The query's own labels play no role any more (DHTA, ProS-GAN, THA, SAAT).

    Raises:
        RequestError: the labels do not fit the codes.
    """
    if not hasattr(query, "packed"):
        raise RequestError(f"query must be a CodeBank, see hg.encode and hg.codes, got {type(query).__name__}")
    if not hasattr(labels, "shape"):
        raise RequestError(f"labels must be an array ({len(query.packed)}, C), got {type(labels).__name__}")
    return Codes(query.packed, query.bits, labels)


def average_precision(
    query: LabeledCodes,
    database: Database,
    *,
    at: int | None = None,
    ties: Ties = "expected",
    norm: Norm = "relevant",
    histograms: DistanceHistograms | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> Floats:
    """Average precision of each query: the sum of precisions at its hits over a denominator.

    Args:
        query: packed codes with labels, Q of them.
        database: the same for the N items, whole or in shards.
        at: only the first `at` ranks count; None for all.
        ties: `expected` over all orders of equal distances, `stable` for database order, or the bounds `worst`, `best`.
        norm: denominator: all `relevant` items, the `hits` within the cut, or `min(at, relevant)`.
        histograms: `distance_histograms(query, database)` where they are at hand already.
        path: which code counts.
        threads: threads of the numba path.

    Returns:
        Values in [0, 1], `(Q,)`; 0 where nothing relevant is found. They do not depend on how the database is cut.

    Raises:
        RequestError: empty or unfitting inputs, unknown options, `at` below 1, or expected ties under a cut with
            norm `hits`, which have no defined value.
    """
    table = _table(query, database, histograms, path, threads)
    check_policy(at, ties, norm, table.database)
    if ties != "stable":
        return average_precision_from(table, at=at, ties=ties, norm=norm)
    sums, hits = stable_sums(query, database, table, max_rank=at, path=path, threads=threads)
    divisor = hits if norm == "hits" else table.relevant_count
    if norm == "min" and at is not None:
        divisor = np.minimum(divisor, at)
    return np.asarray(sums / np.maximum(divisor, 1))


def mean_average_precision(
    query: LabeledCodes,
    database: Database,
    *,
    at: int | None = None,
    ties: Ties = "expected",
    norm: Norm = "relevant",
    empty: Empty = "zero",
    histograms: DistanceHistograms | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> Score:
    """Mean of `average_precision` over queries.

    Args:
        query: packed codes with labels, Q of them; labels of a target make it the t-MAP (`with_labels`).
        database: the N items, whole or in shards.
        at: only the first `at` ranks count.
        ties: as in `average_precision`.
        norm: as in `average_precision`.
        empty: what a query without a hit does: `zero` counts it as 0, `skip` leaves it out of the mean. Under a cut,
            with ties that are not `stable`, a query is empty when no order of its ties brings a hit within the cut.
        histograms: the histograms, where they are at hand.
        path: which code counts.
        threads: threads of the numba path.

    Returns:
        The score with its value per query, and with the number of queries that had no label or nothing relevant.

    Raises:
        RequestError: as in `average_precision`, or `skip` leaves out every query.
    """
    check_choice("empty", empty, ("zero", "skip"))
    table = _table(query, database, histograms, path, threads)
    value = average_precision(
        query, database, at=at, ties=ties, norm=norm, histograms=table, path=path, threads=threads
    )
    found = value > 0 if ties == "stable" else _reachable(table, at)
    return score_of(
        metric_name("map", at=at, ties=ties, norm=norm, empty=empty), value, found, empty, query, table, at, ties
    )


def first_hits_average_precision(
    query: LabeledCodes,
    database: Database,
    *,
    k: int,
    ties: Ties = "stable",
    histograms: DistanceHistograms | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> Score:
    """The false "MAP@k" of torchcmh: mean precision at the first `min(k, relevant)` hits, wherever they are.

    It never sees how many wrong items stand between, except through the precisions, and is not comparable with a MAP
    cut at rank k. It exists to reproduce published cross-modal tables.

    Args:
        query: packed codes with labels.
        database: the N items, whole or in shards.
        k: number of first hits that count, at least 1.
        ties: `stable`, `worst` or `best`; the expectation has no closed form.
        histograms: the histograms, where they are at hand.
        path: which code counts.
        threads: threads of the numba path.

    Raises:
        RequestError: `k` below 1, expected ties, or unfitting inputs.
    """
    check_range("k", k, 1)
    check_choice("ties of the first k hits", ties, ("stable", "worst", "best"))
    table = _table(query, database, histograms, path, threads)
    if ties == "stable":
        sums, hits = stable_sums(query, database, table, max_hits=k, path=path, threads=threads)
        value = np.asarray(sums / np.maximum(hits, 1))
    else:
        value = first_hits_from(table, k=k, ties=ties)
    return score_of(metric_name(f"map_first_{k}_hits", ties=ties), value, value > 0, "zero", query, table, None, ties)


def precision_at(
    query: LabeledCodes,
    database: Database,
    n: int,
    *,
    ties: Ties = "expected",
    histograms: DistanceHistograms | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> Score:
    """Share of relevant items among the first `n`, per query and mean.

    Args:
        query: packed codes with labels.
        database: the N items, whole or in shards.
        n: number of first ranks, 1 to N.
        ties: `expected`, `stable`, `worst` or `best`.
        histograms: the histograms, where they are at hand.
        path: which code counts.
        threads: threads of the numba path.

    Raises:
        RequestError: `n` is not between 1 and N, or unfitting inputs.
    """
    table = _table(query, database, histograms, path, threads)
    value = _hits_within(query, database, table, n, ties, path, threads) / n
    return score_of(metric_name("precision", at=n, ties=ties), value, value > 0, "zero", query, table, n, ties)


def recall_at(
    query: LabeledCodes,
    database: Database,
    n: int,
    *,
    ties: Ties = "expected",
    histograms: DistanceHistograms | None = None,
    path: CountPath = "auto",
    threads: int = 1,
) -> Score:
    """Share of a query's relevant items that stand among the first `n`; 0 for a query without any.

    Arguments and errors as in `precision_at`.

    Raises:
        RequestError: `n` is not between 1 and N, or unfitting inputs.
    """
    table = _table(query, database, histograms, path, threads)
    value = _hits_within(query, database, table, n, ties, path, threads) / np.maximum(table.relevant_count, 1)
    return score_of(metric_name("recall", at=n, ties=ties), value, value > 0, "zero", query, table, n, ties)


def hits_within(histograms: DistanceHistograms, n: int, ties: Ties = "expected") -> Floats:
    """Hits among the first `n` ranks, `(Q,)`: expected over ties, or the fewest (`worst`) or most (`best`) of any order.

    Raises:
        RequestError: `n` is not between 1 and N, or ties are `stable`, which histograms do not know.
    """
    check_range("n", n, 1, histograms.database)
    check_choice("ties of histograms", ties, ("expected", "worst", "best"))
    hits = np.zeros(len(histograms))
    for rows in slices(histograms):
        groups = TieGroups.of(histograms, rows, n)
        if ties == "expected":
            hits[rows] = groups.expected_hits.sum(axis=1)
        else:
            hits[rows] = (groups.fewest_hits if ties == "worst" else groups.most_hits).sum(axis=1)
    return hits


def _hits_within(
    query: LabeledCodes,
    database: Database,
    table: DistanceHistograms,
    n: int,
    ties: Ties,
    path: CountPath,
    threads: int,
) -> Floats:
    check_choice("ties", ties, ("expected", "stable", "worst", "best"))
    check_range("n", n, 1, table.database)
    if ties == "stable":
        return stable_sums(query, database, table, max_rank=n, path=path, threads=threads)[1].astype(np.float64)
    return hits_within(table, n, ties)


def _reachable(table: DistanceHistograms, at: int | None) -> Array:
    """Which queries have a hit within the cut in some order of their ties, `(Q,)` bool."""
    if at is None:
        return table.relevant_count > 0
    return hits_within(table, min(at, table.database), "best") > 0


def _table(
    query: LabeledCodes, database: Database, histograms: DistanceHistograms | None, path: CountPath, threads: int
) -> DistanceHistograms:
    if histograms is None:
        return distance_histograms(query, database, path=path, threads=threads)
    if histograms.total.shape != (len(query.packed), query.bits + 1):
        raise RequestError(
            f"histograms of {len(histograms)} queries and {histograms.bits} bits do not belong to "
            f"{len(query.packed)} queries of {query.bits} bits"
        )
    return histograms
