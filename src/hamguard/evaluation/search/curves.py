"""Curves of a pair of banks, beside those of random codes: precision over recall, over N, within a radius."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.histograms import distance_histograms
from hamguard.core.rows import Row
from hamguard.core.types import Array, Ints
from hamguard.evaluation.per_query import with_values
from hamguard.evaluation.search.score import random_bank, sides_table
from hamguard.retrieval.curves import precision_curve, radius_curve, recall_curve
from hamguard.retrieval.metrics import hits_within

Curve = tuple[Array, Array]


@dataclass(frozen=True)
class Curves:
    """Curve name to points.

    Attributes:
        precision_recall: (recall, precision).
        precision_at: (N, precision).
        within_radius: (radius, precision of the balls that hold anything), and the same with recall.
    """

    precision_recall: dict[str, Curve]
    precision_at: dict[str, Curve]
    within_radius: dict[str, Curve]


def measure_curves(query: CodeBank, database: CodeBank, *, name: str, seed: int = 0, own: Ints | None = None) -> Curves:
    """All curves, expected over ties, of the codes and of random codes (the ball of a radius: the codes alone).

    Args:
        query: query codes with labels.
        database: database codes with labels.
        name: what the codes are called.
        seed: seed of the random codes.
        own: which database item each query is; see `score_rows`.
    """
    most = min(1000, len(database) - (own is not None and len(database) > 1))  # a query itself is no answer of its own
    numbers = np.unique(np.linspace(1, most, 40).astype(np.int64))
    curves = Curves({}, {}, {})
    floor = random_bank(query, seed), random_bank(database, seed + 1)
    for label, (q, d) in {name: (query, database), "random codes": floor}.items():
        table = sides_table(q, d, own)
        line = recall_curve(table)
        curves.precision_recall[label] = (line.recall, line.precision)
        curves.precision_at[label] = (numbers, precision_curve(table, numbers.tolist()))
        if label == name:
            balls = radius_curve(table)
            curves.within_radius[f"{name}: precision"] = (balls.radius, balls.precision)
            curves.within_radius[f"{name}: recall"] = (balls.radius, balls.recall)
    return curves


LEVELS = tuple(range(5, 101, 5))
"""Levels of recall, in percent, that rows keep."""


def curve_rows(query: CodeBank, database: CodeBank, base: Row) -> list[Row]:
    """Points of both curves as rows, so that a page can draw them: precision at levels of recall, and of the first N answers.

    Args:
        query: query codes, with the labels that count (target labels toward a target).
        database: database codes.
        base: facts that every row carries.

    Returns:
        Rows with the metric `curve-precision-at-recall` (`at`: recall in percent) and `curve-precision` (`at`: N).
    """
    table = distance_histograms(query, database)
    line = recall_curve(table)
    levels = np.interp(np.array(LEVELS) / 100, line.recall, line.precision)
    most = min(1000, len(database))
    numbers = np.unique(np.geomspace(1, most, 20).round().astype(np.int64)).tolist()
    found = [
        ("curve-precision-at-recall", at, value, line.per_query[:, at - 1])  # levels are whole percents
        for at, value in zip(LEVELS, levels, strict=True)
    ]
    found += [
        ("curve-precision", at, value, hits_within(table, at, "expected") / at)
        for at, value in zip(numbers, precision_curve(table, numbers), strict=True)
    ]
    common = replace(base, ci95=None, n=len(query), bits=query.bits, ties="expected", seconds=None)
    common = replace(common, task=base.task or "query->database")
    return [
        with_values(replace(common, metric=metric, at=at, value=float(value)), each)
        for metric, at, value, each in found
    ]
