"""Whether more effort does more harm: gradients and starts."""

from __future__ import annotations

import numpy as np

from hamguard.evaluation.audit.checks.check import SLACK, Case, Check, falling, judged, register
from hamguard.evaluation.audit.plan import LONG

ELSEWHERE = 1000
"""Number of a start that no stage has."""


@register("restart-gain")
def restart_gain(case: Case) -> Check:
    """What one more start of the longest gradient attack takes from the worst case, in MAP.

    Fails above 0.01: the battery has not found the worst pictures yet, and more gradients would lower the figure.
    """
    steps, (_, worst, _) = LONG * case.bench.steps, case.sample
    again = case.ap(steps=steps, turn=ELSEWHERE)
    value = float((worst - np.minimum(worst, again)).mean())
    said = f"one more start of {steps} gradients lowers the {case.word} by {value:.4f}"
    reason = "the figure is not the worst case yet: give more --steps"
    return judged("restart-gain", value, SLACK, said, reason, masks=False)


@register("more-steps")
def more_steps(case: Case, *, few: int | None = None, many: int = 0, starts: int = 1) -> Check:
    """The largest rise of the MAP when one attack gets a third, all, and three times of its gradients.

    Fails above 0.01: a search that does worse with more gradients does not follow them.

    Args:
        case: the attack.
        few: the third is at most so many.
        many: three times are at least so many.
        starts: more than 1: that many starts are to leave no more MAP than one, either.
    """
    steps = case.bench.steps
    third = steps // 3 if few is None else min(few, steps // 3)
    tried = sorted({max(1, third), steps, max(many, 3 * steps)})
    if starts == 1:
        maps = [float(case.ap(steps=n).mean()) for n in tried]
        told = ", ".join(f"{n}: {value:.3f}" for n, value in zip(tried, maps, strict=True))
        return falling(
            "more-steps", maps, f"{case.word} at gradients of {told}", f"the {case.word} rises with gradients"
        )
    one, base, long = case.map(steps=max(1, third)), case.map(), case.map(steps=tried[-1])
    more = case.map(restarts=starts)
    value = max(0.0, base - one, long - min(one, base), more - base)
    said = (
        f"{case.word} of {one:.3f} after {max(1, third)} gradients, {base:.3f} after {steps}, {long:.3f} after {tried[-1]}, "
        f"{more:.3f} from {starts} starts"
    )
    return judged("more-steps", value, SLACK, said, "a longer attack is weaker")
