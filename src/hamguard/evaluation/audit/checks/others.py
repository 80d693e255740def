"""Whether attackers who know less do more harm: pictures made on another model, and answers of the search alone."""

from __future__ import annotations

import numpy as np

from hamguard.evaluation.attack.measure import FEW
from hamguard.evaluation.audit.checks.check import SLACK, Case, Check, judged, register

MISLEAD = "gradients of this model mislead"


@register("query-only")
def answers_no_stronger(case: Case, *, by_mean: bool = False) -> Check:
    """Share of the queries where the query-only attack did more harm than all gradients.

    Fails above 5%: what sees only answers cannot know more than what sees the model, unless gradients mislead.

    Args:
        case: the attack, and what the query-only attack made.
        by_mean: the figure is how much more harm it does in the mean instead, and 0.01 the most.
    """
    if not by_mean:
        return _by_queries(case, "answers", "query-only", "an attacker who sees only answers")
    asked = case.bench.budget.queries
    found = float(case.stages("answers")[-1].ap.mean())
    case.note(f"query-only, {asked} pictures asked", found)
    return _by_mean(case, "query-only", found, f"{case.word} of {found:.3f} after {asked} pictures asked", "gradients")


@register("transfer")
def transfer_no_stronger(case: Case, *, by_mean: bool = False) -> Check:
    """Share of the queries where pictures made on another model did more harm than all gradients of this one.

    Fails above 5%, for the same reason.

    Args:
        case: the attack, and what was made on other models.
        by_mean: the figure is how much more harm they do in the mean instead, and 0.01 the most.
    """
    if not by_mean:
        return _by_queries(case, "transfer", "transfer", "pictures made on another model")
    stage, form = case.stages("transfer")[-1], case.form
    found = float(stage.ap.mean())
    case.note(stage.name, found, guide=stage.guide, eps=form.eps, steps=stage.steps, restarts=stage.restarts)
    return _by_mean(case, "transfer", found, f"{case.word} of {found:.3f} under pictures {stage.name}", "its own")


def _by_queries(case: Case, kind: str, name: str, who: str) -> Check:
    numbers = [stage.numbers for stage in case.stages(kind)]
    if not numbers:
        return Check(name, None, None, f"{who}: left out of this audit")
    at = np.unique(np.concatenate(numbers))
    better = case.worst.under(kind)[at] < case.worst.under("gradient")[at] - SLACK
    value = float(better.mean())
    said = f"{who} did more harm than all gradients on {value:.0%} of {len(at)} queries"
    return judged(name, value, FEW, said, MISLEAD)


def _by_mean(case: Case, name: str, found: float, said: str, by: str) -> Check:
    own = case.map()
    return judged(name, max(0.0, own - found), SLACK, f"{said}, {own:.3f} under {by}", MISLEAD)
