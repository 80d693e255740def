"""Rows that can be asked."""

from __future__ import annotations

import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows

ROWS = Rows(
    [
        Row(metric="map", value=0.9),
        Row(metric="map", value=0.1, attack={"method": "hag"}, threat={"norm": "linf", "eps": 0.2}),
        Row(metric="rmse", value=0.2, attack={"method": "hag"}, threat={"norm": "linf", "eps": 0.2}),
        Row(metric="rmse", value=0.2, attack={"method": "hag"}, threat={"norm": "linf", "eps": 0.2}, seconds=3.0),
    ]
)


def test_where_and_one() -> None:
    assert ROWS.where(attack="hag").one("map").value == 0.1
    assert ROWS.where(attack=None).one() is ROWS[0]
    assert len(ROWS.where(eps=0.2, norm="linf")) == 3 and len(ROWS.where(metric=("map", "rmse"))) == 4
    assert ROWS.first("rmse") is ROWS[2] and ROWS.first("l2") is None
    with pytest.raises(RequestError, match="2 rows of map where one was asked for"):
        ROWS.one("map")
    with pytest.raises(RequestError, match="rows have no atack"):
        ROWS.where(atack="hag")


def test_rows_that_differ_in_the_time_alone_stand_once() -> None:
    assert list(ROWS.once()) == list(ROWS[:3])


def test_facts_of_threat_and_attack_are_asked_by_name() -> None:
    made = {"method": "cmla", "guide": "pairs", "intra": 0.5, "made_on": ["a", "b"], "toward": False}
    rows = Rows(
        [
            Row(metric="map", attack=made, threat={"norm": "linf", "eps": 0.1, "steps": 5, "one_sided": True}),
            Row(metric="map"),
        ]
    )
    assert rows.where(steps=5, intra=0.5, made_on="a", guide="pairs", one_sided=True, toward=False) == rows[:1]
    assert rows.where(one_sided=False) == rows.where(made_on=None) == rows.where(steps=None) == rows[1:]
    assert not rows.where(made_on="b") and not rows.where(steps=4)
