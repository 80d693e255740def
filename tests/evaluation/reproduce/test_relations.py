"""What holds, what does not, and what cannot be said, on rows made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Found, Line, above, experiment, falling, near
from hamguard.evaluation.reproduce.run import SCALES, recipe_of
from hamguard.evaluation.study.plan import expand
from hamguard.evaluation.study.recipe import read_study


def row(value: float | None, width: float = 0.01, **more: Any) -> Row:
    interval = None if value is None else (value - width, value + width)
    return replace(Row(metric="map", value=value, ci95=interval, n=10), **more)


def test_above_holds_where_every_pair_stands_in_order() -> None:
    one = above("a over b", [(row(0.9), row(0.5)), (row(0.8), row(0.3))])
    assert one.verdict == "holds" and one.figures == "2 of 2 pairs; 0.900 > 0.500, 0.800 > 0.300"
    other = above("a over b", [(row(0.9), row(0.5)), (row(0.2), row(0.3))])
    assert other.verdict == "does not hold" and other.figures.startswith("1 of 2 pairs; 0.900 > 0.500, 0.200 <= 0.300")
    assert above("equal", [(row(0.5), row(0.5))]).verdict == "does not hold"


def test_above_says_what_is_within_the_intervals_and_what_is_missing() -> None:
    assert above("a over b", [(row(0.51), row(0.50))]).figures == "0.510 > 0.500; within the intervals"
    assert above("a over b", [(row(0.5), None), (None, None)]).verdict == "not testable at this scale"


def test_near_and_falling() -> None:
    assert near("alike", [(row(0.5), row(0.52))], 0.05).verdict == "holds"
    assert near("alike", [(row(0.5), row(0.58))], 0.05).verdict == "does not hold"
    assert near("alike", [], 0.05).verdict == "not testable at this scale"
    assert falling("down", [row(0.9), row(0.5), row(0.4)]).verdict == "holds"
    assert falling("down", [row(0.9), row(0.4), row(0.42)], slack=0.05).verdict == "holds"
    assert falling("down", [row(0.9), row(0.4), row(0.42)]).verdict == "does not hold"
    assert falling("down", [row(0.4), row(0.4)]).verdict == "does not hold"
    assert falling("down", [row(0.9), None]).verdict == "not testable at this scale"


def test_a_line_knows_its_difference() -> None:
    assert Line("x", 0.5, row(0.7)).difference == pytest.approx(0.2)
    assert Line("x", None, row(0.7)).difference is None and Line("x", 0.5, None).difference is None


def test_rows_are_asked_by_field_and_inside_attack_and_threat() -> None:
    rows = [
        row(0.9, attack=None), row(0.4, attack={"method": "hag", "toward": False}, threat={"eps": 8 / 255, "steps": 10}),
        row(None, attack={"method": "hag"}),
    ]  # fmt: skip
    found = Found(rows, {("m", "hag-10"): rows[1:]})
    assert found.one(attack=None) is rows[0] and found.all(attack="hag", eps=0.0314, steps=10) == [rows[1]]
    assert found.of("m", "hag-10").one(attack="hag") is rows[1] and found.of("m", "none").rows == ()
    assert found.one(attack="hag", steps=11) is None


def test_a_second_experiment_of_a_name_is_refused() -> None:
    first = next(iter(EXPERIMENTS.values()))
    with pytest.raises(RequestError, match="registered twice"):
        experiment(first.name, paper="", what="", small="", minutes=0)(len)
    assert EXPERIMENTS[first.name] is first


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_experiment_has_a_recipe_of_each_scale_that_is_whole(name: str, scale: Any) -> None:
    path = recipe_of(EXPERIMENTS[name], scale)
    recipe = read_study(path)
    plan = expand(recipe)
    assert plan.models or recipe.protections


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_rows_make_no_verdict_up(name: str) -> None:
    judged = EXPERIMENTS[name].judge(Found([]), "small")
    assert all(one.verdict == "not testable at this scale" for one in judged.relations)
    assert all(line.ours is None for line in judged.lines)
