"""`hamguard detect`: the table, the folder, no labels, and every request that is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.rows import read_rows
from tests.cli.conftest import World
from tests.cli.helpers import Shell

QUICK = ("--eps", "0.1", "--queries", 10, "--steps", 2, "--false-alarms", 0.1, "--neighbors", 5)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def test_table_rows_and_folder(shell: Shell, world: World, tmp_path: Path) -> None:
    answer = shell.done("detect", world.model, *QUICK, "--out", tmp_path / "d")
    lines = answer.out.splitlines()
    assert lines[0].startswith("false alarms: ") and "of 10 clean queries" in lines[0]
    assert "calibrated for 10.0% on 25 validation pictures" in lines[0]
    head = next(line for line in lines if line.startswith("attack"))
    assert all(word in head for word in ("knows the detector", "detected", "MAP", "evaded and broken"))
    table = {line.split("  ")[0]: line for line in lines}
    assert " no " in table["mainstay"] and all(" yes " in table[f"{g}, weight 1"] for g in ("leave", "decoy"))
    rows = read_rows(tmp_path / "d" / "rows.jsonl")
    worst = {row.metric: row for row in rows if row.attack and "tried" in row.attack}
    shown = table["worst of all aware"].split()
    assert shown[-4:] == [
        "yes", f"{worst['detected'].value:.1%}", f"{worst['map'].value:.4f}", f"{worst['evaded-and-broken'].value:.1%}",
    ]  # fmt: skip
    assert lines[-1] == (
        f"Against an attacker who knows it, this detector finds {shown[-3]} of attacked queries and lets {shown[-1]} through that "
        "are broken; it is worth that and no more."
    )
    facts = json.loads((tmp_path / "d" / "detector.json").read_text())
    assert facts["rate"] == 0.1 and facts["neighbors"] == 5 and len(facts["criteria"]["change"]) == 25
    assert facts["model"] == rows[0].hashes["model"]
    assert Image.open(tmp_path / "d" / "detector.png").size[0] > 500
    again = shell.done("detect", world.model, *QUICK, "--json").rows
    timeless = [{k: v for k, v in json.loads(row.json()).items() if k != "seconds"} for row in rows]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in again] == timeless


def test_pictures_without_labels(shell: Shell, world: World, tmp_path: Path) -> None:
    images = np.load(world.root / "toy.npz")["images"]
    np.savez(tmp_path / "bare.npz", images=images, labels=np.zeros((len(images), 2), np.uint8))
    text = shell.done("detect", world.model, "--data", f"arrays:{tmp_path / 'bare.npz'}", *QUICK).out
    assert "\nhag " in text and "Note: no labels; what a clean query finds first counts as relevant" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--false-alarms", 0), "rate of false alarms must be between 0 and 1, both excluded, got 0"),
        (("--false-alarms", 5), "got 5; did you mean 0.05?"),
        (("--false-alarms", 0.001), "a rate of 0.001 needs at least 999 validation pictures, got 25"),
        (("--neighbors", 1), "neighbors must be at least 2, got 1"),
        (("--neighbors", 1000), "number of neighbors must be between 2 and 225, got 1000"),
        (("--eps", "8"), "eps must be in (0, 1], got 8; did you mean 8 / 255?"),
        (("--eps", "x"), "eps must be a number such as 0.03 or 8/255, got 'x'"),
        (("--threat", "l3"), "unknown threat 'l3'; allowed: linf, l2"),
        (("--steps", 0), "got '0'"),
        (("--data", "arrays:none.npz"), "none.npz"),
    ],
)
def test_wrong_requests(words: tuple[object, ...], message: str, shell: Shell, world: World, tmp_path: Path) -> None:
    assert message in shell.fails(2, "detect", world.model, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(shell: Shell, world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file; --out must be a folder" in shell.fails(2, "detect", world.model, "--out", tmp_path / "file")
    assert "no model at nowhere" in shell.fails(2, "detect", "nowhere")


def test_help(shell: Shell) -> None:
    assert "hamguard detect models/digits --eps 0.1 --queries 100" in " ".join(
        shell.done("detect", "--help").out.split()
    )
