"""Bits flipped as a function of the budget, under noise and under attack (H.3; ours)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.noise import noise
from hamguard.attacks.threat import Linf, Norm
from hamguard.codes.binary import hamming_pairs, pack, sign
from hamguard.core.checks import check_range
from hamguard.core.rows import Row
from hamguard.core.seeds import derive_seed
from hamguard.core.types import Floats
from hamguard.evaluation.measures.budgets import CURVE, AttackMaker, Pictures, base_of, plain_pgd
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import Cost, mean_row, noted

DRAWS = 4
"""Noisy pictures that a point of the noise curve is a mean over."""


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


def flip_curve(pictures: Pictures, make: AttackMaker, eps: Sequence[float] = CURVE, *, draws: int = 1) -> FlipCurve:
    """Flipped bits as a function of the budget, under noise or under a gradient attack, whichever `make` makes.

    Args:
        pictures: clean pictures and what the attack is told of them.
        make: the attack of a budget, e.g. `lambda eps: noise(threat=Linf(eps))` or `plain_pgd`.
        eps: budgets.
        draws: attacks of each picture that the number is a mean over, each with its own seed.

    Raises:
        RequestError: no budgets, fewer than one draw, an attack of another budget than asked for, or what it refuses.
    """
    started = time.perf_counter()
    check_range("number of budgets", len(eps), 1)
    check_range("draws", draws, 1)
    own = pictures.codes()
    flipped, spent = np.zeros((len(eps), len(pictures))), np.zeros(2)
    first = make(eps[0])
    for e, budget in enumerate(eps):
        for draw in range(draws):
            seed = pictures.seed if draw == 0 else derive_seed(pictures.seed, "draw", draw)
            for part in pictures.parts(len(pictures)):
                now = np.arange(part.start, part.stop)
                attacked = pictures.attacked(make, budget, now, seed)
                with torch.no_grad():
                    code = pack(sign(pictures.model.logits(attacked.x_adv)))
                flipped[e, part] += hamming_pairs(code, own[part]) / draws
                spent += (int(attacked.spent.forwards.sum()) + len(now), int(attacked.spent.backwards.sum()))
    each = np.ceil(spent / len(pictures)).astype(int)
    cost = Cost(int(each[0]) + 1, int(each[1]), time.perf_counter() - started)
    return FlipCurve(np.asarray(eps, dtype=np.float64), flipped, first.threat.norm, first.rounding, cost)


def flip_rows(found: FlipCurve, base: Row, *, seed: int = 0) -> list[Row]:
    """One row `bits-moved` a budget, with its interval over pictures; `base` says which attack it was."""
    grid = {"norm": found.norm, "grid": "8 bit" if found.rounding else "none"}
    rows = []
    for eps, flipped in zip(found.eps, found.flipped, strict=True):
        row = replace(base, threat={**(base.threat or {}), **grid, "eps": float(eps)}, task="query")
        rows.append(mean_row(found.cost.on(row), "bits-moved", flipped, seed=seed))
    return rows


def _quiet(eps: float) -> Attack:
    return replace(noise(threat=Linf(eps)), rounding=False)


@register("flips")
def flips(subject: Subject, *, draws: int = DRAWS) -> Found:
    """Bits that turn as the budget grows, under random noise and under PGD."""
    pictures, eps = Pictures.of(subject), sorted({*CURVE, subject.eps})
    place = eps.index(subject.eps)
    rows: list[Row] = []
    lines, curves = [], {}
    for method, make, many in (("noise", _quiet, draws), ("pgd", partial(plain_pgd, steps=subject.steps), 1)):
        found = flip_curve(pictures, make, eps, draws=many)
        own = flip_rows(found, base_of(subject, method, make(subject.eps)), seed=subject.ground.seed)
        if many > 1:
            own = [noted(row, f"noise: mean over {many} draws a picture") for row in own]
        what = "random noise turns" if method == "noise" else "PGD turns (unrounded)"
        lines.append(Line(f"flips, {method}", f"bits that {what}", "lower", "bits", own[place], found.flipped[place]))
        curves[method] = (np.array([0.0, *eps]), np.array([0.0, *(found.means / subject.clean.bits)]))
        rows += own
    return Found(rows, lines, curves)
