"""CLEVER of bits: estimated lower bounds of the budget that turns so many of them (H.5; see `extreme`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.types import Victim
from hamguard.core.checks import check_range
from hamguard.evaluation.measures.extreme import (
    QUICK,
    STANDARD,
    Clever,
    Draws,
    Sampling,
    clever_lines,
    clever_rows,
    constants,
    scored,
)
from hamguard.evaluation.measures.gradients import Outputs, blocks, dual_norm, jacobian
from hamguard.evaluation.measures.radius import border_distance
from hamguard.evaluation.measures.registry import Found, Subject, register
from hamguard.evaluation.measures.rows import Cost, fractions, mean_row, noted, picture_numbers


def bit_clever(
    model: Victim,
    x: Tensor,
    sampling: Sampling = STANDARD,
    *,
    nearest: int | None = None,
    index: Sequence[int] | None = None,
) -> Clever:
    """Score of every bit, with the margin `|z_k(x)|`.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        sampling: ball, batches, points, seed.
        nearest: ask only so many bits of a picture, those of the smallest `|z_k| / ||grad z_k||`, for scores of few bits at a part
            of the cost; None asks all.
        index: numbers of the pictures in the run.

    Raises:
        RequestError: pictures outside [0, 1], `nearest` not between 1 and K, or no gradient to the pictures.
        RunError: a gradient is not finite.
    """
    started = time.perf_counter()
    numbers = picture_numbers(index, len(x))
    K = model.bits
    asked = check_range("nearest", K if nearest is None else nearest, 1, K)
    order, margin = [], []
    for part in blocks(len(x), x):
        clean_code(model, x[part])
        z, size = jacobian(
            model.logits, x[part], lambda gradient: dual_norm(gradient, sampling.ball.norm)
        )  # (b, K) each
        order.append(border_distance(z, size).argsort(1)[:, :asked])  # (b, F)
        margin.append(z.abs())
    bits, distance = torch.cat(order), torch.cat(margin)

    def outputs(rows: Tensor) -> Outputs:
        return lambda here: model.logits(here).gather(1, bits[rows])  # (b, F)

    constant, fit = constants(outputs, x, sampling, numbers)
    full = np.full((2, len(x), K), np.nan)
    np.put_along_axis(full[0], bits.cpu().numpy(), constant, 1)
    np.put_along_axis(full[1], bits.cpu().numpy(), fit, 1)
    passes = sampling.batches * sampling.points
    cost = Cost(passes + 2, passes * asked + K, time.perf_counter() - started)
    return scored(distance.double().cpu().numpy(), full[0], full[1], sampling, "bit", cost)


@register("clever", read={"draws": Draws.read})
def clever(subject: Subject, *, draws: Draws = QUICK) -> Found:
    """CLEVER of every bit: estimated lower bounds of the budget that turns 1, K/8, K/4 and K/2 bits."""
    ground, K = subject.ground, subject.clean.bits
    nearest = None if draws.all_bits else max(1, K // 2)
    found = bit_clever(ground.model, subject.x, draws.sampling(subject), nearest=nearest)
    rows = clever_rows(found, noted(subject.base, draws.note), seed=ground.seed)
    facts = replace(rows[0], value=None, ci95=None)
    for k in range(K):
        asked = found.score[~np.isnan(found.score[:, k]), k]  # of pictures that have it among their nearer half
        if len(asked):
            rows.append(mean_row(facts, "clever[one bit]", asked, seed=ground.seed, at=k))
    return Found(rows, clever_lines(found, rows, fractions(K), ""))
