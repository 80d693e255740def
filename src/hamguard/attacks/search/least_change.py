"""The least Euclidean change that makes a loss vanish: the search of C&W.

Paper: N. Carlini, D. Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017, the L2 attack:
minimize `||x' - x||^2 + c f(x')` over w, `x' = (tanh(w) + 1) / 2`, with Adam. The constant c is searched for each picture: ten
times larger as long as nothing succeeded, then halfway between the largest that failed and the smallest that succeeded.

Deliberate differences:

* The change is bounded: an iterate outside the threat is brought back into it. Where nothing inside succeeds, the iterate with the
  fewest wrong bits is kept; the authors return nothing.
* Success is asked of the picture on the 8-bit grid, and its length counts. The authors' pictures may fail after rounding, for which
  the paper proposes a second search.
* Far fewer gradients, larger steps and no early abort. A black or white value has next to no slope in w, so that small steps
  would leave it where it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.attacks.search.best import Best
from hamguard.attacks.search.gradient_descent import TINY, adam_moments
from hamguard.attacks.types import SearchProblem
from hamguard.core.checks import check_range

INSIDE = 1 - 1e-6
"""What the authors multiply pixels in [-1, 1] with, so that atanh is finite."""


@dataclass(frozen=True)
class LeastChange:
    """Adam on w for each of several constants c, the least successful change kept.

    Attributes:
        steps: number of gradients, all constants together; that of a success on the grid is one more.
        constants: how many values of c are tried, at most one a gradient.
        first: the first of them.
        rate: of Adam.
        rounding: success is asked of the picture on the 8-bit grid.
    """

    steps: int = 500
    constants: int = 5
    first: float = 0.01
    rate: float = 0.1
    rounding: bool = True

    def __post_init__(self) -> None:
        check_range("constants", self.constants, 1)
        check_range("steps", self.steps, 1)
        for name in ("first", "rate"):
            check_range(name, getattr(self, name), 0.0)

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`, inside the threat; where none succeeded, those with the fewest wrong bits."""
        x = problem.x
        best, found, length = Best(problem), x.clone(), torch.full_like(x.flatten(1)[:, 0], math.inf)
        c, low, high = torch.full_like(length, self.first), torch.zeros_like(length), torch.full_like(length, math.inf)
        constants = min(self.constants, self.steps)
        for number in range(constants):
            share = self.steps // constants + (number < self.steps % constants)
            hit = self._descend(problem, best, found, length, c, share)
            high = torch.where(hit, torch.minimum(high, c), high)
            low = torch.where(hit, low, torch.maximum(low, c))
            c = torch.where(high.isfinite(), (low + high) / 2, 10 * c)
        return torch.where(length.isfinite().view(-1, 1, 1, 1), found, best.x)

    def _descend(
        self, problem: SearchProblem, best: Best, found: Tensor, length: Tensor, c: Tensor, steps: int
    ) -> Tensor:
        """Adam with one c a picture, whose successes go to `found` and `length`; returns which pictures had any, `(B,)` bool."""
        x, threat = problem.x, problem.threat
        rows, hit = torch.arange(len(x), device=x.device), torch.zeros_like(c, dtype=torch.bool)
        w = torch.atanh((2 * x - 1) * INSIDE)  # (B, C, H, W)
        first, second = torch.zeros_like(w), torch.zeros_like(w)
        for step in range(steps):
            inside = (w.tanh() + 1) / 2  # the change of variables
            at = threat.project(inside, x)
            gradient, f, wrong = problem.gradient(at, rows, 1.0, step=step)
            best.offer(rows, at, wrong)
            hit |= self._keep(problem, at, f, found, length)
            gradient = 2 * (at - x) + c.view(-1, 1, 1, 1) * gradient  # of ||x' - x||^2 + c f(x') by x'
            gradient = gradient * (1 - w.tanh().square()) / 2  # by w
            first, second, mean, spread = adam_moments(first, second, gradient, step)
            w = w - self.rate * mean / (spread + TINY)
        return hit

    def _keep(self, problem: SearchProblem, at: Tensor, f: Tensor, found: Tensor, length: Tensor) -> Tensor:
        """Keep those that succeed with a smaller change than any before; returns which succeed, `(B,)` bool."""
        x, threat = problem.x, problem.threat
        put = threat.on_grid(at, x) if self.rounding else at
        size = torch.linalg.vector_norm((put - x).flatten(1), dim=1)
        hit = f <= 0
        rows = (hit & (size < length)).nonzero().flatten()
        if self.rounding and len(rows):
            hit[rows] = problem.gradient(put[rows], rows, 1.0)[1] <= 0
            rows = rows[hit[rows]]
        found[rows], length[rows] = put[rows], size[rows]
        return hit
