"""The table of measures: names, defaults, and one of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.errors import RequestError
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.registry import (
    MEASURES,
    Found,
    Line,
    Subject,
    check_measures,
    default_measures,
    register,
)
from hamguard.evaluation.measures.run import measure_model


def test_default_measures_are_those_that_the_data_allow() -> None:
    assert default_measures(labeled=True) == [
        name for name in MEASURES if name not in ("clever-guide", "saliency", "class-bias")
    ]
    assert set(default_measures(labeled=True)) - set(default_measures(labeled=False)) == {"toward"}
    assert all(MEASURES.title(name) and not MEASURES.title(name).endswith(".") for name in MEASURES)


def test_names_are_checked() -> None:
    with pytest.raises(RequestError, match="measure 'radius' is registered twice"):
        register("radius")(lambda subject: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(RequestError, match="unknown measure 'radios'; allowed: success.* did you mean radius"):
        check_measures(["radios"])
    with pytest.raises(RequestError, match="measure radius is given twice; measures: success, toward"):
        check_measures(["radius", "radius"])


def test_a_measure_of_a_notebook_cell_is_carried_out(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES._entries))
    monkeypatch.setattr(MEASURES, "_facts", dict(MEASURES._facts))

    @register("answer")
    def answer(subject: Subject, *, value: float = 1.0) -> Found:
        """What the answer is."""
        row = replace(subject.base, metric="answer", value=value * subject.eps)
        return Found([row], [Line("answer", "the answer", "higher", "number", row)])

    assert MEASURES.names()[-1] == "answer"
    budget = Budget(Linf(0.1))
    found = measure_model(ground, budget, ["answer"], options={"answer": {"value": 420.0}})
    assert found["answer"].rows[0].value == pytest.approx(42) and found["answer"].rows[0].model == "linear"
