"""One table and its printers: each shows every cell, and no name is taken as markup."""

from __future__ import annotations

import csv
import io

import pytest

from hamguard.core.errors import RequestError
from hamguard.report.printers import as_csv, as_markdown, as_tex, to_terminal
from hamguard.report.table import Cell, Table, note_lines

WILD = "a<b>[red] & c_d\x1b[2J"
TABLE = Table.of(
    "Scores",
    ("model", "MAP"),
    [(WILD, Cell("0.500", "[0.4, 0.6]", ((0.5, 0.4, 0.6),))), ("plain", "")],
    reading=["higher is better"],
    notes=note_lines(["six queries", "six queries"]),
    tag="never seen",
    strong=1,
)


def test_a_terminal_shows_title_reading_cells_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    to_terminal(TABLE, Table.of("", ("x",), [("1",)]))
    said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert said[:2] == ["Scores: never seen", "higher is better"]
    assert said[3].startswith("a<b>[red] & c_d\\x1b[2J") and said[3].endswith("0.500 [0.4, 0.6]")
    assert said[5:] == ["Note: six queries", "x", "1"]


def test_every_printer_holds_every_cell() -> None:
    html = TABLE._repr_html_()
    assert (
        "<strong>Scores</strong>" in html
        and "a&lt;b&gt;[red] &amp; c_d\\x1b[2J" in html
        and '<tr class="strong">' in html
    )
    assert "<small>[0.4, 0.6]</small>" in html and "<p>Note: six queries</p>" in html and "\x1b" not in html
    lines = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert lines == [["model", "MAP", "MAP low", "MAP high"], [WILD, "0.5", "0.4", "0.6"], ["plain", "", "", ""]]
    assert as_markdown(TABLE)[:2] == ["| model | MAP |", "|---|---|"] and as_markdown(TABLE)[3] == "| plain | |"
    assert r"\begin{tabular}{lr}" in as_tex(TABLE) and r"a\textless{}b\textgreater{}" in as_tex(TABLE)


def test_a_row_has_one_cell_a_column() -> None:
    with pytest.raises(RequestError, match="a table of 2 columns has a line of 1 cells"):
        Table.of("", ("a", "b"), [["1", "2"], ["1"]])
    with pytest.raises(RequestError, match="a table of 1 columns has a line of 2 cells"):
        Table("", ("a",), ((Cell("1"), Cell("2")),))
