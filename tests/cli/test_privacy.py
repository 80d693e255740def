"""`hamguard train --method ppl` and `hamguard privacy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hamguard as hg
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_pictures

FAST = ("--epochs", 1, "--batch-size", 32, "--set", "warmup=10")
SMALL = ("--bits", 8, "--set", "epochs=1", "--queries", 10)


@pytest.fixture(scope="module")
def protector(world: World) -> Path:
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    folder = world.root / "protector"
    words = ["train", "--method", "ppl", "--data", world.data, "--eps", "0.3", *FAST, "--out", folder]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, (result.output, result.exception)
    return folder


def test_training_says_what_it_made_and_is_not_repeated(shell: Shell, world: World, protector: Path) -> None:
    words = ("train", "--method", "ppl", "--data", world.data, "--eps", "0.3", *FAST, "--out", protector)
    answer = shell.done(*words)
    assert "nothing was trained" in answer.err
    assert "one-step game" in answer.out
    assert "76.5 of 255 levels" in answer.out
    (row,) = shell.done(*words, "--json").rows
    assert (row["eps"], row["fresh"], row["surrogate_names"]) == (0.3, False, ["conv2, 8 bits"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--eps", "8"), "did you mean 8/255"),
        (("--bits", "16"), "--bits: belongs to hash models"),
        (("--set", "normalise=mean"), "did you mean normalize"),
        (("--surrogate", "nothing"), "not a model folder"),
        (("--preset", "code"), "unknown preset of ppl 'code'"),
    ],
)
def test_wrong_training_is_one_line(
    shell: Shell, world: World, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    line = shell.fails(2, "train", "--method", "ppl", "--data", world.data, "--out", tmp_path / "p", *words)
    assert message in line
    assert not (tmp_path / "p").exists()


def test_options_of_ppl_belong_to_ppl(shell: Shell, world: World, tmp_path: Path) -> None:
    for words in (("--eps", "0.1"), ("--surrogate", world.model)):
        line = shell.fails(2, "train", "--data", world.data, "--out", tmp_path / "m", *words)
        assert "belongs to --method ppl" in line


def test_four_searches_with_their_plots(shell: Shell, world: World, protector: Path, tmp_path: Path) -> None:
    words = ("privacy", protector, "--method", "dsdh", "--method", "adsh", *SMALL, "--out", tmp_path / "run")
    rows = shell.done(*words, "--json").rows
    assert {(row["method"], row["train"]) for row in rows} == {(m, t) for m in ("dsdh", "adsh") for t in "CA"}
    four = {"C->C", "C->A", "A->C", "A->A"}
    assert {row["task"] for row in rows if row["method"] == "dsdh"} == four
    assert {row["task"] for row in rows if row["method"] == "adsh"} == four | {"C->learned", "A->learned"}
    assert all(0 <= row["value"] <= 1 and row["n"] == 10 and row["threat"]["eps"] == 0.3 for row in rows)
    answer = shell.done(*words)  # every cell is there already
    assert "C->learned" in answer.out and "dsdh" in answer.out
    again = shell.done(*words, "--json").rows
    assert again == rows
    plot = tmp_path / "ratio.png"
    shell.done("privacy", protector, *SMALL, "--train", 0, "--train", 0.5, "--out", tmp_path / "run", "--plot", plot)
    assert np.asarray(Image.open(plot)).std() > 5
    words = ("privacy", "noise", "--data", world.data, *SMALL, "--train", 0, "--out", tmp_path / "run")
    (first, *_) = shell.done(*words, "--eps", "0.1", "--json").rows
    assert first["attack"]["method"] == "noise"
    rows = shell.done(*words[:1], "noise", protector, *words[2:], "--eps", "0.1", "--json").rows
    assert [row["attack"]["method"] for row in rows] == ["noise"] * 4 + ["ppl"] * 4
    assert {row["threat"]["eps"] for row in rows} == {0.1}


def test_a_protector_is_measured_on_the_split_that_it_learned_from(shell: Shell, world: World, tmp_path: Path) -> None:
    made = {}
    for seed in (3, 4):
        data = hg.data(world.data, split_seed=seed, size=20)
        words: dict[str, Any] = {"warmup": 1, "epochs": 1, "batch_size": 32}
        made[seed] = hg.train(data, "ppl", out=tmp_path / f"{seed}", eps=0.3, **words).card.data
    one = ("--train", 0, "--out", tmp_path / "run", "--json")
    rows = shell.done("privacy", tmp_path / "3", *SMALL, *one).rows
    assert {row["split"] for row in rows} == {made[3]["split"]} != {made[4]["split"]}
    line = shell.fails(2, "privacy", tmp_path / "3", tmp_path / "4", *SMALL, *one)
    assert f"the protectors learned from different splits of {world.data}; measure them one by one" in line
    same = shell.done("privacy", tmp_path / "3", "--data", world.data, *SMALL, *one).rows
    assert same == rows, "its own data, named"


def test_an_attack_on_every_picture_and_views(shell: Shell, world: World, protector: Path, tmp_path: Path) -> None:
    words = (*SMALL, "--train", 0, "--out", tmp_path / "run", "--json")
    rows = shell.done("privacy", f"attack:{world.model}", "--eps", "0.2", "--steps", 1, *words).rows
    assert rows[0]["attack"]["method"] == "attack"
    seen = shell.done("privacy", protector, "--view", "jpeg:50", "--view", "bits:3", *words).rows
    assert seen[0]["attack"]["views"] == ["jpeg:50", "bits:3"]
    assert json.loads(json.dumps(seen[0]))["hashes"]["database_codes"] == rows[0]["hashes"]["database_codes"]  # C->C


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "not a protector folder"),
        (("noise",), "noise needs eps"),
        (("noise", "--eps", "8"), "did you mean 8 / 255"),
        (("noise", "--eps", "0.1"), "data"),
        (("PROTECTOR", "--train", "2"), "must be in [0, 1], got 2"),
        (("PROTECTOR", "--method", "dsdhh"), "unknown hash method"),
        (("PROTECTOR", "--view", "shake:1"), "unknown view"),
        (("PROTECTOR", "--plot", "plot.txt"), "--plot"),
    ],
)
def test_wrong_words_are_one_line(
    shell: Shell, protector: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    given = [str(protector) if word == "PROTECTOR" else word for word in words]
    line = shell.fails(2, "privacy", *given, "--out", tmp_path / "run")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_a_protector_that_learns_against_features(world: World, shell: Shell, tmp_path: Path) -> None:
    """From the command to a copy; what it says is what the card holds."""
    words = ("train", "--method", "features", "--data", world.data, "--surrogate", world.model, "--epochs", 1)
    said = shell.done(*words, "--set", "pictures=40", "--out", tmp_path / "p").out
    card = json.loads((tmp_path / "p" / "protector.json").read_text())
    assert "a generator against features, width small" in said and "40 training pictures" in said
    assert f"SSIM {card['history'][-1]['ssim']:.3f}" in said and len(card["networks"]) == 1
    assert "needs models to learn against" in shell.fails(2, *words[:5], "--out", tmp_path / "none")
    write_pictures(tmp_path / "in", 1)
    shell.done("protect", tmp_path / "in", tmp_path / "out", "--protector", tmp_path / "p", "--check", 0)
    assert (tmp_path / "out" / "000.png").is_file()
    words = ("privacy", tmp_path / "p", *SMALL, "--train", 0, "--out", tmp_path / "run")
    assert {row["attack"]["method"] for row in shell.done(*words, "--json").rows} == {"features"}
    table = shell.done(*words).out
    assert "features, eps" in table and "ppl" not in table
