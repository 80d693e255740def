"""Raw logits and flatter slopes."""

from __future__ import annotations

import pytest

from hamguard.evaluation.audit.checks.check import RAW
from hamguard.evaluation.audit.checks.relaxation import SLOPES, logits_no_stronger, slopes_agree
from tests.evaluation.audit.checks.case import told


def test_raw_logits_beside_relaxed_codes() -> None:
    case = told(lambda form: 0.8 if form.cell.loss == "inner" else 0.3, guide="own")
    found = logits_no_stronger(case)
    assert found.passed is False and found.value == pytest.approx(0.5) and found.masks
    assert {(form.cell.guide, form.gradients) for form in case.asked} == {("center", "plain")}
    assert logits_no_stronger(told(lambda form: 0.8 if form.cell.loss == "logarithm" else 0.3)).value == 0


def test_the_worst_slope_is_quoted() -> None:
    case = told(lambda form: float(form.alpha or 0))
    found = slopes_agree(case)
    assert [form.alpha for form in case.asked] == [*SLOPES, RAW]
    assert found.value == pytest.approx(1 - RAW) and found.passed is False and "0.001 with raw logits" in found.sentence
    assert slopes_agree(told(lambda form: 0.5)).passed is True
