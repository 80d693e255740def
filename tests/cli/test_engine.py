"""`hamguard engine check`: table, page, rows, files of faults, and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

import hamguard as hg
from hamguard.core.rows import read_rows
from tests.cli.helpers import Shell

QUICK = ("--items", 400, "--queries", 20, "--collapse", 0.9)


def test_a_check_prints_a_table_and_three_sentences(shell: Shell, tmp_path: Path) -> None:
    answer = shell.done("engine", "check", "faiss-flat", *QUICK, "--out", tmp_path / "checked")
    assert "faiss-flat: faiss-cpu" in answer.out and "90% copies" in answer.out
    assert answer.out.rstrip().endswith(
        "faiss-flat answered every question that it takes as brute force does.\n"
        "Where 90% of the items are copies, it finds every code that is there.\n"
        "Learned codes are safe in it."
    )
    rows = read_rows(tmp_path / "checked" / "rows.jsonl")
    assert len(rows) == 13 and {row.protocol for row in rows} == {"engine-check"}
    page = (tmp_path / "checked" / "report.html").read_text()
    assert "Learned codes are safe in it." in page and "not offered" in page
    shell.done("report", tmp_path / "checked" / "rows.jsonl", "--out", tmp_path / "all.html")
    assert "more equal items than places" in (tmp_path / "all.html").read_text()


def test_several_engines_stand_side_by_side(shell: Shell) -> None:
    answer = shell.done("engine", "check", "faiss-flat", "faiss-ivf", *QUICK)
    assert answer.out.startswith("Engines") and answer.out.count("Learned codes are safe in it") == 2
    rows = shell.done("engine", "check", "faiss-ivf", *QUICK, "--json").rows
    assert {row["attack"]["exact"] for row in rows} == {False}


def test_an_exact_engine_that_misses_ends_in_1_and_leaves_files(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_engine.py").write_text(
        "from hamguard.retrieval.forms.faiss_forms import FaissHnsw\n"
        "class Mine(FaissHnsw):\n    exact = True\n    def version(self):\n        return 'mine 1'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ("--items", 3000, "--queries", 200, "--collapse", 0.9, "--out", tmp_path / "found")
    answer = shell("engine", "check", "my_engine:Mine", *words)
    assert answer.code == 1 and "my_engine:Mine does not answer right" in answer.out
    files = sorted((tmp_path / "found").glob("fault-*.py"))
    assert f"{len(files)} file{'s' * (len(files) != 1)} of faults" in answer.err
    text = (tmp_path / "found" / "fault-my-engine-mine-equal-codes-90.py").read_text()
    assert "from my_engine import Mine" in text and all(one.read_text().count("\n") < 40 for one in files)


def test_wrong_words(shell: Shell) -> None:
    assert "faiss-hnsw" in shell.done("engine", "check", "--list").out.splitlines()
    assert "give an ENGINE" in shell.fails(2, "engine", "check")
    assert "unknown engine 'faiss'" in shell.fails(2, "engine", "check", "faiss")
    assert "collapse must be a share" in shell.fails(2, "engine", "check", "faiss-flat", "--collapse", 1)
    assert "items must be at least 100" in shell.fails(2, "engine", "check", "faiss-flat", "--items", 5)


def test_the_same_in_python(tmp_path: Path) -> None:
    from hamguard.retrieval.forms.faiss_forms import FaissHnsw

    rows = hg.engine_check(FaissHnsw, collapse=[0.9], items=3000, queries=200)
    assert not rows.broken and rows.where(metric="equal codes").one().value > 0.04
    assert "Keep each code once" in rows.sentences[2] and list(rows.faults) == ["fault-faisshnsw-equal-codes-90.py"]
    assert rows.where(metric="equal codes, each code once").one().value == 0
    assert rows.report(tmp_path / "page.html").exists() and len(rows.tables()) == 1
    with pytest.raises(hg.HamguardError, match="give an engine"):
        hg.engine_check([])
    with pytest.raises(hg.HamguardError, match="give a level"):
        hg.engine_check("faiss-flat", collapse=[])
