"""Steps of one size: FGSM, I-FGSM (BIM), PGD, MI-FGSM, NI-FGSM, by four settings of one search.

Papers: Goodfellow et al., ICLR 2015 (FGSM); Kurakin et al., ICLR workshop 2017 (BIM); Madry et al., ICLR 2018 (PGD);
Dong et al., CVPR 2018 (MI); Lin et al., ICLR 2020 (NI).

Deliberate differences: the kept picture is the iterate with the fewest wrong bits, the last one included; peers keep
the last, or report the one before it. The momentum's norm is counted per picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hamguard.attacks.problem import Problem
from hamguard.attacks.search.alpha import slope
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
        alpha: slope of the relaxation, `constant` or `published`.
        keep: `best` iterate by wrong bits, or the `last`.
        early_stop: leave a picture alone once no bit is wrong, and compute the others only.
    """

    steps: int = 100
    step_size: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    momentum: float = 0.0
    nesterov: bool = False
    random_start: bool = False
    restarts: int = 1
    alpha: Literal["constant", "published"] = "constant"
    keep: Literal["best", "last"] = "best"
    early_stop: bool = True

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1)
        check_range("restarts", self.restarts, 1, None if self.random_start else 1)
        check_range("momentum", self.momentum, 0.0)
        check_choice("step schedule", self.schedule, ("constant", "cosine"))
        check_choice("alpha schedule", self.alpha, ("constant", "published"))
        check_choice("keep", self.keep, ("best", "last"))

    def size(self, eps: float) -> float:
        """Step size at a radius."""
        if self.step_size is not None:
            return self.step_size
        return eps if self.steps == 1 else max(1 / 255, 2.5 * eps / self.steps)

    def __call__(self, problem: Problem) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`, inside the threat."""
        rows = torch.arange(len(problem.x), device=problem.x.device)
        best = problem.x.clone()
        fewest = torch.full((len(rows),), math.inf, dtype=problem.x.dtype, device=problem.x.device)
        for turn in range(self.restarts):
            found, wrong = self._once(problem, turn)
            better = wrong < fewest
            best[better], fewest[better] = found[better], wrong[better]
        return best

    def _once(self, problem: Problem, turn: int) -> tuple[Tensor, Tensor]:
        x, threat = problem.x, problem.threat
        live = torch.arange(len(x), device=x.device)
        at = threat.start(x, problem.index, problem.seed, turn) if self.random_start else x.clone()
        kept, fewest = at.clone(), torch.full((len(x),), math.inf, dtype=x.dtype, device=x.device)
        memory = torch.zeros_like(x)
        length = self.size(threat.eps)
        for step in range(self.steps):
            here = at[live]
            if self.nesterov:
                here = threat.project(here - self.momentum * length * memory[live], x[live])
            gradient, _, wrong = problem.gradient(here, live, slope(self.alpha, step, self.steps))
            if self.keep == "best" and not self.nesterov:
                self._keep(kept, fewest, at, wrong, live)
            if self.momentum:
                scale = gradient.abs().flatten(1).mean(1).clamp(min=1e-30).view(-1, 1, 1, 1)
                memory[live] = self.momentum * memory[live] + gradient / scale
                gradient = memory[live]
            if self.early_stop and self.keep == "best" and not self.nesterov and bool((wrong == 0).any()):
                live, gradient = live[wrong > 0], gradient[wrong > 0]
                if len(live) == 0:
                    break
            factor = 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.schedule == "cosine" else 1.0
            at[live] = threat.project(at[live] - factor * length * threat.steepest(gradient), x[live])
        if len(live):  # the last picture counts, too
            self._keep(kept, fewest, at, problem.score(at[live], live), live, always=self.keep == "last")
        return kept, fewest

    @staticmethod
    def _keep(kept: Tensor, fewest: Tensor, at: Tensor, wrong: Tensor, live: Tensor, always: bool = False) -> None:
        better = live if always else live[wrong < fewest[live]]
        kept[better] = at[better]
        fewest[better] = (wrong if always else wrong[wrong < fewest[live]]).to(fewest)
