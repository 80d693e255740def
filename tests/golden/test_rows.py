"""Kept rows: what is left out of them, and that a difference in anything else is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.rows import Place, differences

ROW = {
    "metric": "map",
    "value": 0.5,
    "n": 3,
    "attack": {"stage": "own", "steps": 2},
    "notes": ["MAP of 0.5"],
    "at": None,
}
PLACE = Place(Path("/a/b"), Path("work/x"))


def test_times_hashes_versions_and_places_are_left_out() -> None:
    row = {
        "seconds": 1.5, "version": "0.1.0", "hashes": {"model": "0123456789abcdef"}, "model": "dpsh-16-0123456789ab",
        "out": "/a/b/work/x/m", "data": "arrays:world/toy.npz", "note": "took 3.5 s", "value": 2.5, "checkpoint_seconds": None,
    }  # fmt: skip
    assert PLACE.row(row) == {
        "seconds": "TIME", "version": "VERSION", "hashes": {"model": "HASH"}, "model": "dpsh-16-HASH",
        "out": "PLACE/m", "data": "arrays:world/toy.npz", "note": "took TIME", "value": 2.5, "checkpoint_seconds": None,
    }  # fmt: skip


def test_rows_that_differ_in_time_alone_stand_once_where_the_first_stood() -> None:
    lines = [{"a": 1, "seconds": 1.0}, {"a": 2, "seconds": 1.0}, {"a": 1, "seconds": 2.0}]
    assert [row["a"] for row in PLACE.rows("\n".join(map(json.dumps, lines)))] == [1, 2]


def test_equal_rows_in_another_order_of_keys_do_not_differ() -> None:
    assert list(differences([ROW], [dict(reversed(ROW.items()))], exact=True)) == []


CHANGES = {
    "a digit": {"value": 0.5000000000000001}, "a count": {"n": 4}, "a kind": {"n": 3.0}, "a flag": {"n": True},
    "a word": {"metric": "mAP"}, "a new key": {"more": 1}, "nothing for something": {"value": None},
    "something for nothing": {"at": 1}, "one more note": {"notes": ["MAP of 0.5", "more"]}, "a note": {"notes": ["MAP of 0.6"]},
    "the best stage": {"attack": {"stage": "center", "steps": 2}},
}  # fmt: skip
ROUNDED = ("a digit", "a count", "a note", "one more note", "the best stage")
"""What follows from how a machine rounds."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_is_named(name: str) -> None:
    assert len(list(differences([ROW], [{**ROW, **CHANGES[name]}], exact=True))) == 1
    assert len(list(differences([ROW], [{**ROW, **CHANGES[name]}], exact=False))) == (name not in ROUNDED)


@pytest.mark.parametrize("exact", [True, False])
def test_a_row_less_and_a_key_less_are_named(exact: bool) -> None:
    assert list(differences([ROW, ROW], [ROW], exact)) == [": were 2, are 1"]
    assert list(differences([ROW], [{key: ROW[key] for key in list(ROW)[1:]}], exact)) == ["[0].metric: is gone: 'map'"]
