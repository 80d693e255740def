"""One pixel after another, chosen by a saliency map: the search of JSMA.

Paper: N. Papernot, P. McDaniel, S. Jha, M. Fredrikson, Z. B. Celik, A. Swami, "The Limitations of Deep Learning in Adversarial
Settings", EuroS&P 2016. Kept from it: the map of first derivatives, the greedy choice, full moves (theta = 1), a moved pixel leaves
the search, and the end at the first picture that reaches its goal.

Deliberate differences:

* Papernot's map multiplies what the wanted class gains by what all others lose, because a softmax shares one sum. Bits share
  nothing. Here the map is what the guide's loss falls by, to first order, when the pixel takes its best color: a sum over channels
  and, inside the loss, over bits.
* A pixel goes to whichever end of its range is better; the paper raises all values, or lowers all of them.
* Where the budget has more pixels than there are `steps`, several move at once. The paper always moves two, `together=2`.
* The kept picture is the first of those with the fewest wrong bits, not the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hamguard.attacks.search.alpha import SCHEDULES, slope
from hamguard.attacks.search.best import Best
from hamguard.attacks.types import SearchProblem
from hamguard.core.checks import check_choice, check_range


@dataclass(frozen=True)
class FewPixels:
    """Greedy choice of pixels; each moves once, as far as the threat lets it.

    Attributes:
        steps: number of gradients at most; None for as many as the budget has moves.
        together: pixels that move at a step; None takes as many as bring the whole budget into `steps`.
        alpha: slope of the relaxation, `constant`, `published` or `rising`.
    """

    steps: int | None = 100
    together: int | None = None
    alpha: Literal["constant", "published", "rising"] = "published"

    def __post_init__(self) -> None:
        check_choice("alpha schedule", self.alpha, SCHEDULES)
        for name in ("steps", "together"):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 1)

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`, inside the threat."""
        x, threat = problem.x, problem.threat
        budget = threat.pixels(x)
        together = min(self.together or math.ceil(budget / (self.steps or budget)), budget)
        steps = min(self.steps or budget, math.ceil(budget / together))
        best, at, live = Best(problem), x.clone(), torch.arange(len(x), device=x.device)
        free = torch.ones_like(x[:, 0], dtype=torch.bool)  # (B, H, W), pixels that did not move yet
        for step in range(steps):
            # 1. the gradient, and what the model makes of this point
            gradient, _, wrong = problem.gradient(at[live], live, slope(self.alpha, step, steps), step=step)
            best.offer(live, at[live], wrong)
            gradient, live = gradient[wrong > 0], live[wrong > 0]
            if len(live) == 0:
                return best.x
            # 2. the best color of every pixel, and the saliency map that goes with it
            color = (x[live] + (-threat.reach * gradient.sign()).clamp(min=threat.low)).clamp(0, 1)
            salient = saliency(gradient, color - at[live]).masked_fill(~free[live], -math.inf)  # (b, H, W)
            # 3. the most salient pixels move, and leave the search
            places = salient.flatten(1).topk(min(together, budget - step * together), dim=1).indices
            chosen = torch.zeros_like(salient).flatten(1).scatter_(1, places, 1.0).view_as(salient).bool()
            free[live] &= ~chosen
            at[live] = threat.project(torch.where(chosen[:, None], color, at[live]), x[live])
        best.offer(live, at[live], problem.score(at[live], live))  # the last picture counts, too
        return best.x


def saliency(gradient: Tensor, move: Tensor) -> Tensor:
    """What the loss falls by, to first order, when a pixel moves: `S(p) = -sum_c g_pc m_pc`, `(B, H, W)`.

    Args:
        gradient: of the loss, `(B, C, H, W)`.
        move: how each value would move, the same shape.
    """
    return -(gradient * move).sum(1)
