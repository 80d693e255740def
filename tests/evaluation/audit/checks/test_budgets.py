"""Larger budgets, and one at which nothing holds."""

from __future__ import annotations

import pytest

from hamguard.attacks.threat import L2, Linf
from hamguard.evaluation.audit.checks.budgets import eps_monotone, falls_with_eps, large_budget, large_eps
from tests.evaluation.audit.checks.case import told


def test_the_large_budget() -> None:
    assert large_budget(Linf(8 / 255)) == 64 / 255 and large_budget(Linf(0.1)) == pytest.approx(0.4)
    assert large_budget(Linf(0.3)) == 1.0 and large_budget(L2(1.0)) == 16.0 and large_budget(L2(5.0)) == 20.0


def test_half_all_and_twice_the_budget() -> None:
    case = told(lambda form: 0.9 - form.eps)
    assert eps_monotone(case).passed is True and [form.eps for form in case.asked] == [0.05, 0.1, 0.2]
    most = told(lambda form: form.eps, Linf(0.8))
    found = eps_monotone(most)
    assert [form.eps for form in most.asked] == [0.4, 0.8, 1.0] and found.value == pytest.approx(0.6)
    assert found.passed is False and found.masks


def test_pixels_that_may_move_by_half_of_their_range() -> None:
    case = told(lambda form: 0.1, steps=4)
    found = large_eps(case)
    assert found.passed is True and found.value == 0 and (case.asked[0].eps, case.asked[0].steps) == (0.5, 30)
    half = told(lambda form: 0.5, L2(1.0))
    assert large_eps(half).value == pytest.approx(0.5) and half.asked[0].eps == pytest.approx(1.0)  # 2 x 2 values
    assert large_eps(half).reason == "something other than the budget stops the gradient"


def test_a_defense_falls_with_the_budget() -> None:
    case = told(lambda form: max(0.1, 0.9 - 3 * form.eps))
    found = falls_with_eps(case)
    assert found.passed is True and [form.eps for form in case.asked] == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.4])
    left = falls_with_eps(told(lambda form: 0.3))
    assert left.passed is False and left.value == pytest.approx(0.25) and "25% of the way to 0.100" in left.sentence
    rising = falls_with_eps(told(lambda form: form.eps))
    assert rising.passed is False and rising.reason == "the MAP rises with the budget"
    assert rising.value == pytest.approx(0.375)
