"""Whether attacks toward targets gain with the budget, too."""

from __future__ import annotations

from hamguard.core.rows import size_text
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.checks.budgets import large_budget
from hamguard.evaluation.audit.checks.check import SLACK, Case, Check, judged, register


@register("targeted")
def targets_are_reached(case: Case) -> Check:
    """Attacks toward targets gain with the budget, too; figure: what the large budget gains less than the asked one.

    A defense may hold queries at home and still let them be led to a chosen place, so t-MAP stands beside MAP.
    """
    threat = case.bench.threat
    if case.form.cell.guide == "own":
        return Check("targeted", None, None, "no labels, so there are no targets")
    large = large_budget(threat)
    (clean, near), (_, far) = _reached(case, threat.eps), _reached(case, large)
    case.note("t-MAP of the clean pictures", clean)
    small, most = size_text(threat.norm, threat.eps), size_text(threat.norm, large)
    said = f"t-MAP of {clean:.3f} clean, {near:.3f} at {small}, {far:.3f} at {most}"
    value = max(0.0, near - far, clean - near)
    return judged("targeted", value, SLACK, said, "an attack toward targets does not gain with the budget")


def _reached(case: Case, eps: float) -> tuple[float, float]:
    """t-MAP of the clean pictures, and under the attack of a budget."""
    bench, norm = case.bench, case.bench.threat.norm
    spec = AttackSpec.read("mainstay", eps=eps, norm=norm, steps=bench.steps, targets="no-overlap")
    made = measure_attack(bench.ground, spec, context=bench.context.but(work=bench.work / "targeted"))
    rows = made.rows.where(metric="t-map")
    clean, near = rows.where(attack=None)[-1].value, rows.where(attack="mainstay")[-1].value
    assert clean is not None and near is not None
    case.note(f"t-MAP toward targets at {size_text(norm, eps)}", near)
    return clean, near
