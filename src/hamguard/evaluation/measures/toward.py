"""How often an attack toward another label's code succeeds (H.1)."""

from __future__ import annotations

from hamguard.core.rows import Rows
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.measures.criteria import measure_success, success_rows, toward_criteria
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.success import attacked_by, rate_lines


@register("toward", labeled=True)
def toward(subject: Subject) -> Found:
    """How often an attack toward the anchor code of a label without overlap succeeds, on codes and on the search."""
    ground = subject.ground
    spec = AttackSpec.read("pgd", guide="anchor", targets="no-overlap", eps=subject.eps, steps=subject.steps)
    made, base = attacked_by(subject, spec)
    assert made.targets is not None
    criteria = toward_criteria(
        subject.clean.bits, target=made.sides.ideal.packed, targets=made.targets.labels, database=ground.database
    )
    found = [measure_success(one, made.sides.attacked, subject.clean) for one in criteria]
    rows = Rows([*made.rows, *success_rows(found, base, seed=ground.seed)])
    row = rows.where(metric="t-map")[-1]
    aimed = Line("t-MAP, toward", "how well the target label is found", "lower", "share", row)
    texts = [f"within {one.at} bits of the target's code" for one in found[:-2]]
    texts += ["first answer carries the target label", "most of the first 10 answers carry it"]
    return Found(rows, [aimed, *rate_lines(found, rows, texts)])
