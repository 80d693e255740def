"""Bias by class through the distance to the boundary (slides of C. Deng; definitions ours).

P. Stock, M. Cisse, "ConvNets and ImageNet Beyond Accuracy: Understanding Mistakes and Uncovering Biases", ECCV 2018, as the slides
quote it: biases of a network show in the distance of samples to the decision boundary, which is about the size of the change that
makes them cross it. A hash function has a border for every bit. The distance of a picture is that of `radius`, the least change
found that turns a bit, or that of `minimal`, the least budget at which PGD turns half of them.

A class has the mean distance of its pictures; a picture of several classes counts in each. The spread is the standard deviation
of these means over classes, weighted by their pictures. It is never 0, because few pictures scatter: the control gives the
pictures each other's labels, many times, and the p value is the share of those spreads that are as large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Bytes, Floats
from hamguard.evaluation.measures.budgets import AttackMaker, Pictures, base_of, plain_pgd
from hamguard.evaluation.measures.criteria import BitsMoved
from hamguard.evaluation.measures.minimal import minimal_perturbation
from hamguard.evaluation.measures.radius import flip_radius
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import mean_row, noted

SHUFFLES = 1000


@dataclass(frozen=True)
class ClassBias:
    """Distances by class.

    Attributes:
        distance: of each picture, `(n,)`; those that have none (infinite) are left out of everything.
        labels: `(n, C)` {0, 1}.
        mean: mean distance of each class, `(C,)`; NaN for a class without a picture.
        spread: standard deviation of the means over classes, weighted by pictures.
        shuffled: the same of shuffled labels, `(S,)`.
    """

    distance: Floats
    labels: Bytes
    mean: Floats
    spread: float
    shuffled: Floats

    @property
    def p(self) -> float:
        """Share of the spreads of shuffled labels, the true one with them, that are at least as large as the true one."""
        return float((1 + (self.shuffled >= self.spread - 1e-12).sum()) / (1 + len(self.shuffled)))


def class_means(distance: Floats, labels: Bytes) -> Floats:
    """Mean distance of the pictures of each class, `(C,)`; NaN for a class without one."""
    count = labels.sum(0)
    total = distance @ labels.astype(np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def spread_of(distance: Floats, labels: Bytes) -> float:
    """`sqrt(sum_c n_c (m_c - m)^2 / sum_c n_c)` over classes with pictures, m the mean of the m_c weighted by n_c."""
    kept, mean = labels.sum(0) > 0, class_means(distance, labels)
    count = labels.sum(0)[kept].astype(np.float64)
    center = float(np.average(mean[kept], weights=count))
    return float(np.sqrt(np.average((mean[kept] - center) ** 2, weights=count)))


def class_bias(distance: Array, labels: Bytes, *, seed: int = 0, shuffles: int = SHUFFLES) -> ClassBias:
    """Distances by class, with what shuffled labels give.

    Args:
        distance: one a picture, `(n,)`; infinite where there is none.
        labels: `(n, C)` {0, 1}.
        seed: of the shuffles.
        shuffles: how many.

    Raises:
        RequestError: not as many labels as distances, or fewer than two classes with pictures that have a distance.
    """
    check_range("shuffles", shuffles, 1)
    if len(distance) != len(labels):
        raise RequestError(f"a label row for each of {len(distance)} distances is needed, got {len(labels)}")
    kept = np.isfinite(distance) & labels.any(1)
    own, marks = np.asarray(distance, dtype=np.float64)[kept], labels[kept]
    if int((marks.sum(0) > 0).sum()) < 2:
        raise RequestError("bias by class needs pictures of two classes at least that have a distance")
    generator = numpy_generator(seed, "shuffled labels")
    drawn = np.asarray([spread_of(own, marks[generator.permutation(len(marks))]) for _ in range(shuffles)])
    return ClassBias(own, marks, class_means(own, marks), spread_of(own, marks), drawn)


def bias_rows(found: ClassBias, base: Row, names: tuple[str, ...], *, seed: int = 0) -> list[Row]:
    """Rows of a bias by class.

    Args:
        found: what was measured.
        base: model, data, and what the distance is.
        names: of the classes.
        seed: of the bootstrap.

    Returns:
        `class-distance[NAME]` with its interval for each class that has pictures, `class-spread`, `class-spread-shuffled` (its
        mean, and the middle 95% of the shuffles), and `class-spread-p`.
    """
    rows = []
    for number, name in enumerate(names):
        own = found.distance[found.labels[:, number] > 0]
        if len(own):
            row = mean_row(base, f"class-distance[{name}]", own, seed=seed)
            rows.append(row if len(own) > 1 else replace(row, ci95=None))  # one picture has no interval
    low, high = np.quantile(found.shuffled, [0.025, 0.975])
    whole = replace(base, n=len(found.distance))
    rows.append(replace(whole, metric="class-spread", value=found.spread))
    shuffled = replace(whole, metric="class-spread-shuffled", value=float(found.shuffled.mean()))
    rows.append(noted(replace(shuffled, ci95=(float(low), float(high))), f"{len(found.shuffled):,} shuffles of labels"))
    rows.append(replace(whole, metric="class-spread-p", value=found.p))
    return rows


@register("class-bias", labeled=True, default=False)
def class_bias_of(subject: Subject, *, distance: Literal["radius", "minimal"] = "radius") -> Found:
    """How far the pictures of each class are from the nearest border of a bit, and whether classes differ by more than chance."""
    check_choice("distance", distance, ("radius", "minimal"))
    ground = subject.ground
    if distance == "radius":
        reached = flip_radius(ground.model, subject.x)
        values, base = (
            reached.reached,
            replace(subject.base, threat={"norm": reached.norm, "grid": "none"}, task="query"),
        )
        base = reached.cost.on(base)
    else:
        least = minimal_perturbation(Pictures.of(subject), BitsMoved(subject.clean), _maker(subject))
        values, base = least.radius, least.cost.on(base_of(subject, "pgd", plain_pgd(subject.eps, subject.steps)))
    base = noted(base, f"distance: {distance}, see `hamguard measure --list`")
    found = class_bias(values, subject.clean.labels, seed=ground.seed)
    rows = bias_rows(found, base, tuple(ground.dataset.class_names), seed=ground.seed)
    classes = [row for row in rows if str(row.metric).startswith("class-distance")]
    by_size = sorted(classes, key=lambda row: row.value or 0.0)
    ends = {"nearest": by_size[0], "farthest": by_size[-1]}
    lines = [
        Line(
            f"distance of the {which} class", f"mean distance to the nearest border, {_name(row)}", "higher", "eps", row
        )
        for which, row in ends.items()
    ]
    spread, shuffled, p = rows[-3:]
    lines += [
        Line("spread over classes", "standard deviation of the classes' distances", "lower", "eps", spread),
        Line("spread, shuffled labels", "the same by chance, and where 95% of it lies", "lower", "eps", shuffled),
        Line("spread, p", "chance of a spread as large with shuffled labels", "higher", "share", p),
    ]
    return Found(rows, lines, bars={_name(row): _bar(row) for row in classes})


def _name(row: Row) -> str:
    return str(row.metric).removeprefix("class-distance[").removesuffix("]")


def _bar(row: Row) -> tuple[float, float, float]:
    value = float(row.value or 0.0)
    low, high = row.ci95 or (value, value)
    return value, low, high


def _maker(subject: Subject) -> AttackMaker:
    return partial(plain_pgd, steps=subject.steps)
