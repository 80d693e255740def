"""The learning rate over a run."""

from __future__ import annotations

from hamguard.training.schedules import factor


def test_schedules_start_and_end_where_they_should() -> None:
    assert factor("cosine", 0) == 1 and factor("cosine", 0.999) < 0.01
    assert factor("one-cycle", 0.3) == 1 and factor("one-cycle", 0) < 0.05
    assert [round(factor("step", p), 4) for p in (0, 0.4, 0.7)] == [1, 0.1, 0.01]
    assert factor("constant", 0.9) == 1
