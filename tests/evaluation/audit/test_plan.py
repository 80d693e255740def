"""What an audit is asked for, and the battery that nobody chooses."""

from __future__ import annotations

import pytest

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.errors import RequestError
from hamguard.evaluation.audit.plan import BATTERY, LOSSES, QUERIES, STEPS, AuditPlan


def test_four_guides_times_three_losses_and_the_label_free_one_first() -> None:
    assert len({(cell.guide, cell.loss) for cell in BATTERY}) == 12 == 4 * len(LOSSES)
    assert not BATTERY[0].aware and {cell.guide for cell in BATTERY[:4]} == {cell.guide for cell in BATTERY}
    assert {cell.loss for cell in BATTERY[:4]} == set(LOSSES)
    attack = BATTERY[1].attack(Linf(0.1), 5, 2)
    assert attack.threat == Linf(0.1) and (attack.search.steps, attack.search.restarts) == (5, 2)  # type: ignore[attr-defined]


def test_a_plan_says_what_its_budget_left_open() -> None:
    assert AuditPlan().budget == Budget(Linf(8 / 255), steps=STEPS, queries=QUERIES)
    assert AuditPlan(Budget(Linf(0.1), steps=2)).budget == Budget(Linf(0.1), steps=2, queries=QUERIES)
    with pytest.raises(RequestError, match="an audit chooses its starts itself, got a budget of 3 restarts"):
        AuditPlan(Budget(Linf(0.1), restarts=3))
    with pytest.raises(RequestError, match="sample must be at least 2, got 1"):
        AuditPlan(sample=1)
