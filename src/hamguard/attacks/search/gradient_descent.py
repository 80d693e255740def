"""Raw or normalized gradient steps, SGD and Adam on the pixels: the searches of the published DHTA, HAG and SDHA.

DHTA (ECCV 2020): steps of Euclidean length 1, 2,000 of them, slope schedule. ProS-GAN's DHTA and THA's HAG: the raw gradient.
SAAT's HAG: SGD, rate 100, momentum 0.9. SAAT's SDHA: Adam, rate 0.01, 1,500 steps.

Deliberate differences: the loss is a sum over pictures, so a raw step does not depend on the batch size. A published form has a
mean over its batch: methods give `raw` and `sgd` its rate divided by its batch size, and each says which that is. Normalized steps
and Adam do not see the factor. Adam and SGD keep their state per value, as the code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hamguard.attacks.search.alpha import SCHEDULES, slope
from hamguard.attacks.types import SearchProblem
from hamguard.core.checks import check_choice, check_range

BETAS, TINY = (0.9, 0.999), 1e-8  # Adam's own


def adam_moments(first: Tensor, second: Tensor, gradient: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adam's moments after gradient number `step` (from 0), then the mean and the spread that a step is made of, all of one shape.

    D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015: a step is `rate * mean / (spread + TINY)`.
    """
    first = BETAS[0] * first + (1 - BETAS[0]) * gradient
    second = BETAS[1] * second + (1 - BETAS[1]) * gradient.square()
    mean = first / (1 - BETAS[0] ** (step + 1))  # both began at zero
    spread = (second / (1 - BETAS[1] ** (step + 1))).sqrt()
    return first, second, mean, spread


@dataclass(frozen=True)
class GradientSteps:
    """First-order optimization of the pixels with a projection after every step.

    Attributes:
        rule: `raw` gradient, `normalized` to Euclidean length 1 a picture, `sgd` with momentum, `adam`, or `amsgrad`, whose
            steps do not grow again while gradients fade (S. Reddi et al., ICLR 2018).
        rate: step length or learning rate.
        steps: number of gradients.
        momentum: of `sgd`.
        alpha: slope of the relaxation, `constant`, `published` or `rising`.
        random_start: begin at a random picture of the ball.
        keep: `best` iterate by wrong bits, the last one included, or the `last` (all peers).
    """

    rule: Literal["raw", "normalized", "sgd", "adam", "amsgrad"] = "normalized"
    rate: float = 1.0
    steps: int = 2000
    momentum: float = 0.0
    alpha: Literal["constant", "published", "rising"] = "published"
    random_start: bool = False
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, ("raw", "normalized", "sgd", "adam", "amsgrad"))
        check_choice("alpha schedule", self.alpha, SCHEDULES)
        check_choice("keep", self.keep, ("best", "last"))
        check_range("steps", self.steps, 1)
        check_range("rate", self.rate, 0.0)

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`, inside the threat."""
        x, threat = problem.x, problem.threat
        rows = torch.arange(len(x), device=x.device)
        at = threat.start(x, problem.index, problem.seed) if self.random_start else x.clone()
        kept, fewest = at.clone(), torch.full((len(x),), math.inf, dtype=x.dtype, device=x.device)
        first, second, largest = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
        for step in range(self.steps):
            gradient, _, wrong = problem.gradient(at, rows, slope(self.alpha, step, self.steps), step=step)
            better = wrong < fewest
            kept[better], fewest[better] = at[better], wrong[better].to(fewest)
            if self.rule == "normalized":
                length = torch.linalg.vector_norm(gradient.flatten(1), dim=1).clamp(min=1e-30)
                gradient = gradient / length.view(-1, 1, 1, 1)
            elif self.rule == "sgd":
                first = self.momentum * first + gradient
                gradient = first
            elif self.rule in ("adam", "amsgrad"):
                first, second, mean, spread = adam_moments(first, second, gradient, step)
                if self.rule == "amsgrad":
                    spread = largest = torch.maximum(largest, spread)
                gradient = mean / (spread + TINY)
            at = threat.project(at - self.rate * gradient, x)
            problem.mark(step + 1, at)
        if self.keep == "last":
            return at
        better = problem.score(at, rows) < fewest
        kept[better] = at[better]
        return kept
