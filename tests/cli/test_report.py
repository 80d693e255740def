"""`hamguard report`: a page from rows files, and one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.core.rows import write_rows
from tests.cli.helpers import Shell
from tests.report.rows_helpers import row, study


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "one" / "rows.jsonl", study())
    return tmp_path / "one" / "rows.jsonl"


def test_a_page_and_tables_are_written(shell: Shell, rows: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "two.jsonl", [*study(), row(0.7, n=50, version="0.0.9")])
    answer = shell.done("report", rows.parent, "two.jsonl", "--out", "pages/r.html", "--title", "Mine", "--tables", "t")
    lines = answer.out.splitlines()
    assert lines[0] == (
        "digits: asked with unchanged pictures, models/a scores MAP 0.812, where 1 is a perfect list of answers; "
        "random codes score 0.101."
    )
    assert any(line.startswith("Remark: 14 rows stand more than once") for line in lines)
    assert any(line.startswith("Remark: other version: 1 row is of hamguard 0.0.9") for line in lines)
    assert answer.err.startswith("wrote pages/r.html and ")
    assert "<h1>Mine</h1>" in (tmp_path / "pages" / "r.html").read_text()
    assert (tmp_path / "t" / "index.csv").is_file()


def test_json_says_the_same(shell: Shell, rows: Path) -> None:
    (facts,) = shell.done("report", rows, "--json").rows
    assert facts["out"] == "report.html" and Path("report.html").is_file()
    assert facts["rows"] == 14 and facts["duplicates"] == 0 and facts["remarks"] == [] and facts["tables"] == []
    assert facts["sentences"][0].startswith("digits: asked with unchanged pictures, models/a scores")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.jsonl"], "no rows at none.jsonl"),
        (["."], "no rows at rows.jsonl"),
        (["empty.jsonl"], "empty.jsonl holds no row"),
        (["bad.jsonl"], "bad.jsonl, line 2: value must be a finite number or null, got \"abc\""),
        (["one", "--out", "r.pdf"], "a page is written as .html, got r.pdf"),
        (["one", "--out", "empty.jsonl/r.html"], "empty.jsonl is a file"),
        (["one", "--out", "dir.html"], "dir.html is a folder"),
        (["one", "--tables", "empty.jsonl"], "empty.jsonl is a file"),
        (["one", "--tables", "empty.jsonl/t"], "empty.jsonl is a file"),
        (["three"], "three/pictures.json, picture 1: ../x.png lies outside of three"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_line(shell: Shell, rows: Path, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text(rows.read_text().splitlines()[0] + '\n{"value": "abc"}\n')
    (tmp_path / "dir.html").mkdir()
    write_rows(tmp_path / "three" / "rows.jsonl", study())
    (tmp_path / "three" / "pictures.json").write_text('[{"file": "../x.png"}]')
    assert said in shell.fails(2, "report", *words)
    assert not Path("report.html").exists() and not list(tmp_path.glob("t/*"))
