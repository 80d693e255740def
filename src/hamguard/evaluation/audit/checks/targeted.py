"""Whether attacks toward targets gain with the budget, too."""

from __future__ import annotations

from hamguard.core.rows import Rows, size_text
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.checks.budgets import large_budget
from hamguard.evaluation.audit.checks.check import SLACK, Case, Check, judged, register


@register("targeted")
def targets_are_reached(case: Case) -> Check:
    """Attacks toward targets gain with the budget, too; figure: what the large budget gains less than the asked one.

    A defense may hold queries at home and still let them be led to a chosen place, so t-MAP stands beside MAP.
    """
    bench, threat = case.bench, case.bench.threat
    if case.form.cell.guide == "own":
        return Check("targeted", None, None, "no labels, so there are no targets")
    sizes = {eps: size_text(threat.norm, eps) for eps in (threat.eps, large_budget(threat))}
    found = []
    for eps, text in sizes.items():
        asked = AttackSpec.read("mainstay", eps=eps, norm=threat.norm, steps=bench.steps, targets="no-overlap")
        rows = Rows(measure_attack(bench.ground, asked, work=bench.work / "targeted").rows).where(metric="t-map")
        clean, near = rows.where(attack=None)[-1].value or 0.0, rows.where(attack="mainstay")[-1].value or 0.0
        found.append((clean, near))
        case.note(f"t-MAP toward targets at {text}", near)
    (clean, near), (_, far) = found[0], found[-1]
    case.note("t-MAP of the clean pictures", clean)
    small, large = sizes.values() if len(sizes) == 2 else 2 * tuple(sizes.values())
    said = f"t-MAP of {clean:.3f} clean, {near:.3f} at {small}, {far:.3f} at {large}"
    value = max(0.0, near - far, clean - near)
    return judged("targeted", value, SLACK, said, "an attack toward targets does not gain with the budget")
