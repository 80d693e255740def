"""`hamguard train --method prosgan` and `hamguard attack --method prosgan`: what they say, and every request that is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import GENERATOR, World
from tests.cli.helpers import Shell

QUICK = ("--queries", "12")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def test_training_says_what_it_made_and_what_comes_next(shell: Shell, world: World, tmp_path: Path) -> None:
    words = (
        "train",
        "--method",
        "prosgan",
        "--victim",
        world.model,
        "--out",
        tmp_path / "g",
        "--epochs",
        1,
        *GENERATOR,
    )
    text = shell.done(*words).out
    assert "ProS-GAN, width 8, hard budget linf 51/255, 12 bits, 225 training pictures" in text
    assert text.splitlines()[-1] == (
        f"Next: hamguard attack '{world.model}' --method prosgan --generator {tmp_path / 'g'}"
    )
    again = shell.done(*words)
    assert "nothing was trained" in again.err
    card = shell.done(*words, "--json").rows[0]
    assert not card["fresh"] and card["kind"] == "prosgan" and card["data"]["source"] == world.data
    assert "holds another run" in shell.fails(2, *words, "--seed", 1)


def test_ctrl_c_and_the_same_command_end_in_the_same_bits(
    shell: Shell, world: World, generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamguard.training import loop

    words = (
        "train",
        "--method",
        "prosgan",
        "--victim",
        world.model,
        "--out",
        tmp_path / "g",
        "--epochs",
        1,
        *GENERATOR,
    )
    step, seen = loop._step, []

    def press(*args: object) -> float:
        seen.append(1)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_step", press)
    assert "keeps a checkpoint, and the same command goes on from there" in shell.fails(130, *words)
    shell.done(*words)
    name = "generator.safetensors"
    assert len(seen) == 3 and (tmp_path / "g" / name).read_bytes() == (generator / name).read_bytes()


def test_rows_and_table_of_a_generator(shell: Shell, world: World, generator: Path, tmp_path: Path) -> None:
    words = ("attack", world.model, "--method", "prosgan", "--generator", generator, *QUICK)
    rows = [row for row in shell.done(*words, "--json").rows if row["attack"] and row["attack"]["method"] == "prosgan"]
    assert all(row["threat"]["eps"] == pytest.approx(0.2) and row["backwards"] == 0 for row in rows)
    assert shell.done(*words, "--eps", "0.2").out.count("prosgan") >= 1
    line = shell.fails(2, *words, "--method", "dhta", "--sheet", tmp_path / "a.png")
    assert "take one method and one eps, got 2 attacks" in line


def test_a_soft_generator_has_no_eps(shell: Shell, world: World, tmp_path: Path) -> None:
    soft = ["--set", "width=8", "--set", "batch_size=64", "--set", "prototype_steps=5"]
    shell.done("train", "--method", "prosgan", "--victim", world.model, "--out", tmp_path / "g", "--epochs", 1, *soft)
    words = ("attack", world.model, "--method", "prosgan", "--generator", tmp_path / "g", *QUICK)
    out = shell.done(*words, "--sheet", tmp_path / "sheet.png").out
    assert "soft budget" in out and (tmp_path / "sheet.png").is_file()
    assert "noise: uniform with the RMSE of the attacked pictures" in out
    assert "a soft budget, which has no eps, got linf 0.1" in shell.fails(2, *words, "--eps", "0.1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "prosgan is trained against a model; give --victim MODEL"),
        (("--victim", "nowhere"), "no model at nowhere"),
        (("--victim", "MODEL", "--bits", 8), "--bits: belongs to hash models"),
        (("--victim", "MODEL", "--set", "widht=8"), "unknown key widht; did you mean width?"),
        (("--victim", "MODEL", "--preset", "own"), "unknown preset of prosgan 'own'; allowed: default, paper, code"),
        (("--victim", "MODEL", "--set", "budget=hard", "--set", "eps=8"), "eps must be in (0, 1], got 8"),
    ],
)
def test_wrong_training_requests(
    words: tuple[object, ...], message: str, shell: Shell, world: World, tmp_path: Path
) -> None:
    given = [world.model if word == "MODEL" else word for word in words]
    assert message in shell.fails(2, "train", "--method", "prosgan", "--out", tmp_path / "g", *given)
    assert not (tmp_path / "g").exists()


def test_a_victim_belongs_to_prosgan(shell: Shell, world: World, tmp_path: Path) -> None:
    line = shell.fails(2, "train", "--victim", world.model, "--data", world.data, "--out", tmp_path / "m")
    assert "--victim belongs to --method prosgan" in line


def test_wrong_attacks_with_a_generator(shell: Shell, world: World, generator: Path, tmp_path: Path) -> None:
    words = ("attack", world.model, *QUICK)
    line = shell.fails(2, *words, "--method", "prosgan")
    assert "prosgan needs a trained generator" in line and "hamguard train --method prosgan --victim" in line
    line = shell.fails(2, *words, "--method", "prosgan", "--generator", tmp_path / "no")
    assert f"no generator at {tmp_path / 'no'}; train one with hamguard train --method prosgan" in line
    line = shell.fails(2, *words, "--method", "hag", "--generator", generator)
    assert "--generator belongs to prosgan, got --method hag" in line
    line = shell.fails(2, *words, "--method", "prosgan", "--generator", generator, "--eps", "0.1")
    assert "trained for linf 0.2, got linf 0.1; leave --eps and --threat out" in line
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "generator.json").write_text(json.dumps({"kind": "prosgan"}))
    assert "is damaged" in shell.fails(2, *words, "--method", "prosgan", "--generator", damaged)
