"""The verdict: three sentences that an engineer understands, made from the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hamguard.core.rows import size_text
from hamguard.core.types import Floats
from hamguard.evaluation.audit.answers import AnswerCurve
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.checks.check import Check
from hamguard.evaluation.audit.worst import Worst
from hamguard.evaluation.originals import TOP

BROKEN, WEAKENED = 0.8, 0.2
"""Share of the way from the clean MAP to the floor from which a search counts as broken, as weakened; below, it holds."""


@dataclass(frozen=True)
class Verdict:
    """What the audit says.

    Attributes:
        grade: `broken`, `weakened` or `holds`.
        lost: share of the way from the clean score to the floor.
        trusted: whether every check that was made passed.
        sentences: what happened; who can do it; whether the figure can be trusted.
    """

    grade: str
    lost: float
    trusted: bool
    sentences: tuple[str, str, str]


def judge(bench: Bench, worst: Worst, curve: AnswerCurve | None, checks: Sequence[Check]) -> Verdict:
    """The verdict on an audit."""
    clean, found, floor = (float(part.mean()) for part in (worst.clean, worst.ap, worst.floor))
    lost = (clean - found) / (clean - floor) if clean - floor > 1e-9 else 0.0
    grade = "broken" if lost >= BROKEN else "weakened" if lost >= WEAKENED else "holds"
    return Verdict(
        grade,
        lost,
        all(check.passed is not False for check in checks),
        (_what(bench, grade, clean, found, floor, lost), _who(bench, worst, curve), _trust(checks)),
    )


def _what(bench: Bench, grade: str, clean: float, found: float, floor: float, lost: float) -> str:
    eps, norm = bench.threat.eps, bench.threat.norm
    budget = (
        f"no pixel of the query picture moves by more than {size_text(norm, eps)} of its range"
        if norm == "linf"
        else f"the query picture moves by at most {eps:g} in Euclidean length"
    )
    word = {
        "broken": "This search can be broken",
        "weakened": "This search can be weakened",
        "holds": "This search holds",
    }
    if not bench.ground.labeled:
        return (
            f"{word[grade]}: while {budget}, the share of pictures that find their original among the first {TOP} answers falls "
            f"from {clean:.1%} to {found:.1%}."
        )
    return (
        f"{word[grade]}: while {budget}, MAP falls from {clean:.3f} to {found:.3f}, {lost:.0%} of the way to {floor:.3f}, "
        "the least that a code can find."
    )


def _who(bench: Bench, worst: Worst, curve: AnswerCurve | None) -> str:
    count = np.bincount(worst.by[worst.by >= 0], minlength=len(worst.stages))
    parts = []
    if count.sum():
        first = worst.stages[int(count.argmax())]
        parts.append(f"the attack that made most of the worst pictures is {first.name}")
    else:
        parts.append("no attack made any query worse than it was")
    if bench.ground.labeled:
        parts.append(f"an attacker who knows the model but no label reaches {figure(bench, worst.label_free())}")
    if curve is not None:
        parts.append(
            f"one who sees only answers, {int(curve.asked[-1])} of them a picture, brings {figure(bench, curve.ap[0])} to "
            f"{figure(bench, curve.ap[-1])}" + ("" if curve.distances else " without seeing distances")
        )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def figure(bench: Bench, each: Floats) -> str:
    """A mean score as a sentence has it: a MAP, or a share of pictures."""
    mean = float(each.mean())
    return f"{mean:.3f}" if bench.ground.labeled else f"{mean:.1%}"


def _trust(checks: Sequence[Check]) -> str:
    made = [check for check in checks if check.passed is not None]
    failed = [check for check in made if not check.passed]
    if not made:
        return "Nothing is known about how far the figure can be trusted: no check was made."
    if not failed:
        return f"The figure can be trusted as far as it goes: all {len(made)} checks of the audit passed."
    reasons = "; ".join(f"{check.name}: {check.reason}" for check in failed)
    if any(check.masks for check in failed):
        return f"The model hides its gradients, or the search cannot follow them: one attack alone proves little ({reasons})."
    return f"Read the figure with care, {len(failed)} of {len(made)} checks failed ({reasons})."
