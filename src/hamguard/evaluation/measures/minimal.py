"""The least budget at which a fixed attack succeeds, found by bisection, and bits flipped as a function of the budget (H.3; ours).

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack, clean_code
from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.threat import Linf, Norm
from hamguard.attacks.types import Attacked, Victim
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming_pairs, pack, sign
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import derive_seed
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.evaluation.measures.rows import Cost, mean_row, noted, picture_numbers, quantile_rows
from hamguard.evaluation.measures.success import LIKELY, Criterion

MOST, TOLERANCE = 64 / 255, 0.25 / 255
CURVE = tuple(level / 255 for level in (1, 2, 4, 8, 16, 32, 64))
"""Budgets of a printed curve."""

AttackMaker = Callable[[float], Attack]
"""An attack of a budget. A guide that learns must come fitted (`Attack.prepared`), else it is trained for every batch."""


def plain_pgd(eps: float) -> Attack:
    """The attack of the specification: PGD on the own code, 50 gradients, linf, without rounding."""
    return replace(pgd(steps=50, threat=Linf(eps)), rounding=False)


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
    model: Victim,
    x: Tensor,
    criterion: Criterion,
    make: AttackMaker = plain_pgd,
    *,
    labels: Tensor | None = None,
    bank: CodeBank | None = None,
    index: Sequence[int] | None = None,
    seed: int = 0,
    most: float = MOST,
    tolerance: float = TOLERANCE,
    batch_size: int = 64,
) -> MinimalPerturbation:
    """Bisect the budget of every picture.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        criterion: what success means for picture 0..n - 1; met in at least half of the orders of ties.
        make: the attack of a budget; its norm is that of the radius.
        labels: as the attack wants them, `(n, C)`.
        bank: reference codes of the attack.
        index: numbers of the pictures in the run.
        seed: of the attack.
        most: largest budget, in pixel units.
        tolerance: bisection ends when brackets are no wider.
        batch_size: pictures attacked at once.

    Raises:
        RequestError: budgets that are no bracket, a criterion for other pictures, an attack of another budget than asked for,
            or what the attack itself refuses.
    """
    started = time.perf_counter()
    numbers = picture_numbers(index, len(x))
    if not 0 < tolerance <= most:
        raise RequestError(f"tolerance must be above 0 and at most {most:g}, got {tolerance:g}")
    if criterion.count != len(x):
        raise RequestError(f"{criterion.name} knows {criterion.count} pictures, got {len(x)}")
    check_range("batch_size", batch_size, 1)
    halvings = math.ceil(math.log2(most / tolerance) - 1e-9)
    cell = most / 2**halvings  # brackets are whole numbers of cells, so equal midpoints are equal numbers
    low, high = np.zeros(len(x), np.int64), np.full(len(x), 2**halvings)
    distance, spent = np.full(len(x), np.inf), np.zeros((2, len(x)), np.int64)
    own = pack(_codes(model, x, batch_size))  # (n, bytes)
    spent[0] += 1
    failed = criterion(own, np.arange(len(x))) >= LIKELY
    rounding, norm = make(most).rounding, make(most).threat.norm

    def solved(rows: Ints, eps: float) -> Array:
        attack = _checked(make(eps), eps)
        found = np.zeros(len(rows), dtype=bool)
        for part in _parts(len(rows), batch_size):
            now = rows[part]
            attacked = _attack(attack, model, x, labels, bank, numbers, now, seed)
            spent[0, now] += attacked.spent.forwards.numpy() + 1  # its code
            spent[1, now] += attacked.spent.backwards.numpy()
            found[part] = criterion(pack(_codes(model, attacked.x_adv, batch_size)), now) >= LIKELY
            length = attack.threat.length(attacked.x_adv - x[now]).flatten().double().cpu().numpy()
            distance[now] = np.where(found[part], np.minimum(distance[now], length), distance[now])
        return found

    rows = np.flatnonzero(~failed)
    open_ = rows[solved(rows, most)] if len(rows) else rows
    unsolved = np.setdiff1d(rows, open_)
    for _ in range(halvings):
        middle = (low + high) // 2
        for cells in np.unique(middle[open_]):
            now = open_[middle[open_] == cells]
            hit = solved(now, float(cells * cell))
            high[now[hit]], low[now[~hit]] = cells, cells
    radius, below = high * cell, low * cell
    radius[failed], below[failed], distance[failed] = 0.0, 0.0, 0.0
    radius[unsolved], below[unsolved] = np.inf, most
    each = [int(np.ceil(one.mean())) for one in spent]
    return MinimalPerturbation(
        radius,
        below,
        distance,
        norm,
        most,
        cell,
        criterion.name,
        criterion.at,
        rounding,
        Cost(each[0], each[1], time.perf_counter() - started),
    )


def _checked(attack: Attack, eps: float) -> Attack:
    if abs(attack.threat.eps - eps) > 1e-9:
        raise RequestError(f"the attack's budget is {attack.threat.eps:g}, it was made for {eps:g}: use the argument")
    return attack


def _attack(
    attack: Attack,
    model: Victim,
    x: Tensor,
    labels: Tensor | None,
    bank: CodeBank | None,
    numbers: list[int],
    rows: Ints,
    seed: int,
) -> Attacked:
    marks = None if labels is None else labels[rows]
    return attack(model, x[rows], marks, bank, index=[numbers[row] for row in rows], seed=seed)


@torch.no_grad()
def _codes(model: Victim, x: Tensor, batch_size: int) -> Tensor:
    return torch.cat([clean_code(model, x[part]) for part in _parts(len(x), batch_size)])


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


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
    base = noted(base, f"success: {found.criterion}@{found.at}; bisection to {255 * found.tolerance:.3g}/255")
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


@dataclass(frozen=True)
class FlipCurve:
    """Bits flipped at each budget.

    Attributes:
        eps: budgets, `(E,)`.
        flipped: bits that differ from the clean code, mean over draws, `(E, n)`.
        norm: of the budget.
        rounding: whether pictures were on the 8-bit grid.
        cost: what was spent.
    """

    eps: Floats
    flipped: Floats
    norm: Norm
    rounding: bool
    cost: Cost = field(compare=False)

    @property
    def means(self) -> Floats:
        """Expected number of flipped bits, `(E,)`."""
        return np.asarray(self.flipped.mean(1))


def flip_curve(
    model: Victim,
    x: Tensor,
    make: AttackMaker,
    eps: Sequence[float] = CURVE,
    *,
    labels: Tensor | None = None,
    bank: CodeBank | None = None,
    index: Sequence[int] | None = None,
    seed: int = 0,
    draws: int = 1,
    batch_size: int = 64,
) -> FlipCurve:
    """Flipped bits as a function of the budget, under noise or under a gradient attack, whichever `make` makes.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        make: the attack of a budget, e.g. `lambda eps: noise(threat=Linf(eps))` or `plain_pgd`.
        eps: budgets.
        labels: as the attack wants them.
        bank: reference codes of the attack.
        index: numbers of the pictures in the run.
        seed: of the attack.
        draws: attacks of each picture that the number is a mean over, each with its own seed.
        batch_size: pictures attacked at once.

    Raises:
        RequestError: no budgets, fewer than one draw, an attack of another budget than asked for, or what it refuses.
    """
    started = time.perf_counter()
    numbers = picture_numbers(index, len(x))
    check_range("number of budgets", len(eps), 1)
    check_range("draws", draws, 1)
    check_range("batch_size", batch_size, 1)
    own: Bytes = pack(_codes(model, x, batch_size))
    flipped, spent = np.zeros((len(eps), len(x))), np.zeros(2)
    first = make(eps[0])
    for e, budget in enumerate(eps):
        attack = _checked(make(budget), budget)
        for draw in range(draws):
            turn = seed if draw == 0 else derive_seed(seed, "draw", draw)
            for part in _parts(len(x), batch_size):
                now = np.arange(part.start, part.stop)
                attacked = _attack(attack, model, x, labels, bank, numbers, now, turn)
                with torch.no_grad():
                    code = pack(sign(model.logits(attacked.x_adv)))
                flipped[e, part] += hamming_pairs(code, own[part]) / draws
                spent += (int(attacked.spent.forwards.sum()) + len(now), int(attacked.spent.backwards.sum()))
    each = np.ceil(spent / len(x)).astype(int)
    return FlipCurve(
        np.asarray(eps, dtype=np.float64),
        flipped,
        first.threat.norm,
        first.rounding,
        Cost(int(each[0]) + 1, int(each[1]), time.perf_counter() - started),
    )


def flip_rows(found: FlipCurve, base: Row, *, seed: int = 0) -> list[Row]:
    """One row `bits-moved` a budget, with its interval over pictures; `base` says which attack it was."""
    grid = {"norm": found.norm, "grid": "8 bit" if found.rounding else "none"}
    rows = []
    for eps, flipped in zip(found.eps, found.flipped, strict=True):
        row = replace(base, threat={**(base.threat or {}), **grid, "eps": float(eps)}, task="query")
        rows.append(mean_row(found.cost.on(row), "bits-moved", flipped, seed=seed))
    return rows
