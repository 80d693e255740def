"""A case whose attack answers by a formula, so that each check is asked alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.types import Floats
from hamguard.evaluation.audit.checks.check import Case, Form
from hamguard.evaluation.audit.plan import Cell
from hamguard.evaluation.audit.worst import Worst

COUNT = 4


@dataclass
class Told(Case):
    """A case that carries out no attack."""

    answer: Callable[[Form], float] = lambda form: 0.5
    asked: list[Form] = field(default_factory=list)

    def ap(self, **changes: Any) -> Floats:
        form = replace(self.form, **changes)
        self.asked.append(form)
        return np.full(COUNT, self.answer(form))


def told(answer: Callable[[Form], float], threat: Threat = Linf(0.1), steps: int = 30, guide: str = "center") -> Told:
    """Four queries with a clean AP of 0.9, a floor of 0.1 and nothing found yet."""
    worst = Worst(np.full(COUNT, 0.9), np.full(COUNT, 0.1), np.zeros((COUNT, 2, 2), np.uint8))
    bench: Any = SimpleNamespace(
        threat=threat,
        steps=steps,
        budget=Budget(threat, steps=steps, queries=7),
        clean=worst.clean,
        clean_pixels=worst.pixels,
        floors={guide: worst.floor},
        sample=lambda: np.arange(COUNT),
        word="MAP",
        blind=lambda cell: cell,
    )
    return Told(bench, worst, Form(Cell(guide, "inner"), threat.eps, steps), answer=answer)
