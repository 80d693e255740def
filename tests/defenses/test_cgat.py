"""CgAT: a step is the printed one, with the center code."""

from __future__ import annotations

from tests.defenses.conftest import Place
from tests.defenses.steps import (
    assert_adversarial_step,
)


def test_a_step_is_the_printed_one(place: Place) -> None:
    assert_adversarial_step(place, "cgat", weighted=False, lam=3.0, mu=0.0)
