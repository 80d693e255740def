"""What a check is: limits, rises, forms of an attack, figures."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import size_text
from hamguard.evaluation.audit.checks.battery import AUDIT, SANITY
from hamguard.evaluation.audit.checks.check import CHECKS, RAW, Check, Form, judged, rise
from hamguard.evaluation.audit.plan import Cell
from tests.evaluation.audit.checks.case import told


def test_a_failure_says_why() -> None:
    assert judged("x", 0.01, 0.01, "said", "why") == Check("x", True, 0.01, "said", True)
    assert judged("x", 0.02, 0.01, "said", "why", masks=False) == Check("x", False, 0.02, "said; why", False, "why")


def test_a_rise_is_from_the_lowest_before_it() -> None:
    assert rise([0.9, 0.5, 0.2]) == 0 and rise([0.9]) == 0
    assert rise([0.9, 0.2, 0.3, 0.5]) == pytest.approx(0.3)


def test_every_check_of_a_battery_is_registered_and_none_is_left_over() -> None:
    assert set(AUDIT) | set(SANITY) == set(CHECKS)
    assert all(CHECKS.title(name) for name in CHECKS)
    with pytest.raises(RequestError, match="unknown check 'slope'.* did you mean slopes"):
        CHECKS["slope"]


def test_forms_are_told_in_words() -> None:
    form = Form(Cell("own", "inner"), 8 / 255, 30, 2)
    assert form.text("linf") == "8/255, 30 steps, 2 starts, outputs brought to one size"
    assert Form(form.cell, 0.5, 1, alpha=0.2).text("l2") == "0.5, 1 steps, 1 starts, slope 0.2"
    assert Form(form.cell, 0.5, 1, alpha=RAW).text("l2").endswith("raw logits")
    assert size_text("linf", 0.1) == "25.5/255"


def test_figures_are_kept_once_in_their_order() -> None:
    case = told(lambda form: form.eps)
    assert case.map(eps=0.2) == pytest.approx(0.2) and case.map() == pytest.approx(0.1)
    case.map(eps=0.2)
    case.note("noise", 0.8)
    values = [value for _, value in case.figures.values()]
    assert values == pytest.approx([0.2, 0.1, 0.8])
    facts, _ = case.figures["51/255, 30 steps, 1 starts, outputs brought to one size"]
    assert (facts["guide"], facts["eps"], facts["steps"], facts["restarts"]) == ("center", 0.2, 30, 1)


def test_the_sample_of_a_case() -> None:
    case = told(lambda form: 0.5)
    clean, worst, floor = case.sample
    assert np.array_equal(clean, worst) and (floor < clean).all() and case.stages("answers") == []
