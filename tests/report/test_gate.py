"""Limits and what becomes of them: bounds, intervals, baselines, and everything that is no answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows
from hamguard.report.gate import Judged, gate_sentence, gate_table, judge
from hamguard.report.limits import parse_limits
from tests.report.rows_helpers import attacked, row, study

CLEAN = {"metric": "map", "attack": "none", "model": "models/a"}


def held(rows: list[Row], baseline: list[Row] | None = None, **limit: Any) -> list[Judged]:
    limits = parse_limits({"limits": {"one": limit}}, "limits.toml")
    return judge(Rows(rows), limits, None if baseline is None else Rows(baseline))


@pytest.mark.parametrize(
    ("bounds", "kept", "margin", "inside"),
    [
        ({"at_least": 0.8}, True, 0.0123, True),
        ({"at_least": 0.82}, False, -0.0077, True),
        ({"at_least": 0.8, "interval": "whole"}, False, -0.0077, True),
        ({"at_least": 0.82, "interval": "part"}, True, 0.0123, True),
        ({"at_least": 0.79, "interval": "whole"}, True, 0.0023, False),
        ({"at_least": 0.84, "interval": "part"}, False, -0.0077, False),
        ({"at_most": 0.8}, False, -0.0123, True),
        ({"at_most": 0.82, "interval": "whole"}, False, -0.0123, True),
        ({"at_most": 0.8, "interval": "part"}, True, 0.0077, True),
        ({"at_least": 0.8123}, True, 0.0, True),
    ],
)
def test_bounds_and_intervals(bounds: dict[str, Any], kept: bool, margin: float, inside: bool) -> None:
    (one,) = held(study(), **CLEAN, **bounds)  # 0.8123, from 0.7923 to 0.8323
    assert (one.kept, one.inside) == (kept, inside)
    assert one.margin == pytest.approx(margin)


def test_both_bounds_of_a_limit_are_held() -> None:
    low, high = held(study(), **CLEAN, at_least=0.8, at_most=0.81)
    assert (low.bound, low.kept, high.bound, high.kept) == ("at_least", True, "at_most", False)


def test_a_limit_about_several_rows_holds_each_of_them() -> None:
    found = held(study(), metric="map", attack="mainstay", eps="8/255", at_least=0.5)
    assert [(one.row.model, one.kept) for one in found] == [("models/a", False), ("models/b", True)]
    table = gate_table(found)
    assert (
        table.rows[0][0].text == "one" and table.texts[0][-1] == "BROKEN by 0.2899" and "about 2 rows" in table.notes[0]
    )
    assert gate_sentence(found) == "1 of 1 limits broken: one by 0.2899."
    assert "kept" in gate_sentence(found[1:])


def test_equal_rows_count_once_and_rounded_radii_are_found() -> None:
    rounded = attacked(0.3, threat={"norm": "linf", "eps": 0.031373})
    assert len(held([rounded, replace(rounded, seconds=3.0)], metric="map", eps="8/255", at_least=0.1)) == 1


def test_falls_and_rises_are_measured_from_the_row_that_asked_the_same() -> None:
    before, after = study(), [row(0.7, model="models/new"), attacked(0.25, model="models/new")]
    (one,) = held(after, before, metric="map", attack="none", fall=0.1123)
    assert one.kept and one.moved == pytest.approx(-0.1123) and one.before is not None and one.before.value == 0.8123
    (one,) = held(after, before, metric="map", attack="none", fall=0.1)
    assert not one.kept and one.margin == pytest.approx(-0.0123)
    (one,) = held(after, [attacked(0.2)], metric="map", attack="mainstay", rise=0.01)
    assert not one.kept and one.margin == pytest.approx(-0.04)
    (one,) = held([row(0.7)], [row(0.8)], metric="map", fall=0.1)
    assert one.kept  # though .8 - .1 is above .7 in binary


def test_checks_pass_or_do_not() -> None:
    checks = [row(0.2, metric="check", attack={"method": "sanity", "check": name, "passed": name != "noise"}, ci95=None)
              for name in ("noise", "targets")]  # fmt: skip
    found = held(checks, metric="check", passes=True)
    assert [one.kept for one in found] == [False, True] and gate_sentence(found).endswith("broken: one.")
    (one,) = held(checks, metric="check", check="targets", passes=True)
    assert one.kept and one.row.attack is not None and one.row.attack["check"] == "targets"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"metric": "mpa", "at_least": 1}, "limit one: no row has metric mpa; did you mean map?"),
        (
            {"metric": "map", "attack": "mainsty", "at_least": 1},
            "none of its 6 rows has attack mainsty; did you mean mainstay?",
        ),
        (
            {"metric": "map", "attack": "mainstay", "eps": "4/255", "at_least": 1},
            "has eps 0.0156863; they have 0.0313725",
        ),
        ({"metric": "map@10", "at_least": 1}, "none of its 6 rows has at 10; they have none"),
        ({"metric": "ssim", "fall": 1}, "fall and rise need a baseline"),
        ({"metric": "map", **CLEAN, "passes": True}, "is no check that passes or fails"),
        ({"metric": "nothing", "at_least": 0}, "limit one: nothing of models/a, clean has no figure"),
        ({"metric": "bare", "at_least": 0, "interval": "whole"}, "has no interval; judge it by"),
    ],
)
def test_no_answer_is_an_error(limit: dict[str, Any], said: str) -> None:
    rows = (
        [*study(), row(None, metric="nothing"), row(1.0, metric="bare", ci95=None)] if "ci95" not in limit else study()
    )
    with pytest.raises(RequestError) as error:
        held(rows, **limit)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (row(0.8, dataset="other"), "the baseline has no row to compare with MAP of models/a, clean"),
        (row(0.8, n=50), "the baseline asked 50 queries, here 100: MAP of models/a, clean cannot be compared"),
        (row(0.8, split="s2"), "another split of the data"),
        (row(None), "has no figure"),
    ],
)
def test_a_baseline_that_asked_something_else_is_an_error(before: Row, said: str) -> None:
    with pytest.raises(RequestError) as error:
        held([row(0.8)], [before], metric="map", fall=0.1)
    assert said in str(error.value)
    with pytest.raises(RequestError, match="the baseline has 2 rows to compare with"):
        held([row(0.8)], [row(0.8, model="x"), row(0.7, model="y")], metric="map", fall=0.1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "limits.toml holds no limit; one is a table such as [limits.clean]"),
        ({"limit": {"a": {}}}, "did you mean limits?"),
        ({"limits": {"a": {"metric": "map", "at_last": 1}}}, "unknown key limits.a.at_last; did you mean at_least?"),
        ({"limits": {"a": {"metrik": "map", "at_least": 1}}}, "unknown key limits.a.metrik; did you mean metric?"),
        ({"limits": {"a": {"metric": "map"}}}, "limits.a: says no limit; give one of at_least, at_most"),
        ({"limits": {"a": {"at_least": 1}}}, "limits.a says no metric"),
        ({"limits": {"a": {"metric": "map", "at_least": 1, "at_most": 0}}}, "at_least 1 is above at_most 0"),
        ({"limits": {"a": {"metric": "map", "at_least": float("nan")}}}, "finite number"),
        ({"limits": {"a": {"metric": "map", "at_least": True}}}, "must be a number, not true or false"),
        ({"limits": {"a": {"metric": "map", "fall": -1}}}, "limits.a.fall: input should be greater than or equal to 0"),
        ({"limits": {"a": {"metric": "map", "at_least": 1, "interval": "all"}}}, "limits.a.interval"),
        ({"limits": {"a": {"metric": "check", "passes": False}}}, "limits.a.passes"),
        ({"limits": {"a": {"metric": "map", "eps": "8/x", "at_least": 1}}}, "eps must be a number such as 0.03 or 8/255"),
        ({"limits": {"a": 3}}, "limits.a: must be a table, got 3"),
        ({"baselin": "x", "limits": {"a": {"metric": "map", "at_least": 1}}}, "unknown key baselin; did you mean baseline?"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_limits_is_one_line(content: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_limits(content, "limits.toml")
    assert said in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("limits.toml")


def test_a_file_whose_limits_are_empty_is_not_told_to_write_what_it_writes() -> None:
    with pytest.raises(RequestError, match=r"such as \[limits.clean\]$"):
        parse_limits({"limits": {}}, "limits.toml")
