"""Attackers who know less."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.evaluation.audit.checks.battery import SANITY
from hamguard.evaluation.audit.checks.others import answers_no_stronger, transfer_no_stronger
from tests.evaluation.audit.checks.case import COUNT, Told, told


def case_with(kind: str, weak: list[float], own: float = 0.5) -> Told:
    """Gradients reach `own` on every query; a weaker attacker reaches `weak`."""
    case = told(lambda form: own)
    none = np.zeros(COUNT, np.int64)
    case.worst.note("all", "gradient", np.arange(COUNT), np.full(COUNT, own), (none, none, 0.0))
    more = {"guide": "center", "steps": 30, "restarts": 1} if kind == "transfer" else {}
    name = "made on a substitute" if kind == "transfer" else "query-only"
    case.worst.note(name, kind, np.arange(COUNT), np.array(weak), (none, none, 0.0), **more)
    return case


@pytest.mark.parametrize(("kind", "check"), [("answers", answers_no_stronger), ("transfer", transfer_no_stronger)])
def test_by_the_share_of_queries(kind: str, check: object) -> None:
    assert callable(check)
    found = check(case_with(kind, [0.6, 0.6, 0.6, 0.2]))
    assert found.passed is False and found.value == 0.25 and found.reason == "gradients of this model mislead"
    assert check(case_with(kind, [0.6, 0.6, 0.6, 0.495])).passed is True, "a hundredth says nothing"
    out = check(told(lambda form: 0.5))
    assert out.passed is None and out.value is None and "left out" in out.sentence


def test_by_the_mean() -> None:
    case = case_with("transfer", [0.9, 0.9, 0.0, 0.0])
    found = transfer_no_stronger(case, **SANITY["transfer"])
    assert found.value == pytest.approx(0.05) and found.passed is False
    assert found.sentence.startswith("MAP of 0.450 under pictures made on a substitute, 0.500 under its own")
    facts, value = case.figures["made on a substitute"]
    assert value == pytest.approx(0.45) and facts["steps"] == 30
    case = case_with("answers", [0.9, 0.9, 0.9, 0.9])
    found = answers_no_stronger(case, **SANITY["query-only"])
    assert found.value == 0 and found.passed is True
    assert found.sentence == "MAP of 0.900 after 7 pictures asked, 0.500 under gradients"
    assert next(iter(case.figures)) == "query-only, 7 pictures asked"
