"""`hg.report`: rows or files in, one page out, and what was found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, write_rows

ROWS = hg.Rows(
    [
        Row(dataset="toy", model="m", method="csq", task="query->database", metric="map", value=0.8, n=4),
        Row(dataset="toy", model="m", method="csq", task="query->database", metric="map", value=0.2, n=4,
            attack={"method": "hag", "guide": "own"}, threat={"norm": "linf", "eps": 0.1}),
    ]
)  # fmt: skip


def test_rows_and_files_make_the_same_page(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    made = hg.report(ROWS, tmp_path / "a.html", title="Mine", tables=tmp_path / "tables")
    again = hg.report(tmp_path, tmp_path / "b.html", title="Mine")
    assert (made.rows, made.sentences, made.bibtex) == (again.rows, again.sentences, again.bibtex) and made.rows == 2
    assert len(made.bibtex) == 3 and "hag" in made.sentences[1] and made.tables[0] == tmp_path / "tables" / "index.csv"
    one, other = ((tmp_path / name).read_text(encoding="utf-8") for name in ("a.html", "b.html"))
    assert one.partition(">Files<")[0] == other.partition(">Files<")[0] and "these rows" in one
    assert made.title in made._repr_html_() and ROWS.report(tmp_path / "c.html") == tmp_path / "c.html"


def test_the_command_says_what_the_function_returns(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    words = ["-m", "hamguard", "report", str(tmp_path), "--out", str(tmp_path / "a.html"), "--json"]
    said = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == hg.report([tmp_path], tmp_path / "a.html").facts


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a report takes rows, or files of rows, got both"):
        hg.report([ROWS[0], tmp_path], tmp_path / "a.html")  # type: ignore[list-item]
    with pytest.raises(RequestError, match="a report needs at least one row, got none"):
        hg.report([], tmp_path / "a.html")
    with pytest.raises(RequestError, match=r"a page is written as \.html, got a\.pdf"):
        hg.report(ROWS, tmp_path / "a.pdf")
