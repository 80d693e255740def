"""Attacks toward targets."""

from __future__ import annotations

from hamguard.evaluation.audit.checks.targeted import targets_are_reached
from tests.evaluation.audit.checks.case import told


def test_without_labels_there_are_no_targets() -> None:
    found = targets_are_reached(told(lambda form: 0.5, guide="own"))
    assert found.passed is None and found.value is None and "no labels" in found.sentence
