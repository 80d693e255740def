"""Before and after a defense: the same queries, attacks and budgets on both models, each with its own codes of the database.

The attacks know the model that they attack: codes that guides vote over are those of the model at hand.
"""

from __future__ import annotations

from typing import Any

from hamguard.attacks.budget import Budget
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.targets import choose_targets
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import STEPS as AUDIT_STEPS
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.ground import Ground

STEPS = 100  # of the mainstay attack, authors' code


def can_target(dataset: Dataset, split: Split, queries: int | None, seed: int) -> bool:
    """Whether every query has a target label that it does not carry itself and that training pictures carry."""
    rows = split.query[:queries]
    try:
        choose_targets(
            "no-overlap",
            dataset.labels[rows],
            dataset.labels[split.database],
            reference=dataset.labels[split.train],
            ids=dataset.ids[rows],
            class_names=dataset.class_names,
            seed=seed,
        )
    except RequestError:
        return False
    return True


def measure_side(ground: Ground, budget: Budget, *, targeted: bool = True, audit: int = 0) -> list[Row]:
    """All rows of one model: clean, noise, mainstay away, mainstay toward, and the audit's worst case.

    Without labels there is no MAP: the label-free attack then tells how many bits move.

    Args:
        ground: the model on its data.
        budget: threat and gradients of all attacks.
        targeted: attack toward targets, too; see `can_target`.
        audit: queries of the worst case over the audit's gradients, the first of the run; 0: none.

    Raises:
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    labeled, steps = ground.labeled, budget.steps or STEPS
    common: dict[str, Any] = {"eps": budget.threat.eps, "norm": budget.threat.norm, "steps": steps}
    attacks = [AttackSpec.read("mainstay" if labeled else "hag", **common)]
    if labeled and targeted:
        attacks.append(AttackSpec.read("mainstay", targets="no-overlap", **common))
    rows: list[Row] = []
    for attack in attacks:
        rows += measure_attack(ground, attack).rows
    if labeled and audit:  # the sanity checks ask answers and other models
        spent = Budget(budget.threat, steps=min(steps, AUDIT_STEPS))
        plan = AuditPlan(spent, answers=False, substitute=False, checks=("none",))
        rows += [row for row in run_audit(ground.first(audit), plan).rows if row.attack]
    return rows
