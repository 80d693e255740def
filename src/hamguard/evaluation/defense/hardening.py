"""Before and after a defense: the same queries, attacks and budgets on both models, each with its own codes of the database.

The attacks know the model that they attack: codes that guides vote over are those of the model at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hamguard.attacks.budget import Budget
from hamguard.attacks.methods.cmla import cmla, cmla_text
from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.targets import choose_targets
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import STEPS as AUDIT_STEPS
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.audit.sanity import Sane, marked, run_sanity
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.search.cross_modal import cross_rows

STEPS = 100  # of the mainstay attack, authors' code


@dataclass(frozen=True)
class Compared:
    """A model before and after a defense.

    Attributes:
        before: rows of the start model.
        after: rows of the hardened one, in the same order, then those of the checks.
        sane: the checks; None where none were made.
        steps: gradients of the attacks.
    """

    before: Rows
    after: Rows
    sane: Sane | None = None
    steps: int = STEPS

    @property
    def rows(self) -> Rows:
        """All rows."""
        return Rows([*self.before, *self.after])


def measure_hardening(before: Ground, after: Ground, budget: Budget, *, audit: int, sanity: int) -> Compared:
    """Both models under the same attacks, and whether the defense is robust or only fools them.

    Args:
        before: the start model on its data.
        after: the hardened one on the same.
        budget: threat and gradients of all attacks.
        audit: queries of the worst case over the audit's gradients; 0: none.
        sanity: queries of the checks of the hardened model; 0: no checks.

    Raises:
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    queries = len(before.query)
    targeted = can_target(before.dataset, before.split, queries, before.seed)
    rows = [measure_side(one, budget, targeted=targeted, audit=audit) for one in (before, after)]
    if sanity < 2 or not after.dataset.labels[after.split.query].any():
        return Compared(Rows(rows[0]), Rows(rows[1]), steps=budget.steps or STEPS)
    few = Budget(budget.threat, steps=min(budget.steps or STEPS, AUDIT_STEPS))
    sane = run_sanity(after, few, sample=sanity, start=before.model)
    return Compared(Rows(rows[0]), Rows([*marked(rows[1], sane), *sane.rows]), sane, budget.steps or STEPS)


def measure_pair(ground: Ground, eps: float, text_eps: float, steps: int) -> Rows:
    """Clean and attacked searches across modalities of a pair of nets; each attack knows the model that it attacks.

    Args:
        ground: the model on its data, with texts.
        eps: radius of attacked pictures, in pixel units.
        text_eps: radius of attacked bags of words.
        steps: gradients.

    Raises:
        RunError: NaN gradients.
    """
    rows = list(cross_rows(ground))
    for intra in (1.0, 0.0):
        attacks = (
            cmla(steps=steps, intra=intra, threat=Linf(eps)),
            cmla_text(steps=steps, intra=intra, threat=Linf(text_eps)),
        )
        for attack in attacks:
            rows += measure_attack(ground, AttackSpec(attack, across=True)).rows
    return Rows(rows)


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

    Without labels there is no MAP: the label-free attack then tells whether originals are found, and how many bits move.

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
