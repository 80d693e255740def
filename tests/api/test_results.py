"""Rows of the door: asked, shown in a notebook, written as a page, turned into a frame."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row

FACTS: dict[str, Any] = {
    "dataset": "toy <b>",
    "model": "m",
    "bits": 8,
    "task": "query->database",
    "ties": "expected",
    "n": 9,
}
HAG = {"attack": {"method": "hag", "guide": "own"}, "threat": {"norm": "linf", "eps": 8 / 255, "steps": 5}}
ROWS = hg.Rows(
    [
        Row(metric="map", value=0.9, ci95=(0.8, 0.95), **FACTS),
        Row(metric="map", value=0.2, ci95=(0.1, 0.3), **FACTS, **HAG),
        Row(metric="bits-moved", value=3.0, **FACTS, **HAG),
    ]
)


def test_what_is_asked_of_rows_shows_itself_too() -> None:
    asked = ROWS.where(attack="hag")
    assert isinstance(asked, hg.Rows) and isinstance(ROWS.once(), hg.Rows) and asked.one("map").value == 0.2
    assert repr(ROWS) == "Rows(3: 2 map, 1 bits-moved)"


def test_rows_are_tables() -> None:
    assert {number for table in ROWS.tables() for number in table.shown} == {0, 1, 2}  # every row stands in one
    assert ROWS.where(attack=None).table().texts[0][2:5:2] == ["map", "0.9000"]
    page = ROWS._repr_html_()
    assert "<table" in page and "toy &lt;b&gt;" in page and "<b>" not in page.replace("<b>toy", "")
    assert hg.Rows()._repr_html_() == "<div>no rows</div>" and hg.Rows().tables() == []
    with pytest.raises(RequestError, match="no row"):
        hg.Rows().table()


def test_rows_are_a_page_and_a_file(tmp_path: Path) -> None:
    page = ROWS.report(tmp_path / "page.html", title="Mine")
    assert "<title>Mine" in page.read_text(encoding="utf-8")
    ROWS.save(tmp_path / "run" / "rows.jsonl")
    assert (
        hg.read_rows(tmp_path / "run") == ROWS
        and hg.read_rows(tmp_path / "run" / "rows.jsonl", tmp_path / "run")[3] == ROWS[0]
    )
    with pytest.raises(RequestError, match=r"\.html"):
        ROWS.report(tmp_path / "page.txt")
    with pytest.raises(RequestError, match="at least one row"):
        hg.Rows().report(tmp_path / "none.html")
    with pytest.raises(RequestError, match="no rows at"):
        hg.read_rows(tmp_path / "nowhere")
    with pytest.raises(RequestError, match="give a rows file"):
        hg.read_rows()


def test_rows_are_a_frame_where_pandas_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RequestError, match="needs pandas, which is not installed"):
        ROWS.to_frame()
    pandas = ModuleType("pandas")
    pandas.DataFrame = list  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    first, second, _ = ROWS.to_frame()
    assert second["attack.method"] == "hag" and second["threat.eps"] == 8 / 255 and "attack.method" not in first
    assert (first["low"], first["high"], first["value"]) == (0.8, 0.95, 0.9)
