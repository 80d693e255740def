"""What an audit is asked for, and the battery of gradient attacks, which nobody chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.budget import BUDGET, Budget
from hamguard.attacks.guides.registry import guide_named
from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.threat import Threat
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError

STEPS, QUERIES, SAMPLE = 30, 300, 64
"""Gradients of an attack and pictures asked, where the budget does not say, and queries that checks look at."""

LONG = 3
"""A second, longer run of the best cell takes that many times the gradients, from each of two starts."""

Gradients = Literal["rescaled", "plain", "through"]
"""Taken from outputs brought to one size, from outputs as they are, or through steps and saturated parts."""

LOSSES = {"inner": "relaxed codes", "logarithm": "raw logits", "mainstay": "masked quadratic"}
"""What stands for tanh, raw logits and the masked quadratic; each fails on other models."""


@dataclass(frozen=True)
class Cell:
    """One attack of the battery.

    Attributes:
        guide: which code to leave.
        loss: what is made of the model's outputs.
    """

    guide: str
    loss: str

    @property
    def name(self) -> str:
        """What rows and sentences call it."""
        return f"{self.guide}, {LOSSES[self.loss]}"

    @property
    def aware(self) -> bool:
        """Whether the attacker knows labels."""
        return self.guide != "own"

    def attack(self, threat: Threat, steps: int, restarts: int = 1) -> Attack:
        """The cell as an attack with the adaptive search."""
        loss, relaxation = loss_named(self.loss)
        return Attack(
            guide_named(self.guide), loss, AdaptiveSteps(steps, restarts=restarts), threat, relaxation=relaxation
        )


BATTERY = tuple(
    Cell(guide, loss)
    for guide, loss in (
        ("own", "inner"),
        ("optimal", "logarithm"),
        ("center", "mainstay"),
        ("mainstay", "inner"),
        ("center", "inner"),
        ("optimal", "mainstay"),
        ("own", "logarithm"),
        ("mainstay", "mainstay"),
        ("optimal", "inner"),
        ("center", "logarithm"),
        ("own", "mainstay"),
        ("mainstay", "logarithm"),
    )
)
"""Four guides times three losses. The label-free one comes first, so that all queries see it and its figure stands alone; the first
four show every guide and every loss, so that what one of them misses is found soon."""


@dataclass(frozen=True)
class AuditPlan:
    """What a person asks for. All of it is budget or threat; there is nothing to tune.

    Attributes:
        budget: the threat, gradients of each cell of the battery and pictures that the query-only attack asks the search, for each
            picture that still holds; an audit chooses its starts itself.
        answers: whether the search is asked at all.
        distances: whether the search tells distances, or only what it found.
        sample: pictures that the checks look at, the first of the run, at least 2.
        checks: names of the checks to make; all of them where none is named, and none for `none`.
        sources: models whose attacked pictures are tried, too, as rows call them.
        substitute: train a substitute that imitates the codes, and try its pictures, where no source is given.
        endpoint: the search that is asked, `package.module:factory`; empty for the model's own.

    Raises:
        RequestError: a sample below 2, a budget that names starts, or one of another norm than `linf` and `l2`.
    """

    budget: Budget = BUDGET
    answers: bool = True
    distances: bool = True
    sample: int = SAMPLE
    checks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    substitute: bool = True
    endpoint: str = ""

    def __post_init__(self) -> None:
        check_range("sample", self.sample, 2)
        check_choice("norm of an audit", self.budget.threat.norm, ("linf", "l2"))
        if self.budget.restarts is not None:
            raise RequestError(f"an audit chooses its starts itself, got a budget of {self.budget.restarts} restarts")
        object.__setattr__(self, "budget", self.budget.filled(steps=STEPS, queries=QUERIES))
