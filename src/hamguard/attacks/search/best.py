"""The best picture seen so far, by bits still on the wrong side; and which pictures are left to search."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from hamguard.attacks.types import SearchProblem
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError


class Best:
    """The best point of each picture of a problem, the first of equal ones.

    Attributes:
        x: the points, `(B, C, H, W)`; the clean picture before anything was offered.
        wrong: their wrong bits, `(B,)`; infinite before.
    """

    def __init__(self, problem: SearchProblem) -> None:
        self.x = problem.x.clone()
        self.wrong = torch.full((len(self.x),), math.inf, dtype=self.x.dtype, device=self.x.device)

    def offer(self, rows: Tensor, x_adv: Tensor, wrong: Tensor) -> None:
        """Keep the points that are better.

        Args:
            rows: whose points they are, `(b,)`.
            x_adv: the points, `(b, C, H, W)`.
            wrong: their wrong bits, `(b,)`.
        """
        better = wrong < self.wrong[rows]
        self.x[rows[better]] = x_adv[better]
        self.wrong[rows[better]] = wrong[better].to(self.wrong)

    def open(self, early_stop: bool) -> Tensor:
        """Pictures that are still searched, `(b,)`: all of them, or with early stop those with a wrong bit."""
        return (self.wrong > 0).nonzero().flatten() if early_stop else torch.arange(len(self.x), device=self.x.device)


class Turn(Protocol):
    """One start of a search."""

    def __call__(self, problem: SearchProblem, best: Best, live: Tensor, turn: int) -> None:
        """Search the pictures of `live` `(b,)` and offer points to `best`; `turn` is the number of the start."""


def best_of(search: Turn, problem: SearchProblem, restarts: int, early_stop: bool) -> Tensor:
    """The best pictures of several starts, `(B, C, H, W)`; with early stop a solved picture is not started again."""
    best = Best(problem)
    for turn in range(restarts):
        live = best.open(early_stop)
        if len(live) == 0:
            break
        search(problem, best, live, turn)
    return best.x


def check_starts(restarts: int, random_start: bool) -> None:
    """Check the number of starts.

    Raises:
        RequestError: it is below 1, or above 1 where all starts would be the same.
    """
    check_range("restarts", restarts, 1)
    if restarts > 1 and not random_start:
        raise RequestError(
            f"restarts from the clean picture are all alike: got restarts {restarts} without random_start"
        )
