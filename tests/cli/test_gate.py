"""`hamguard gate`: exit codes 0, 1 and 2, and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.core.rows import write_rows
from tests.cli.helpers import Shell
from tests.report.rows_helpers import study

LIMITS = """
baseline = "old"
[limits.clean]
metric = "map"
attack = "none"
model = "models/a"
at_least = {at_least}
fall = 0.1
"""


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # the baseline lies beside the limits, not where the command runs
    write_rows(tmp_path / "old" / "rows.jsonl", study())
    write_rows(tmp_path / "new.jsonl", study())
    (tmp_path / "limits.toml").write_text(LIMITS.format(at_least=0.8))
    return tmp_path / "limits.toml"


def test_kept_is_0_and_broken_is_1(shell: Shell, limits: Path) -> None:
    words = ("gate", limits.parent / "new.jsonl", "--limits", limits)
    answer = shell.done(*words)
    assert "kept by 0.0123" in answer.out and "+0.0000" in answer.out and "The limit is kept." in answer.out
    limits.write_text(LIMITS.format(at_least=0.9))
    answer = shell(*words)
    assert answer.code == 1 and answer.err == "" and "1 of 1 limits broken: clean by 0.0877." in answer.out
    answer = shell(*words, "--json")
    assert answer.code == 1
    first, second = answer.rows
    assert (first["limit"], first["kept"], first["bound"], first["asked"]) == ("clean", False, "at_least", 0.9)
    assert (second["bound"], second["kept"], second["baseline"], second["moved"]) == ("fall", True, 0.8123, 0.0)


def test_bad_input_is_2_and_one_line(shell: Shell, limits: Path, tmp_path: Path) -> None:
    rows, words = tmp_path / "new.jsonl", ("--limits", limits)
    assert "no rows at none.jsonl" in shell.fails(2, "gate", "none.jsonl", *words)
    (tmp_path / "bad.jsonl").write_text("{")
    assert "bad.jsonl, line 1: not a JSON object" in shell.fails(2, "gate", tmp_path / "bad.jsonl", *words)
    (tmp_path / "empty.jsonl").write_text("")
    assert "holds no row" in shell.fails(2, "gate", tmp_path / "empty.jsonl", *words)
    assert "bad.jsonl, line 1" in shell.fails(2, "gate", rows, *words, "--baseline", tmp_path / "bad.jsonl")
    limits.write_text("[limits")
    assert "limits.toml is no readable file of limits" in shell.fails(2, "gate", rows, *words)
    limits.write_text('[limits.a]\nmetric = "mpa"\nat_least = 0\n')
    assert "no row has metric mpa; did you mean map?" in shell.fails(2, "gate", rows, *words)
    assert "no file of limits at" in shell.fails(2, "gate", rows, "--limits", tmp_path / "no.toml")


def test_a_notebook_gets_the_same(limits: Path) -> None:
    found = hg.gate(study(), limits, baseline=study())
    assert found.kept and not found.broken and len(found.judged) == 2 and repr(found) == "Gate(The limit is kept.)"
    assert "kept by 0.0123" in found._repr_html_()
    tables = {"limits": {"clean": {"metric": "map", "model": "models/a", "attack": "none", "at_most": 0.5}}}
    assert [one.margin for one in hg.gate(hg.Rows(study()), tables).broken] == pytest.approx([-0.3123])
    with pytest.raises(RequestError, match="rows must be rows, or files of rows, got both"):
        hg.gate([*study(), "x.jsonl"], tables)
