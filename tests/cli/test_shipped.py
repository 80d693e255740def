"""Commands take the name of a shipped model wherever they take a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.helpers import Shell


def test_evaluate_and_attack_by_name(shell: Shell) -> None:
    rows = shell.done("evaluate", "shipped:digits", "--queries", 60, "--json").rows
    clean = next(row for row in rows if row["metric"] == "map")
    assert clean["model"] == "shipped:digits" and clean["value"] > 0.95
    words = ("--method", "hag", "--eps", "0.2", "--steps", 3, "--queries", 12, "--json")
    held = {}
    for name in ("shipped:digits", "shipped:digits-hard"):
        rows = shell.done("attack", name, *words).rows
        held[name] = next(
            row["value"] for row in rows if row["metric"] == "map" and (row["attack"] or {}).get("method") == "hag"
        )
    assert held["shipped:digits-hard"] > held["shipped:digits"] + 0.1


def test_an_index_of_a_shipped_model_can_be_asked(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell.done("index", "build", "shipped:digits", "--out", "index")
    assert len(shell.done("search", "index", "query:0", "--json").rows) == 10


def test_a_wrong_name_costs_no_work(shell: Shell) -> None:
    said = "there are shipped:digits, shipped:digits-hard"
    for words in (("attack", "shipped:x", "--method", "hag"), ("audit", "shipped:x"), ("evaluate", "shipped:x")):
        assert said in shell.fails(2, *words)
