"""Whether a larger budget does more harm, and a very large one all of it."""

from __future__ import annotations

import numpy as np

from hamguard.attacks.threat import Threat
from hamguard.core.rows import size_text
from hamguard.evaluation.attack.measure import FEW
from hamguard.evaluation.audit.checks.check import SLACK, Case, Check, falling, judged, register, rise

FAR = 0.5
"""Radius at which any picture can become nearly any other."""

SHARES = (0.25, 0.5, 1.0, 2.0)
"""Parts of the budget at which the fall is looked at, before the large one."""

LARGE = {"linf": 64 / 255, "l2": 16.0}
"""Budget at which no defense can hold, or four times the asked one where that is more."""

REST = 0.1
"""Share of the way to the floor that may be left at the large budget."""

STOPS = "something other than the budget stops the"


def large_budget(threat: Threat) -> float:
    """The radius at which nothing holds."""
    most = max(LARGE[threat.norm], 4 * threat.eps)
    return min(1.0, most) if threat.norm == "linf" else most


@register("eps-monotone")
def eps_monotone(case: Case) -> Check:
    """The largest rise of the MAP when the budget is halved, kept and doubled.

    Fails above 0.01: a larger ball holds all pictures of a smaller one.
    """
    norm, eps = case.bench.threat.norm, case.bench.threat.eps
    most = 1.0 if norm == "linf" else float("inf")
    tried = sorted({eps / 2, eps, min(most, 2 * eps)})
    maps = [float(case.ap(eps=e).mean()) for e in tried]
    told = ", ".join(f"{size_text(norm, e)}: {value:.3f}" for e, value in zip(tried, maps, strict=True))
    return falling("eps-monotone", maps, f"{case.word} at budgets of {told}", f"the {case.word} rises with budgets")


@register("large-eps")
def large_eps(case: Case) -> Check:
    """Share of the way from the clean MAP to the floor that is left when pixels may move by half of their range.

    Fails above 5%: with such a budget nothing but hidden gradients can stop an attack.
    """
    bench, (clean, _, floor) = case.bench, case.sample
    eps = FAR if bench.threat.norm == "linf" else FAR * float(np.prod(bench.clean_pixels.shape[1:])) ** 0.5
    ap = case.ap(eps=eps, steps=max(30, bench.steps))
    way = float((clean - floor).mean())
    left = float((np.minimum(ap, clean) - floor).mean())
    value = max(0.0, left / way) if way > 0 else 0.0
    said = f"with pixels free by half of their range, {1 - value:.0%} of the way to the floor is gone"
    return judged("large-eps", value, FEW, said, f"{STOPS} gradient")


@register("falls-with-eps")
def falls_with_eps(case: Case) -> Check:
    """MAP falls with the budget, and at the large one it is where codes end that follow their guide.

    The figure is the larger of the highest rise between budgets and of the share of the way that is left at the large one.
    """
    bench, large = case.bench, large_budget(case.bench.threat)
    eps, norm = bench.threat.eps, bench.threat.norm
    budgets = [*(eps * share for share in SHARES if eps * share < large), large]
    maps = [case.map(eps=one) for one in budgets]
    clean, floor = float(bench.clean.mean()), float(bench.floors[case.form.cell.guide].mean())
    left = max(0.0, (maps[-1] - floor) / (clean - floor)) if clean - floor > SLACK else 0.0
    listed = ", ".join(f"{size_text(norm, e)}: {m:.3f}" for e, m in zip(budgets, maps, strict=True))
    said = f"{case.word} at {listed}; {left:.0%} of the way to {floor:.3f} is left at the largest"
    if rise(maps) > SLACK:
        return falling("falls-with-eps", maps, said, f"the {case.word} rises with the budget")
    return judged("falls-with-eps", left, REST, said, f"{STOPS} attack")
