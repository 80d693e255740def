"""A metric's value with its name: what was measured, over which queries, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hamguard.codes.histograms import DistanceHistograms
from hamguard.codes.labeled import LabeledCodes, labeled
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Floats, Norm, Ties

Empty = Literal["zero", "skip"]
"""A query that finds nothing: counts as 0 in the mean, or is left out of it (DHTA, HashNet)."""


@dataclass(frozen=True)
class Score:
    """A metric over queries; says what it is and what it left out.

    Attributes:
        name: the metric, as `metric_name` writes it.
        per_query: value of each query, `(Q,)` float64 in [0, 1].
        kept: which queries are in the mean, `(Q,)` bool.
        unlabeled: queries without any label, which can have no relevant item.
        without_relevant: queries without a relevant item in the database, unlabeled ones included.
        at: cut-off rank or None.
        ties: what happened inside groups of equal distances.
    """

    name: str
    per_query: Floats
    kept: Array
    unlabeled: int
    without_relevant: int
    at: int | None
    ties: Ties

    @property
    def values(self) -> Floats:
        """Values of the queries in the mean, `(n,)`."""
        return self.per_query[self.kept]

    @property
    def n(self) -> int:
        """Number of queries in the mean."""
        return int(np.count_nonzero(self.kept))

    @property
    def value(self) -> float:
        """The mean over the kept queries."""
        return float(self.values.mean())

    def __repr__(self) -> str:
        note = "".join(
            f", {count} {what}"
            for count, what in (
                (len(self.per_query) - self.n, "left out"),
                (self.unlabeled, "unlabeled"),
                (self.without_relevant - self.unlabeled, "with labels but nothing relevant"),
            )
            if count
        )
        return f"{self.name} = {self.value:.4f} (n = {self.n}{note})"


def metric_name(
    metric: str, *, at: int | None = None, ties: Ties = "expected", norm: Norm = "relevant", empty: Empty = "zero"
) -> str:
    """Name of a metric for a result row: what differs from the defaults stands in it.

    >>> metric_name("map", at=5000, ties="stable", norm="hits")
    'map@5000[ties=stable,norm=hits]'
    >>> metric_name("map")
    'map'
    """
    parts = [
        f"{key}={value}"
        for key, value, usual in (("ties", ties, "expected"), ("norm", norm, "relevant"), ("empty", empty, "zero"))
        if value != usual
    ]
    return metric + (f"@{at}" if at is not None else "") + (f"[{','.join(parts)}]" if parts else "")


def unlabeled_count(query: LabeledCodes) -> int:
    """Number of queries without any label."""
    return int(np.count_nonzero(~labeled(query.labels)))


def score_of(
    name: str,
    value: Floats,
    found: Array,
    empty: Empty,
    query: LabeledCodes,
    table: DistanceHistograms,
    at: int | None,
    ties: Ties,
) -> Score:
    """The score of values `(Q,)`; `found` says which queries have a hit.

    Raises:
        RequestError: queries without a hit are to be left out, and that leaves none.
    """
    kept = np.asarray(found) if empty == "skip" else np.ones(len(value), dtype=bool)
    if not kept.any():
        raise RequestError(f"{name}: no query has a hit, so nothing is left to average; use empty='zero'")
    return Score(name, value, kept, unlabeled_count(query), int(np.count_nonzero(table.relevant_count == 0)), at, ties)
