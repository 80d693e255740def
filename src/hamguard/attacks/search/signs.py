"""Steps of one size: FGSM, I-FGSM (BIM), PGD, MI-FGSM, NI-FGSM, by four settings of one search.

Papers: Goodfellow et al., ICLR 2015 (FGSM); Kurakin et al., ICLR workshop 2017 (BIM); Madry et al., ICLR 2018 (PGD);
Dong et al., CVPR 2018 (MI); Lin et al., ICLR 2020 (NI). With `views` and `translation`: DI, TI and NAG's noise, see `views`.

Deliberate differences: the kept picture is the one with the fewest wrong bits among the points where the model was asked and
the last one; peers keep the last, or report the one before it. With NI's look-ahead the model is asked ahead of the iterate, at a
point that is brought back into the ball (the authors leave it outside), so these points are candidates, too: that costs nothing,
while asking at the iterates would double the passes. The momentum's norm is the mean absolute value per picture, as in SAAT's port,
so that the look-ahead is about a step long; with the sum of NI's equation it would be a step divided by the number of pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hamguard.attacks.search.alpha import SCHEDULES, slope
from hamguard.attacks.search.best import Best, best_of, check_starts
from hamguard.attacks.search.views import PLAIN, View, blur, check_views
from hamguard.attacks.types import SearchProblem
from hamguard.core.checks import check_choice, check_range


@dataclass(frozen=True)
class SignSteps:
    """Steps along the threat's steepest direction (signs for `linf`).

    Attributes:
        steps: number of gradients.
        step_size: length of a step in pixel units; None takes `eps` for one step, else 1/255 or `2.5 eps / steps`, whichever
            is more, so that few steps can still cross the ball.
        schedule: of the step size: `constant`, or `cosine` falling to zero.
        momentum: decay of the accumulated gradient (1 in MI-FGSM), 0 for none.
        nesterov: look ahead along the momentum before taking the gradient (NI-FGSM).
        random_start: begin at a random picture of the ball (PGD).
        restarts: independent starts; the best is kept. More than one needs a random start.
        alpha: slope of the relaxation, `constant`, `published` or `rising`.
        keep: `best` point by wrong bits, or the `last`.
        early_stop: leave a picture alone once no bit is wrong, and compute the others only (where the best is kept).
        views: what the model sees when a gradient is taken; each costs a forward and a backward pass.
        translation: odd size of the kernel that blurs the gradient (TI-FGSM), 0 for none.
    """

    steps: int = 100
    step_size: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    momentum: float = 0.0
    nesterov: bool = False
    random_start: bool = False
    restarts: int = 1
    alpha: Literal["constant", "published", "rising"] = "constant"
    keep: Literal["best", "last"] = "best"
    early_stop: bool = True
    views: tuple[View, ...] = PLAIN
    translation: int = 0

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1)
        check_starts(self.restarts, self.random_start)
        check_range("momentum", self.momentum, 0.0)
        check_choice("step schedule", self.schedule, ("constant", "cosine"))
        check_choice("alpha schedule", self.alpha, SCHEDULES)
        check_choice("keep", self.keep, ("best", "last"))
        check_views(self.views, self.translation)

    def size(self, reach: float) -> float:
        """Step size where a value can move so far."""
        if self.step_size is not None:
            return self.step_size
        return reach if self.steps == 1 else max(1 / 255, 2.5 * reach / self.steps)

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`, inside the threat."""
        return best_of(self._search, problem, self.restarts, self._stops)

    @property
    def _stops(self) -> bool:
        return self.early_stop and self.keep == "best"

    def _search(self, problem: SearchProblem, best: Best, live: Tensor, turn: int) -> None:
        x, threat = problem.x, problem.threat
        at = threat.start(x, problem.index, problem.seed, turn) if self.random_start else x.clone()
        memory = torch.zeros_like(x)
        for step in range(self.steps):
            size = self._size(step, threat.reach)
            # 1. where the gradient is taken: here, or ahead along the momentum
            whole = len(live) == len(x)  # then nothing need be gathered
            here, clean = (at, x) if whole else (at[live], x[live])
            if self.nesterov:
                here = threat.project(here - self.momentum * size * memory[live], clean)
            # 2. the gradient, and what the model makes of that point
            gradient, _, wrong = problem.gradient(
                here, live, slope(self.alpha, step, self.steps), views=self.views, step=turn * self.steps + step
            )
            if self.keep == "best":
                best.offer(live, here, wrong)
            if self._stops and bool((wrong == 0).any()):
                gradient, live = gradient[wrong > 0], live[wrong > 0]
                if len(live) == 0:
                    return
            # 3. its memory
            gradient = blur(gradient, self.translation)
            if self.momentum:
                gradient = memory[live] = self.momentum * memory[live] + gradient / mean_size(gradient)
            # 4. the step
            if whole and len(live) == len(x):
                at = threat.project(at - size * threat.steepest(gradient, at), x)
            else:
                at[live] = threat.project(at[live] - size * threat.steepest(gradient, at[live]), x[live])
        best.offer(live, at[live], problem.score(at[live], live))  # the last picture counts, too

    def _size(self, step: int, reach: float) -> float:
        factor = 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.schedule == "cosine" else 1.0
        return factor * self.size(reach)


def mean_size(gradient: Tensor) -> Tensor:
    """Mean absolute value of each picture's gradient, `(b, 1, 1, 1)`, above 0."""
    return gradient.abs().flatten(1).mean(1).clamp(min=1e-30).view(-1, 1, 1, 1)
