"""The least budget at which a fixed attack succeeds, found by bisection (H.3; ours).

Each picture has its own bracket. Midpoints lie on one grid, so pictures with the same midpoint are attacked together; because
an attack's result does not depend on its batch, neither does the answer. Bisection takes success to grow with the budget.
Where an attack fails at a larger budget and succeeds at a smaller one, the answer is a budget at which it did succeed, maybe not
the least.

A picture on the 8-bit grid moves by whole levels: with `Attack.rounding` the least linf budget is a multiple of 1/255, whatever the
tolerance. The default attack does not round, so that quarters of a level mean something: it measures the model, not a file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from hamguard.attacks.threat import Norm
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows, levels_text
from hamguard.core.types import Array, Floats, Ints
from hamguard.evaluation.measures.budgets import CURVE, AttackMaker, Pictures, base_of, plain_pgd
from hamguard.evaluation.measures.criteria import LIKELY, BitsMoved, Criterion
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import Cost, mean_row, noted, quantile_rows

MOST, TOLERANCE = 64 / 255, 0.25 / 255


@dataclass(frozen=True)
class MinimalPerturbation:
    """Least budgets of n pictures.

    Attributes:
        radius: least budget at which the attack succeeded; 0 where the clean picture meets the criterion already, infinite where
            the attack failed at the largest budget, `(n,)`.
        below: largest budget at which it failed on the way there, `(n,)`; 0 where it never failed.
        distance: least norm of any successful picture that was met, `(n,)`, at most `radius`; an upper bound that was seen.
        norm: of the budget.
        most: largest budget tried.
        tolerance: largest difference of `radius` and `below` of a solved picture.
        criterion: name of the criterion.
        at: its number of bits, radius or rank.
        rounding: whether attacked pictures were on the 8-bit grid.
        cost: what was spent.
    """

    radius: Floats
    below: Floats
    distance: Floats
    norm: Norm
    most: float
    tolerance: float
    criterion: str
    at: int
    rounding: bool
    cost: Cost = field(compare=False)

    @property
    def failed(self) -> Array:
        """Pictures that meet the criterion when clean, `(n,)` bool."""
        return np.asarray(self.radius == 0)

    @property
    def values(self) -> Floats:
        """Radii of the other pictures, infinite where unsolved."""
        return self.radius[~self.failed]

    @property
    def unsolved(self) -> float:
        """Share of the other pictures that no budget solved; NaN where there are none."""
        return float(np.isinf(self.values).mean()) if len(self.values) else float("nan")

    def rate(self, eps: Sequence[float]) -> Floats:
        """ASR(eps): share of the pictures that count with a radius of at most each budget, `(E,)`.

        Raises:
            RequestError: a budget beyond the largest that was tried.
        """
        for one in eps:
            check_range("eps", one, 0.0, self.most)
        return np.asarray([float((self.values <= one + 1e-12).mean()) for one in eps])


def minimal_perturbation(
    pictures: Pictures,
    criterion: Criterion,
    make: AttackMaker = plain_pgd,
    *,
    most: float = MOST,
    tolerance: float = TOLERANCE,
) -> MinimalPerturbation:
    """Bisect the budget of every picture.

    Args:
        pictures: clean pictures and what the attack is told of them.
        criterion: what success means for picture 0..n - 1; met in at least half of the orders of ties.
        make: the attack of a budget; its norm is that of the radius.
        most: largest budget, in pixel units.
        tolerance: bisection ends when brackets are no wider.

    Raises:
        RequestError: budgets that are no bracket, a criterion for other pictures, an attack of another budget than asked for,
            or what the attack itself refuses.
    """
    started = time.perf_counter()
    if not 0 < tolerance <= most:
        raise RequestError(f"tolerance must be above 0 and at most {most:g}, got {tolerance:g}")
    if criterion.count != len(pictures):
        raise RequestError(f"{criterion.name} knows {criterion.count} pictures, got {len(pictures)}")
    first = make(most)
    trial = _Trial(pictures, criterion, make)
    halvings = math.ceil(math.log2(most / tolerance) - 1e-9)
    cell = most / 2**halvings  # brackets are whole numbers of cells, so equal midpoints are equal numbers
    low, high = np.zeros(len(pictures), np.int64), np.full(len(pictures), 2**halvings)
    rows = np.flatnonzero(~trial.failed)
    open_ = rows[trial(rows, most)] if len(rows) else rows
    unsolved = np.setdiff1d(rows, open_)
    for _ in range(halvings):
        middle = (low + high) // 2
        for cells in np.unique(middle[open_]):
            now = open_[middle[open_] == cells]
            hit = trial(now, float(cells * cell))
            high[now[hit]], low[now[~hit]] = cells, cells
    radius, below, distance = high * cell, low * cell, trial.distance
    radius[trial.failed], below[trial.failed], distance[trial.failed] = 0.0, 0.0, 0.0
    radius[unsolved], below[unsolved] = np.inf, most
    forwards, backwards = (int(np.ceil(passes.mean())) for passes in trial.spent)
    cost = Cost(forwards, backwards, time.perf_counter() - started)
    return MinimalPerturbation(
        radius, below, distance, first.threat.norm, most, cell, criterion.name, criterion.at, first.rounding, cost
    )


class _Trial:
    """Attacks some pictures at a budget and says which meet the criterion.

    Attributes:
        failed: pictures that meet it when clean, `(n,)` bool.
        distance: least norm of any successful picture so far, `(n,)`.
        spent: forward and backward passes, `(2, n)`.
    """

    def __init__(self, pictures: Pictures, criterion: Criterion, make: AttackMaker) -> None:
        count = len(pictures)
        self.pictures, self.criterion, self.make = pictures, criterion, make
        self.distance, self.spent = np.full(count, np.inf), np.zeros((2, count), np.int64)
        self.failed = criterion(pictures.codes(), np.arange(count)) >= LIKELY
        self.spent[0] += 1

    def __call__(self, rows: Ints, eps: float) -> Array:
        pictures, found = self.pictures, np.zeros(len(rows), dtype=bool)
        for part in pictures.parts(len(rows)):
            now = rows[part]
            attacked = pictures.attacked(self.make, eps, now)
            self.spent[0, now] += attacked.spent.forwards.numpy() + 1  # its code
            self.spent[1, now] += attacked.spent.backwards.numpy()
            found[part] = self.criterion(pictures.codes(attacked.x_adv), now) >= LIKELY
            delta = attacked.x_adv - pictures.x[now]
            length = self.make(eps).threat.length(delta).flatten().double().cpu().numpy()
            self.distance[now] = np.where(found[part], np.minimum(self.distance[now], length), self.distance[now])
        return found


def minimal_rows(found: MinimalPerturbation, base: Row, *, curve: Sequence[float] = CURVE, seed: int = 0) -> list[Row]:
    """Rows of least budgets: median, 10th and 90th percentile, share unsolved, share that fails when clean, and ASR(eps).

    Args:
        found: what was measured.
        base: model, data and attack.
        curve: budgets of the curve; those beyond the largest tried are left out.
        seed: of the bootstrap.

    Returns:
        `min-eps-median`, `-p10`, `-p90`, `-unsolved`, `-clean`, then one row of the criterion's name a budget of the curve.
    """
    threat = {"norm": found.norm, "grid": "8 bit" if found.rounding else "none"}
    base = found.cost.on(replace(base, threat={**(base.threat or {}), **threat, "eps": found.most}))
    base = noted(base, f"success: {found.criterion}@{found.at}; bisection to {levels_text(found.tolerance, '.3g')}")
    failed = int(found.failed.sum())
    if failed:
        base = noted(base, f"{failed} of {len(found.radius)} pictures meet the criterion when clean and are left out")
    rows = quantile_rows(base, "min-eps", found.values, seed=seed)
    rows.append(mean_row(base, "min-eps-unsolved", np.isinf(found.values), seed=seed))
    rows.append(mean_row(base, "min-eps-clean", found.failed, seed=seed))
    for eps in curve:
        if eps <= found.most + 1e-12:
            at_eps = replace(base, threat={**(base.threat or {}), "eps": eps})
            rows.append(mean_row(at_eps, found.criterion, found.values <= eps + 1e-12, seed=seed, at=found.at))
    return rows


@register("minimal")
def minimal(subject: Subject, *, most: float = MOST, tolerance: float = TOLERANCE) -> Found:
    """Least budget at which PGD turns half of the bits, by bisection for every picture."""
    make = partial(plain_pgd, steps=subject.steps)
    found = minimal_perturbation(Pictures.of(subject), BitsMoved(subject.clean), make, most=most, tolerance=tolerance)
    base = base_of(subject, "pgd", make(subject.eps))
    rows = Rows(minimal_rows(found, base, seed=subject.ground.seed))
    radius = np.where(found.failed, np.nan, found.radius)
    lines = [
        Line(
            f"least eps, {name}",
            f"least budget that turns half of the bits, {text}",
            "higher",
            "eps",
            rows.one(f"min-eps-{name}"),
            radius if name == "median" else None,
        )
        for name, text in (("median", "median"), ("p10", "most fragile tenth"), ("p90", "sturdiest tenth"))
    ]
    row, text = rows.one("min-eps-unsolved"), f"pictures that no budget up to {most * 255:g}/255 turns"
    lines.append(Line("least eps, unsolved", text, "higher", "share", row))
    eps = np.linspace(0, most, 257)
    curves = {"solved": (eps, found.rate(eps.tolist()))} if len(found.values) else {}
    return Found(rows, lines, curves)
