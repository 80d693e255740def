"""Chance and noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.evaluation.audit.checks.controls import controls_are_in_order
from tests.evaluation.audit.checks.case import Told, told


def case_with(own: float, noisy: bool) -> Told:
    """Codes are those of the classes; noise turns all of them, or none."""
    labels, codes = np.eye(2, dtype=np.uint8)[np.arange(20) % 2], np.repeat(np.arange(20)[:, None] % 2, 16, axis=1)
    bank, turned = CodeBank(pack(codes), 16, labels), CodeBank(pack(1 - codes), 16, labels)
    case = told(lambda form: own)
    ground = SimpleNamespace(query=bank, database=bank, seed=0, noisy=lambda threat: turned if noisy else bank)
    bench: Any = case.bench
    bench.ground, bench.clean = ground, np.ones(20)
    return case


def test_noise_does_less_harm_than_the_attack_and_chance_finds_less_than_the_model() -> None:
    case = case_with(0.3, noisy=False)
    found = controls_are_in_order(case)
    assert found.passed is True and found.value == 0
    assert list(case.figures)[:2] == ["random codes", "noise"] and case.figures["noise"][1] == pytest.approx(1.0)
    worse = controls_are_in_order(case_with(1.0, noisy=True))
    assert worse.passed is False and worse.value is not None and worse.value > 0.1
