"""`hamguard transfer`: the matrix, its rows, its picture, resume after a stop, and what it says to wrong requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamguard.evaluation.attack import run as attack_run
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays

SMALL = ("--eps", "0.25", "--steps", "8", "--queries", "12", "--batch-size", "5")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def other(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model of the same pictures: other method, other length, other seed."""
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    folder = tmp_path_factory.mktemp("transfer") / "other"
    words = ["train", "--data", world.data, "--method", "dpsh", "--bits", "20", "--epochs", "2", "--batch-size", "32"]
    result = CliRunner().invoke(app, [*words, "--seed", "5", "--out", str(folder)])
    assert result.exit_code == 0, (result.output, result.exception)
    return folder


def cells(rows: list[dict[str, Any]], metric: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of pairs, by source and scored model."""
    return {
        (row["attack"]["made_on"][0], row["model"]): row
        for row in rows
        if row["metric"] == metric and row["attack"] and "made_on" in row["attack"]
    }


def test_every_pair_is_a_row(shell: Shell, world: World, other: Path, tmp_path: Path) -> None:
    a, b = str(world.model), str(other)
    rows = shell.done("transfer", a, b, *SMALL, "--out", tmp_path / "r.jsonl", "--json").rows
    maps, scores = cells(rows, "map"), cells(rows, "transfer")
    assert set(maps) == set(scores) == {(a, a), (a, b), (b, a), (b, b)}
    clean = {row["model"]: row["value"] for row in rows if row["metric"] == "map" and row["attack"] is None}
    noise = {row["model"] for row in rows if row["attack"] and row["attack"]["method"] == "noise"}
    assert set(clean) == noise == {a, b}
    for source, asked in maps:
        own = maps[source, asked]
        gained, white = clean[asked] - own["value"], clean[asked] - maps[asked, asked]["value"]
        assert scores[source, asked]["value"] == pytest.approx(gained / white)
        assert own["task"] == "query->database" and own["ci95"][0] <= own["value"] <= own["ci95"][1] and own["n"] == 12
        assert own["attack"]["method"] == "mainstay" and own["bits"] == {a: 12, b: 20}[asked]
        assert own["threat"] == {"norm": "linf", "eps": 0.25, "steps": 8, "restarts": 1, "grid": "8 bit"}
        assert own["backwards"] <= 8 and own["hashes"]["made_on"] == maps[source, source]["hashes"]["model"]
    assert scores[a, a]["value"] == scores[b, b]["value"] == 1 and scores[a, b]["value"] != scores[b, a]["value"]
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == len(rows) == 4 + 8
    assert not list((tmp_path / "cache" / "transfer").iterdir()), "a finished matrix leaves no pictures"


def test_a_pair_is_what_attack_says(shell: Shell, world: World, other: Path) -> None:
    rows = shell.done("transfer", world.model, other, *SMALL, "--json").rows
    words = ("attack", other, "--method", "mainstay", *SMALL, "--source-model", world.model, "--json")
    alone = [row for row in shell.done(*words).rows if row["metric"] == "map" and row["attack"]]
    assert alone[-1]["value"] == cells(rows, "map")[str(world.model), str(other)]["value"]


def test_toward_targets_and_a_model_that_is_only_asked(shell: Shell, world: World, other: Path, tmp_path: Path) -> None:
    words = ("transfer", world.model, "--target", other, "--method", "dhta", *SMALL)
    rows = shell.done(*words, "--json").rows
    aimed, scores = cells(rows, "t-map"), cells(rows, "transfer")
    a, b = str(world.model), str(other)
    assert set(aimed) == {(a, a), (a, b)}, "nothing is made on a model that is only asked"
    clean = {row["model"]: row["value"] for row in rows if row["metric"] == "t-map" and row["attack"] is None}
    assert aimed[a, a]["value"] > clean[a] and scores[a, a]["value"] == 1
    assert scores[a, b]["value"] is None and f"no attack made on {b} itself" in scores[a, b]["notes"][-1]
    assert len({row["hashes"]["targets"] for row in rows}) == 1
    picture = tmp_path / "heat.png"
    text = shell.done(*words, "--method", "mainstay", "--picture", picture).out
    assert "t-MAP of pictures made on" in text and "MAP of pictures made on" in text and "transfer score: 0" in text
    assert "original (clean, target labels)" in text and text.count("noise") == 2
    with Image.open(picture) as drawn:
        assert drawn.width > 600 and drawn.height > 600 and np.asarray(drawn.convert("L")).std() > 20


def test_a_stopped_matrix_goes_on(
    shell: Shell, world: World, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("transfer", world.model, other, *SMALL, "--json")
    whole = shell.done(*words).rows
    real, calls = attack_run._attack_batch, []

    def stopping(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 5:  # the second batch of the second source, three batches each
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(attack_run, "_attack_batch", stopping)
    assert "5 of 12 pictures are attacked; the same command goes on" in shell.fails(130, *words)
    rest = shell.done(*words).rows
    assert len(calls) == 5 + 2, "neither the first source nor a finished batch is attacked again"
    for row in (*whole, *rest):
        row.pop("seconds")
    assert rest == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "transfer needs two models or more, got 1"),
        (("MODEL",), "is given twice; name each model once"),
        (("--target", "nowhere"), "no model at nowhere"),
        (("--target", "nowhere", "--method", "mainstey"), "did you mean mainstay?"),
        (("--target", "nowhere", "--eps", "8"), "eps must be in (0, 1], got 8"),
        (("--target", "nowhere", "--threat", "l3"), "unknown threat 'l3'"),
        (("--target", "nowhere", "--set", "steps"), "--set must be KEY=VALUE, got 'steps'"),
        (("--target", "nowhere", "--picture", "heat.gif"), "--picture is written as .png, .svg, .pdf, got heat.gif"),
        (("--target", "nowhere", "--method", "hag", "--targets", "label:1"), "hag has no target"),
    ],
)
def test_wrong_requests(shell: Shell, world: World, words: tuple[str, ...], message: str) -> None:
    more = [world.model if word == "MODEL" else word for word in words]
    assert message in shell.fails(2, "transfer", world.model, *more)


def test_other_pictures_are_refused(shell: Shell, world: World, tmp_path: Path) -> None:
    made = {}
    for name, arrays in {"small": {"size": 20}, "strange": {"seed": 3}}.items():
        source = f"arrays:{write_arrays(tmp_path / f'{name}.npz', n=100, **arrays)}"
        made[name] = tmp_path / name
        shell.done("train", "--data", source, "--bits", "8", "--epochs", "1", "--out", made[name])
    line = shell.fails(2, "transfer", world.model, made["small"])
    assert "takes pictures of 20x20 pixels" in line and "of 16x16; all models must take pictures of one size" in line
    line = shell.fails(2, "transfer", world.model, made["strange"])
    assert "strange (strange, " in line and "are not those of" in line and "give one --data SOURCE" in line
    given = ("--data", world.data, "--method", "noise", "--queries", "6", "--json")
    rows = shell.done("transfer", world.model, made["strange"], *given).rows
    assert {row["model"] for row in rows} == {str(world.model), str(made["strange"])}


def test_pictures_without_labels(shell: Shell, world: World, other: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for number, pixels in enumerate(np.load(world.root / "toy.npz")["images"][:60]):
        Image.fromarray(pixels).save(tmp_path / "bare" / f"{number}.png")
    words = ("transfer", world.model, other, "--data", f"folder:{tmp_path / 'bare'}", "--method", "hag")
    assert "transfer is told in MAP, which needs labels, and bare has none" in shell.fails(2, *words)


def test_a_generator_belongs_to_its_model(shell: Shell, world: World, other: Path, generator: Path) -> None:
    words = (
        "transfer",
        world.model,
        "--target",
        other,
        "--method",
        "prosgan",
        "--eps",
        "0.2",
        "--queries",
        "12",
        "--json",
    )
    rows = shell.done(*words, "--generator", generator).rows
    found = cells(rows, "t-map")
    assert set(found) == {(str(world.model), str(world.model)), (str(world.model), str(other))}
    assert all(row["attack"]["method"] == "prosgan" and row["backwards"] in (0, None) for row in found.values())
    assert "needs one --generator for each MODEL, got 0 for 1" in shell.fails(2, *words)
