"""What an attacker may spend is one value, checked where it is written."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from hamguard.attacks.budget import L2, Budget, Linf
from hamguard.core.errors import RequestError


def test_a_budget_holds_what_it_was_given() -> None:
    budget = Budget(Linf(8 / 255), steps=10, queries=100)
    assert (budget.threat, budget.steps, budget.restarts, budget.queries) == (Linf(8 / 255), 10, None, 100)
    assert budget != Budget(L2(8 / 255), steps=10, queries=100)
    with pytest.raises(FrozenInstanceError):
        budget.steps = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"threat": 8 / 255}, r"a budget begins with a threat such as Linf\(8 / 255\) or L2\(0.5\), got 0.03"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"restarts": -1}, "restarts must be at least 1, got -1"),
        ({"queries": 0}, "queries must be at least 1, got 0"),
    ],
)
def test_a_wrong_budget_says_what_is_wrong(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        Budget(**{"threat": Linf(0.1), **given})


def test_what_is_left_open_is_filled() -> None:
    open_ = Budget(Linf(0.1), restarts=2)
    assert open_.filled(steps=30, queries=7) == Budget(Linf(0.1), steps=30, restarts=2, queries=7)
    assert Budget(Linf(0.1), steps=3).filled(steps=30) == Budget(Linf(0.1), steps=3)
