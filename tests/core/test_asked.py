"""No number of any recipe, request or setting may be true, false, NaN or infinite."""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import Any, Literal

import pytest
from pydantic import ValidationError

import hamguard
from hamguard.core.asked import Asked, _kinds
from hamguard.core.checks import parse_eps
from hamguard.core.errors import RequestError
from hamguard.evaluation.study.grid_recipe import GridRecipe
from hamguard.evaluation.study.recipe_section import parse_study


def every_kind(kind: type[Asked] = Asked) -> list[type[Asked]]:
    """All that people ask for, of every package."""
    for package in ("hashing", "training", "defenses", "attacks", "evaluation", "trainers"):
        for path in hamguard.__path__:
            for one in pkgutil.walk_packages([f"{path}/{package}"], f"hamguard.{package}."):
                importlib.import_module(one.name)
    return sorted(_below(kind), key=lambda one: f"{one.__module__}.{one.__name__}")


def _below(kind: type[Asked]) -> set[type[Asked]]:
    return {
        one for sub in kind.__subclasses__() for one in {sub, *_below(sub)} if one.__module__.startswith("hamguard")
    }


def test_no_number_of_any_request_is_a_truth_value_or_infinite() -> None:
    tried = 0
    for kind in every_kind():
        for name, field in kind.model_fields.items():
            kinds = _kinds(field.annotation)
            if not kinds & {int, float} or kinds & {bool, Any}:
                continue
            wrong: list[Any] = [True, False]
            if float in kinds:
                wrong += [math.nan, math.inf, "nan", "1e400"]
            for value in [*wrong, *([one] for one in wrong)]:
                with pytest.raises((ValidationError, ValueError)) as caught:
                    kind(**{name: value})
                faults = caught.value.errors() if isinstance(caught.value, ValidationError) else [{"loc": (name,)}]
                assert any(fault["loc"][:1] == (name,) for fault in faults), f"{kind.__name__}.{name} took {value!r}"
                tried += 1
    assert tried > 500


class Sample(Asked):
    number: float = 0.5
    count: int | None = None
    many: tuple[float, ...] = ()
    named: dict[str, float] = {}  # noqa: RUF012 - pydantic copies it
    flag: bool = False
    either: bool | int = 0
    rule: Literal["own"] | float = "own"


def test_what_was_a_number_stays_one() -> None:
    made = Sample(number=1, count=20.0, many=[1, "0.5"], named={"a": 2}, flag=True, either=True, rule="0.25")  # type: ignore
    assert made == Sample(number=1.0, count=20, many=(1.0, 0.5), named={"a": 2.0}, flag=True, either=True, rule=0.25)
    assert made.either is True


@pytest.mark.parametrize(
    "wrong",
    [{"number": True}, {"count": False}, {"many": [0.1, True]}, {"named": {"a": True}}, {"rule": True}, {"count": 20.5},
     {"number": math.nan}, {"many": [math.inf]}, {"named": {"a": -math.inf}}, {"other": 1}],
)  # fmt: skip
def test_what_is_no_number_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sample(**wrong)


@pytest.mark.parametrize("text", ["", " ", "nan", "true", "8/0", "8/nan", "8/inf", "1e400", "inf", "eight", "8/"])
def test_a_radius_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"eps must be a (finite )?number such as 0.03 or 8/255, got "):
        parse_eps(text)


def test_a_radius_of_a_recipe_is_no_truth_value() -> None:
    recipe = {
        "study": "grid",
        "data": {"digits": {}},
        "models": {"given": {"load": "m"}},
        "attacks": {"hag": {"eps": True}},
    }
    with pytest.raises(RequestError, match=r"attacks\.hag\.eps: must be a number, not true or false, got True"):
        parse_study(GridRecipe, recipe, "x.toml", {})
