"""`hamguard harden`: the table, the rows, resume, and every request that is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from hamguard.core.rows import read_rows
from hamguard.models.store import read_card
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays, write_pictures

QUICK = ("--eps", "0.1", "--epochs", 1, "--set", "steps=1", "--queries", 12, "--steps", 2, "--sanity", 0, "--audit", 0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def test_table_rows_and_folder(shell: Shell, world: World, tmp_path: Path) -> None:
    words = ("harden", world.model, "--method", "cgat", *QUICK, "--out", tmp_path / "h")
    answer = shell.done(*words, "--out-rows", tmp_path / "rows.jsonl")
    text = answer.out
    assert "CgAT (Wang, Lin, Li, WWW 2023), linf 0.1, 1 epoch over 225 training pictures" in text
    assert "before and after (12 queries, linf 0.1, database encoded again)" in text
    for line in ("clean MAP", "MAP under noise", "MAP under mainstay", "t-MAP under mainstay toward", "bits moved"):
        assert line in text
    assert text.splitlines()[-1] == f"Next: hamguard audit {tmp_path / 'h'} --eps 0.1"
    rows = read_rows(tmp_path / "rows.jsonl")
    before = [row for row in rows if row.model == str(world.model)]
    after = [row for row in rows if row.model == str(tmp_path / "h")]
    assert before and len(before) == len(after)
    assert all(row.defense is None for row in before)
    assert all(row.defense and row.defense["method"] == "cgat" and row.defense["eps"] == 0.1 for row in after)
    hashes = {(row.hashes["model"], row.hashes["database_codes"]) for row in (before[0], after[0])}
    assert len({model for model, _ in hashes}) == 2, "each model encodes the database itself"
    clean = [row.value for row in (before[0], after[0])]
    assert f"{clean[0]:.4f}" in text and f"{clean[1]:.4f}" in text
    again = shell.done(*words, "--json")
    assert next(json.loads(row.json()) for row in rows if row.metric == "map") in again.rows
    assert all(row["model"] in (str(world.model), str(tmp_path / "h"), "random codes") for row in again.rows)
    assert "nothing was trained" in shell.done(*words).err
    assert "holds another run" in shell.fails(2, *words, "--set", "lam=2")
    assert shell.done(*words, "--set", "lam=2", "--restart", "--no-measure").out.count("\n") >= 2
    assert read_card(tmp_path / "h").parent == read_card(world.model).weights_hash
    evaluated = shell.done("evaluate", tmp_path / "h", "--json").rows
    assert all(row["defense"]["settings"]["lam"] == 2 for row in evaluated if row["model"] == str(tmp_path / "h"))


def test_other_data_and_the_audit(shell: Shell, world: World, tmp_path: Path) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'more.npz', n=200, seed=1)}"
    words = ("harden", world.model, "--data", data, "--method", "consistency", *QUICK, "--out", tmp_path / "h")
    text = shell.done(*words, "--audit", 6).out
    assert "worst MAP of the audit, 6 queries" in text and "149 training pictures" in text
    assert read_card(tmp_path / "h").data["source"] == data
    shell.done("evaluate", tmp_path / "h")


def test_photos_take_minutes_where_nobody_says_otherwise(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamguard.api.harden.PICTURES", 20)
    monkeypatch.setattr("hamguard.api.harden.ATTACKED", 6)
    data = f"arrays:{write_arrays(tmp_path / 'photos.npz', n=80, size=96)}"
    own = ("--backbone", "conv2", "--method", "csq", "--bits", 8, "--epochs", 1)
    shell.done("train", "--data", data, *own, "--out", tmp_path / "m")
    words = ("harden", tmp_path / "m", "--eps", "0.1", "--method", "control", "--out")
    few = shell.done(*words, tmp_path / "few", "--no-measure")
    card = read_card(tmp_path / "few")
    assert card.defense["settings"]["pictures"] == 20 and card.recipe["batch_size"] == 16
    assert "an epoch sees 20 training photos" in few.err
    quick = (*words, tmp_path / "all", "--epochs", 1, "--set", "lr=1e-6", "--audit", 0, "--sanity", 0)
    whole = shell.done(*quick)
    assert "pictures" not in read_card(tmp_path / "all").defense["settings"], "who says how long sees them all"
    assert "an epoch sees" not in whole.err and "the first 6 of" in whole.err
    assert "(6 queries, linf 0.1" in whole.out
    spent = [row["backwards"] for row in shell.done(*quick, "--json").rows if row["backwards"]]
    assert spent and max(spent) <= 20


def test_pictures_without_labels(shell: Shell, tmp_path: Path) -> None:
    bare = write_pictures(tmp_path / "bare", n=80)
    shell.done("train", "--data", f"folder:{bare}", "--method", "lsh", "--bits", 8, "--out", tmp_path / "m")
    text = shell.done("harden", tmp_path / "m", "--method", "distill", *QUICK, "--out", tmp_path / "h").out
    assert "bits moved by hag" in text and "MAP" not in text
    line = shell.fails(2, "harden", tmp_path / "m", "--method", "saat", *QUICK, "--out", tmp_path / "x")
    assert "saat needs labels; without: consistency, distill, trades" in line


def test_ctrl_c_and_the_same_command_end_in_the_same_bits(
    shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamguard.training import loop

    words = ("harden", world.model, "--method", "saat", *QUICK, "--no-measure", "--out")
    shell.done(*words, tmp_path / "whole")
    step, seen = loop._step, []

    def press(*args: object) -> float:
        seen.append(1)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_step", press)
    assert "the same command goes on from there" in shell.fails(130, *words, tmp_path / "h")
    shell.done(*words, tmp_path / "h")
    name = "model.safetensors"
    assert (tmp_path / "h" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_alarm_is_said(shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hamguard.defenses import task

    words = ("harden", world.model, "--eps", "0.1", "--epochs", 2, "--set", "fast=true", "--no-measure", "--out")
    monkeypatch.setattr(task, "ALARM", -2.0)
    text = shell.done(*words, tmp_path / "h").out
    assert "Note: catastrophic overfitting in 2 of 2 epochs" in text and "leave out fast" in text
    monkeypatch.setattr(task, "ALARM", 1.0)
    assert "overfitting" not in shell.done(*words, tmp_path / "g").out


def test_help_and_lists(shell: Shell) -> None:
    told = shell.done("harden", "--help").out
    assert "Examples" in told and "hamguard harden models/digits --method cgat" in " ".join(told.split())
    text = shell.done("harden", "--list").out
    assert all(
        name in text for name in ("saat", "cgat", "atrdh", "static", "consistency", "distill", "trades", "control")
    )
    rows = {row["method"]: row for row in shell.done("harden", "--list", "--json").rows}
    assert rows["saat"]["settings"]["mu"]["default"] == 1e-4 and not rows["control"]["needs_labels"]


def test_a_budget_is_epochs(shell: Shell, world: World, tmp_path: Path) -> None:
    words = ("harden", world.model, "--method", "saat", "--no-measure", "--out", tmp_path / "h")
    shell.done(*words, "--budget", 9, "--set", "steps=1")
    assert read_card(tmp_path / "h").recipe["epochs"] == round(9 * 2 / 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give a MODEL to begin from and --out; `hamguard harden --list` lists the methods"),
        (("MODEL",), "give a MODEL to begin from and --out"),
        (("nowhere", "--out", "OUT"), "nowhere is not a model folder"),
        (("MODEL", "--out", "OUT", "--method", "cgta"), "unknown defense 'cgta'"),
        (("MODEL", "--out", "OUT", "--eps", "8"), "eps must be in (0, 1], got 8; did you mean 8 / 255?"),
        (("MODEL", "--out", "OUT", "--eps", "x"), "eps must be a number such as 0.03 or 8/255, got 'x'"),
        (("MODEL", "--out", "OUT", "--threat", "l3"), "norm: "),
        (("MODEL", "--out", "OUT", "--set", "lamb=2"), "unknown key lamb of saat; did you mean lam?"),
        (("MODEL", "--out", "OUT", "--epochs", 2, "--budget", 1), "give --epochs or --budget, not both"),
        (("MODEL", "--out", "OUT", "--budget", 0), "--budget must be above 0, got 0"),
        (("MODEL", "--out", "OUT", "--no-measure", "--out-rows", "r.jsonl"), "--no-measure leaves no rows"),
        (("MODEL", "--out", "OUT", "--data", "arrays:none.npz"), "none.npz"),
        (("MODEL", "--out", "MODEL"), "is the model to harden; --out must be another folder"),
        (("MODEL", "--out", "OUT", "--steps", 0), "got '0'"),
    ],
)
def test_wrong_requests(words: tuple[object, ...], message: str, shell: Shell, world: World, tmp_path: Path) -> None:
    places = {"MODEL": world.model, "OUT": tmp_path / "out"}
    given = [places.get(word, word) if isinstance(word, str) else word for word in words]
    assert message in shell.fails(2, "harden", *given)
    assert not (tmp_path / "out").exists()
