"""Facts of rows in words: names of models, radii."""

from __future__ import annotations

from hamguard.report.wording import short_names


def test_short_names_tell_models_apart() -> None:
    assert short_names(["m/a", "m/a-2"]) == ["a", "a-2"]
    assert short_names(["x/run/m", "y/run/m"]) == ["x/run/m", "y/run/m"]
    assert len(set(short_names(["m", "x/m"]))) == 2
