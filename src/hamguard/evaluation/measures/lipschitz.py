"""Local Lipschitz constants of outputs, on logits and on tanh codes (H.4; definitions ours).

The estimate is the largest `|f_k(x1) - f_k(x)| / ||x1 - x||` over points x1 that were tried, so it is a lower bound of the
constant. For a linear function it is exact: `||w_k||_1` in an linf ball, `||w_k||_2` in an L2 ball.

It is asked of the logits and of tanh codes, at the same points. Saturation makes tanh look insensitive where the logits are not:
that is masking, not robustness, and `relaxed_slope` far below `slope` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.threat import Linf, Norm, Threat
from hamguard.attacks.types import Victim
from hamguard.codes.binary import relax
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Floats
from hamguard.evaluation.measures.gradients import blocks, draw_in_ball, jacobian
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import Cost, mean_row, picture_numbers

NEAR = 1 / 16
"""Part of the radius at which the first ascent point is tried, too: slopes are steepest near the picture as often as far off."""

DRAWS, STEPS = 16, 2


@dataclass(frozen=True)
class LocalLipschitz:
    """Largest slopes found in a ball around each picture, outputs in units per pixel unit of the ball's norm.

    Attributes:
        bits: of every logit, `(n, K)`.
        relaxed_bits: of every `tanh(alpha z_k)`, `(n, K)`.
        norm: of the ball.
        radius: of the ball.
        alpha: slope of the relaxation.
        cost: what was spent.
    """

    bits: Floats
    relaxed_bits: Floats
    norm: Norm
    radius: float
    alpha: float
    cost: Cost = field(compare=False)

    @property
    def slope(self) -> Floats:
        """`max ||z(x1) - z(x)||_inf / ||x1 - x||`, `(n,)`."""
        return np.asarray(self.bits.max(1))

    @property
    def relaxed_slope(self) -> Floats:
        """The same of tanh codes, `(n,)`."""
        return np.asarray(self.relaxed_bits.max(1))


def local_lipschitz(
    model: Victim,
    x: Tensor,
    *,
    ball: Threat = Linf(8 / 255),
    alpha: float = 1.0,
    draws: int = DRAWS,
    steps: int = STEPS,
    index: Sequence[int] | None = None,
    seed: int = 0,
) -> LocalLipschitz:
    """Largest slopes over random points of the ball and over points that gradient ascent finds for every bit, both ways.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        ball: norm and radius.
        alpha: slope of the tanh.
        draws: random points a picture.
        steps: ascent steps of full size for every bit, up and down; the first goes along the gradient at the picture.
        index: numbers of the pictures in the run.
        seed: of the random points.

    Raises:
        RequestError: pictures outside [0, 1], alpha of 0 or below, fewer than one step, negative draws, or no gradient.
        RunError: a gradient is not finite.
    """
    started = time.perf_counter()
    numbers = picture_numbers(index, len(x))
    check_range("draws", draws, 0)
    check_range("steps", steps, 1)
    if not alpha > 0:
        raise RequestError(f"alpha must be above 0, got {alpha:g}")
    slopes = []
    for part in blocks(len(x), x, model.bits):
        clean_code(model, x[part])
        slopes.append(_Slopes(model, x[part], ball, alpha))
        slopes[-1].at_random(draws, numbers[part], seed)
        slopes[-1].uphill(steps)
    K = model.bits
    cost = Cost(
        2 + draws + 2 * K * (1 + steps) + 2 * K * (steps - 1), K + 2 * K * (steps - 1), time.perf_counter() - started
    )
    found = torch.cat([one.best for one in slopes]).double().cpu().numpy()  # (n, 2, K)
    return LocalLipschitz(found[:, 0], found[:, 1], ball.norm, ball.eps, alpha, cost)


class _Slopes:
    """The largest slopes of a batch so far: `best` is `(b, 2, K)`, of logits and of tanh codes."""

    def __init__(self, model: Victim, x: Tensor, ball: Threat, alpha: float) -> None:
        self.model, self.x, self.ball, self.alpha = model, x, ball, alpha
        self.z, self.gradient = jacobian(model.logits, x)  # (b, K), (b, K, C, H, W)
        self.best = torch.zeros(len(x), 2, self.z.shape[1], dtype=self.z.dtype, device=x.device)

    @torch.no_grad()
    def offer(self, points: Tensor) -> None:
        """Try points, `(b, P, C, H, W)`."""
        for place in range(points.shape[1]):
            away = self.ball.length(points[:, place] - self.x).flatten()  # (b,)
            z = self.model.logits(points[:, place])  # (b, K)
            moved = torch.stack([z - self.z, relax(z, self.alpha) - relax(self.z, self.alpha)], 1).abs()  # (b, 2, K)
            slope = torch.where(away > 0, moved.flatten(1).T / away, 0.0).T.view_as(moved)
            self.best = torch.maximum(self.best, slope)

    def at_random(self, draws: int, numbers: Sequence[int], seed: int) -> None:
        """Points drawn for each picture by its own generator."""
        if draws:
            points = [
                draw_in_ball(one, self.ball, draws, torch_generator(seed, "lipschitz", number))
                for one, number in zip(self.x, numbers, strict=True)
            ]
            self.offer(torch.stack(points))

    def uphill(self, steps: int) -> None:
        """Points where every logit is much larger, or much smaller, than at the picture."""
        b, K = self.z.shape
        center = self.x[:, None].expand(-1, K, -1, -1, -1).flatten(0, 1)  # (b K, C, H, W)
        for sign in (1, -1):
            direction = sign * self.ball.steepest(self.gradient.flatten(0, 1))
            self.offer(self._around(center, direction, NEAR * self.ball.eps))
            points = self._around(center, direction, self.ball.eps)
            self.offer(points)
            for _ in range(steps - 1):
                at = points.flatten(0, 1).requires_grad_()
                with torch.enable_grad():
                    own = (
                        self.model.logits(at).view(b, K, K).diagonal(dim1=1, dim2=2)
                    )  # point k of a picture climbs bit k
                    (gradient,) = torch.autograd.grad(own.sum(), at)
                step = sign * self.ball.eps * self.ball.steepest(gradient)
                points = self.ball.project(at.detach() + step, center).view_as(points)
                self.offer(points)

    def _around(self, center: Tensor, direction: Tensor, length: float) -> Tensor:
        return self.ball.project(center + length * direction, center).view(*self.gradient.shape)


def lipschitz_rows(found: LocalLipschitz, base: Row, *, seed: int = 0) -> list[Row]:
    """Three rows, means over pictures: the slope of the logits, of the tanh codes, and the mean over bits of the logits' slopes.

    They are `lipschitz[logits]`, `lipschitz[tanh, alpha=...]` and `lipschitz[logits, mean bit]`.
    """
    threat = {"norm": found.norm, "eps": found.radius, "grid": "none"}
    row = found.cost.on(replace(base, threat=threat, task="query"))
    values = {
        "lipschitz[logits]": found.slope,
        f"lipschitz[tanh, alpha={found.alpha:g}]": found.relaxed_slope,
        "lipschitz[logits, mean bit]": found.bits.mean(1),
    }
    return [mean_row(row, metric, value, seed=seed) for metric, value in values.items()]


@register("lipschitz")
def lipschitz(subject: Subject, *, draws: int = DRAWS, steps: int = STEPS) -> Found:
    """Steepest change of an output that was found within the budget, of raw outputs and of tanh codes."""
    ground, ball = subject.ground, subject.budget.threat
    found = local_lipschitz(ground.model, subject.x, ball=ball, draws=draws, steps=steps, seed=ground.seed)
    rows = lipschitz_rows(found, subject.base, seed=ground.seed)
    each: list[tuple[str, str, Floats]] = [
        ("logits", "steepest raw output, per unit of eps", found.slope),
        ("tanh", "steepest tanh output; far below the raw one: saturated", found.relaxed_slope),
        ("mean bit", "raw outputs, mean over bits", found.bits.mean(1)),
    ]
    pairs = zip(each, rows, strict=True)
    return Found(
        rows, [Line(f"Lipschitz, {n}", text, "lower", "number", row, values) for (n, text, values), row in pairs]
    )
