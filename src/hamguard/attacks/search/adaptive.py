"""Steps whose size each picture finds for itself: few gradients, no setting but their number.

Paper: F. Croce, M. Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks",
ICML 2020 (APGD). Kept from it: the checkpoints, the two tests for halving the step size, the way back to the best point, the
memory of 0.75.

Deliberate differences, chosen together at 10, 30 and 100 gradients on validation pictures of four undefended models:

* The slope of the relaxation rises in four stages (`alpha.RISING`). That is most of the gain. Losses of two slopes are not
  comparable, so every stage counts anew.
* The size also falls by a straight line to 0, so that ten steps settle; APGD's is only halved.
* Halving became a guard: a checkpoint less than five steps after the last look is passed by, and the loss need fall in half of
  the steps only. As printed the tests cost up to 0.003 of MAP at ten gradients; like this they neither cost nor gain there.
* The memory is that of the gradient, each divided by its mean absolute value (as in MI-FGSM); APGD's is that of the iterate.
* The result is the point with the fewest wrong bits, the last one included; APGD's is that of the best loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.attacks.search.alpha import slope
from hamguard.attacks.search.best import Best, best_of, check_starts
from hamguard.attacks.search.signs import mean_size
from hamguard.attacks.search.views import PLAIN, View, blur, check_views
from hamguard.attacks.types import SearchProblem
from hamguard.core.checks import check_range

MEMORY = 0.75
"""Decay of the accumulated gradient; APGD's alpha."""

OFTEN = 0.5
"""Part of the steps since the last look in which the loss must have fallen; APGD's rho is 0.75."""

LONG = 5
"""Steps that a look needs; fewer say too little."""

START = 2.0
"""First step size in radii of the ball, as in APGD."""


def checkpoints(steps: int) -> list[int]:
    """Steps at which the size is looked at: APGD's, 22% of the run first, then gaps that shrink by 3% to 6%.

    >>> checkpoints(100), checkpoints(10), checkpoints(1)
    ([22, 41, 57, 70, 80, 87, 93, 99], [3, 5, 6, 7, 8, 9], [])
    """
    found, before, at = [], 0, 22  # in percent, so that nothing is rounded twice
    while at < 100:
        found.append(-(-at * steps // 100))
        before, at = at, at + max(at - before - 3, 6)
    return sorted({step for step in found if step < steps})


class Pace:
    """Step size, best point and recent losses of each picture; no picture's depend on another's.

    Attributes:
        size: step size, `(B,)`.
        x: point with the lowest loss, `(B, C, H, W)`.
        gradient: gradient there, `(B, C, H, W)`.
        loss: that loss, `(B,)`.
        since: step of the last look.
    """

    def __init__(self, at: Tensor, size: float) -> None:
        self.size = at.new_full((len(at),), size)
        self.x, self.gradient = at.clone(), torch.zeros_like(at)
        self.forget(0)

    def forget(self, step: int) -> None:
        """Count anew from a step, all but the size: losses before it do not compare with those to come."""
        self.loss = torch.full_like(self.size, math.inf)
        self._loss_before = self.loss.clone()
        self._last = -self.loss  # the first loss falls from nothing
        self._falls = torch.zeros_like(self.size)
        self._halved = torch.zeros_like(self.size, dtype=torch.bool)
        self.since = step

    def record(self, rows: Tensor, x_adv: Tensor, gradient: Tensor, loss: Tensor) -> None:
        """Note what the model made of `x_adv` `(b, C, H, W)`, the points of `rows` `(b,)`."""
        self._falls[rows] += (loss < self._last[rows]).to(self._falls)
        self._last[rows] = loss
        better = loss < self.loss[rows]
        to = rows[better]
        self.x[to], self.gradient[to], self.loss[to] = x_adv[better], gradient[better], loss[better]

    def halve(self, rows: Tensor, step: int) -> Tensor:
        """Halve the size of those of `rows` that do not get on; returns them: they go back to their best points."""
        rarely = self._falls < OFTEN * (step - self.since)
        stuck = ~self._halved & (self.loss >= self._loss_before)
        self._halved = rarely | stuck
        self._loss_before, self.since = self.loss.clone(), step
        self._falls.zero_()
        hit = rows[self._halved[rows]]
        self.size[hit] /= 2
        return hit


@dataclass(frozen=True)
class AdaptiveSteps:
    """Momentum steps with a size of each picture's own.

    Attributes:
        steps: number of gradients.
        random_start: begin at a random picture of the ball.
        restarts: independent starts; the best is kept. More than one needs a random start.
        early_stop: leave a picture alone once no bit is wrong, and compute the others only.
        views: what the model sees when a gradient is taken; each costs a forward and a backward pass.
        translation: odd size of the kernel that blurs the gradient (TI-FGSM), 0 for none.
    """

    steps: int = 30
    random_start: bool = True
    restarts: int = 1
    early_stop: bool = True
    views: tuple[View, ...] = PLAIN
    translation: int = 0

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1)
        check_starts(self.restarts, self.random_start)
        check_views(self.views, self.translation)

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`, inside the threat."""
        return best_of(self._search, problem, self.restarts, self.early_stop)

    def _search(self, problem: SearchProblem, best: Best, live: Tensor, turn: int) -> None:
        x, threat, marks = problem.x, problem.threat, checkpoints(self.steps)
        at = threat.start(x, problem.index, problem.seed, turn) if self.random_start else x.clone()
        memory, pace, before = torch.zeros_like(x), Pace(at, START * threat.reach), slope("rising", 0, self.steps)
        for step in range(self.steps):
            alpha, here = slope("rising", step, self.steps), at[live]  # each is gathered once a step: photos are large
            # 1. the gradient, and what the model makes of this point
            gradient, loss, wrong = problem.gradient(here, live, alpha, views=self.views, step=turn * self.steps + step)
            best.offer(live, here, wrong)
            if self.early_stop and bool((wrong == 0).any()):
                left = wrong > 0
                gradient, loss, here, live = gradient[left], loss[left], here[left], live[left]
                if len(live) == 0:
                    return
            # 2. its memory
            gradient = blur(gradient, self.translation)
            gradient = gradient / mean_size(gradient)
            along = memory[live] = MEMORY * memory[live] + gradient
            # 3. the size, and the way back to the best point
            if alpha != before:
                pace.forget(step)
            before = alpha
            pace.record(live, here, gradient, loss)
            if step in marks and step - pace.since >= LONG:
                back = pace.halve(live, step)
                at[back], memory[back] = pace.x[back], pace.gradient[back]
                here, along = at[live], memory[live]
            # 4. the step
            size = (1 - step / self.steps) * pace.size[live].view(-1, 1, 1, 1)
            at[live] = threat.project(here - size * threat.steepest(along, here), x[live])
        best.offer(live, at[live], problem.score(at[live], live))  # the last picture counts, too
