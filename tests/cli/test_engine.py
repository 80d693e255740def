"""`hamguard engine check`: table, page, rows, files of faults, and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hamguard as hg
from hamguard.codes.bank import CodeBank
from hamguard.core.rows import read_rows
from hamguard.retrieval.stores import retry
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


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("json:loads", "the engine cannot be made: TypeError: loads() missing 1 required positional argument"),
        ("builtins:dict", "an engine has the methods build and search, dict lacks build, search"),
    ],
)
def test_a_factory_that_makes_no_engine_is_refused(shell: Shell, factory: str, said: str) -> None:
    assert said in shell.fails(2, "engine", "check", factory, *QUICK)


def test_a_server_that_is_away_is_one_line_and_no_fault_of_an_engine(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="no psycopg here: it is the extra `postgres`")
    monkeypatch.setattr(retry, "PAUSE", 0)
    line = shell.fails(1, "engine", "check", "postgresql://me:never-shown@127.0.0.1:1/photos#a", *QUICK)
    assert "postgresql://me@127.0.0.1:1/photos#a cannot be reached" in line and "never-shown" not in line


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
    with pytest.raises(hg.HamguardError, match="engines must be a name, a factory, or a list of these, got None"):
        hg.engine_check(None)  # type: ignore[arg-type]
    with pytest.raises(hg.HamguardError, match="give an engine"):
        hg.engine_check([])
    with pytest.raises(hg.HamguardError, match="give a level"):
        hg.engine_check("faiss-flat", collapse=[])


@pytest.fixture
def collapsed(tmp_path: Path) -> Path:
    """A bank of 3,000 codes of 20 bits, nine tenths of them copies, sorted as by class."""
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (300, 3), dtype=np.uint8)[np.sort(np.minimum(rng.geometric(0.02, 3000), 300) - 1)]
    packed[:, 2] &= 15
    CodeBank(packed, 20, np.zeros((3000, 0), np.uint8)).save(tmp_path / "bank.npz")
    return tmp_path / "bank.npz"


def test_codes_of_ones_own_are_asked_besides(shell: Shell, tmp_path: Path, collapsed: Path) -> None:
    shell.done("index", "build", collapsed, "--out", tmp_path / "index")
    for codes, held in ((collapsed, collapsed), (tmp_path / "index", tmp_path / "index")):
        answer = shell.done("engine", "check", "faiss-flat", *QUICK[:4], "--codes", codes)
        assert f"3,000 codes of {held}" in " ".join(answer.out.split()) and "90% copies" in answer.out
    copies = 1 - len(np.unique(CodeBank.load(collapsed).packed, axis=0)) / 3000
    rows = shell.done("engine", "check", "faiss-flat", *QUICK[:4], "--codes", collapsed, "--json").rows
    assert [row["attack"]["collapse"] for row in rows[::13]] == [0.0, 0.1, 0.9, copies]
    own = [row for row in rows if row["bits"]]
    assert len(own) == 13 and {row["attack"]["outcome"] for row in own} == {"right", "not offered"}
    assert {row["attack"]["codes"] for row in own} == {str(collapsed)} and own[0]["hashes"]["database_codes"]
    assert own[0]["n"] == 200 and "no such" not in shell.fails(
        2, "engine", "check", "faiss-flat", "--codes", "none.npz"
    )


def test_a_fault_in_ones_own_codes_is_a_file_beside_them(tmp_path: Path, collapsed: Path) -> None:
    from hamguard.retrieval.forms.faiss_forms import FaissHnsw

    rows = hg.engine_check(FaissHnsw, codes=str(collapsed), collapse=[], queries=100, out=tmp_path / "out")
    missed = rows.where(metric="equal codes").one().attack["missed"]
    assert missed > 5 and f"In 3,000 codes of {collapsed}" in rows.sentences[1]
    text = (tmp_path / "out" / "fault-faisshnsw-equal-codes-own-codes.py").read_text()
    assert text.count("\n") < 40 and np.array_equal(
        CodeBank.load(tmp_path / "out" / "codes.npz").packed, rows.codes.packed
    )
    words = [sys.executable, "fault-faisshnsw-equal-codes-own-codes.py"]
    done = subprocess.run(words, cwd=tmp_path / "out", capture_output=True, text=True, timeout=60)
    assert f"{missed} of 100 answers are wrong" in done.stderr


def test_of_very_many_codes_some_are_asked(monkeypatch: pytest.MonkeyPatch, collapsed: Path) -> None:
    monkeypatch.setattr("hamguard.api.engine.LARGEST", 500)
    rows = hg.engine_check("faiss-flat", codes=CodeBank.load(collapsed), collapse=[], queries=10)
    assert rows[0].dataset.startswith("500 codes of a bank, ") and rows[0].notes == ("500 of 3,000 codes",)
    assert rows.codes.ids.tolist() != [str(one) for one in range(500)]
    with pytest.raises(hg.HamguardError, match="items in codes must be at least 1000"):
        hg.engine_check("faiss-flat", codes=rows.codes, collapse=[], queries=1000)
