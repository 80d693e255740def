"""More gradients and more starts."""

from __future__ import annotations

import pytest

from hamguard.evaluation.audit.checks.battery import SANITY
from hamguard.evaluation.audit.checks.effort import ELSEWHERE, more_steps, restart_gain
from tests.evaluation.audit.checks.case import told


def test_a_third_all_and_three_times_of_the_gradients() -> None:
    case = told(lambda form: 1 / form.steps)
    found = more_steps(case)
    assert found.passed is True and found.value == 0 and [form.steps for form in case.asked] == [10, 30, 90]
    assert found.sentence == "MAP at gradients of 10: 0.100, 30: 0.033, 90: 0.011" and not case.figures
    worse = more_steps(told(lambda form: form.steps / 100))
    assert (
        worse.passed is False and worse.value == pytest.approx(0.8) and worse.reason == "the MAP rises with gradients"
    )


def test_sanity_takes_fewer_and_more_gradients_and_three_starts() -> None:
    case = told(lambda form: 1 / form.steps - 0.001 * form.restarts, steps=60)
    found = more_steps(case, **SANITY["more-steps"])
    assert found.passed is True and [(form.steps, form.restarts) for form in case.asked] == [
        (10, 1), (60, 1), (180, 1), (60, 3),
    ]  # fmt: skip
    assert len(case.figures) == 4 and found.sentence.endswith("from 3 starts")
    few = told(lambda form: 0.5, steps=3)
    more_steps(few, **SANITY["more-steps"])
    assert [form.steps for form in few.asked] == [1, 3, 100, 3]
    starts = more_steps(told(lambda form: 0.1 * form.restarts), **SANITY["more-steps"])
    assert starts.passed is False and starts.value == pytest.approx(0.2)


def test_one_more_start_begins_elsewhere() -> None:
    case = told(lambda form: 0.6)
    found = restart_gain(case)
    assert (case.asked[0].steps, case.asked[0].turn) == (90, ELSEWHERE)
    assert found.value == pytest.approx(0.3) and found.passed is False and not found.masks
    assert restart_gain(told(lambda form: 0.95)).value == 0
