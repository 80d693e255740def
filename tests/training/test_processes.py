"""Real processes: SIGKILL and the same command again, one process and two; two processes against one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.cli.helpers import write_arrays
from tests.training.processes import Death, Fellows, torchrun

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

WEIGHTS = "model.safetensors"


def command(data: Path, out: Path) -> list[str]:
    words = ["train", "--data", f"arrays:{data}", "--method", "dpsh", "--backbone", "conv2", "--bits", "16"]
    sets = ["checkpoint_seconds=0.000001", "augment=shift", "lr=0.0003"]
    return [
        *words, "--epochs", "3", "--batch-size", "32", "--out", str(out), *(w for s in sets for w in ("--set", s)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_arrays(tmp_path_factory.mktemp("processes") / "toy.npz", n=800, classes=5)


@pytest.fixture(scope="module")
def whole(data: Path) -> dict[int, Path]:
    """The run that nobody stopped, with one process and with the two of the documented command."""
    made = {1: data.parent / "one", 2: data.parent / "two"}
    Fellows(command(data, made[1]), 1, data.parent / "one.log").finish()
    torchrun(command(data, made[2]), 2, data.parent / "two.log")
    return made


@pytest.mark.parametrize("size", [1, 2])
def test_sigkill_and_the_same_command_again(size: int, data: Path, whole: dict[int, Path]) -> None:
    out, log = data.parent / f"killed{size}", data.parent / f"killed{size}.log"
    Fellows(command(data, out), size, log, Death("hamguard.training.loop", "save_checkpoint", 25)).die()
    assert (out / "checkpoint.pt").exists() and not (out / "card.json").exists()
    Fellows(command(data, out), size, log).finish()
    assert (out / WEIGHTS).read_bytes() == (whole[size] / WEIGHTS).read_bytes()
    assert not (out / "checkpoint.pt").exists()


def test_two_processes_are_one_with_the_same_global_batch(whole: dict[int, Path]) -> None:
    """Sums in another order round apart by less than 1e-6 after 54 steps; batches of 30 and not 32 by 5e-3."""
    one, two = load_file(whole[1] / WEIGHTS), load_file(whole[2] / WEIGHTS)
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=2e-4)


GRID = """
study = "grid"
queries = 40
[data.toy]
source = "arrays:{data}"
[models.dpn]
[models.greedyhash]
[models.cibhash]
[models.labels]
method = "bihalf"
set = {{ fits = "labels" }}
[models.frozen]
method = "bihalf"
weights = "none"
set = {{ freeze = true }}
[models.orthohash]
"""
EVERY = 'bits = 16\nbackbone = "conv2"\nepochs = 2\nbatch_size = 32\n'


def grid(folder: Path, data: Path, size: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, float]]:
    """Weights of the models of a grid that so many processes worked out, and MAP by model."""
    text = GRID.format(data=data)
    for name in ("dpn", "greedyhash", "cibhash", "labels", "frozen", "orthohash"):
        text = text.replace(f"[models.{name}]\n", f"[models.{name}]\n{EVERY}")
    folder.mkdir()
    (folder / "grid.toml").write_text(text)
    words = ["evaluate", str(folder / "grid.toml"), "--out", str(folder / "run"), "--cells", str(folder / "cells")]
    Fellows(words, size, folder / "log").finish(300)
    weights = {}
    for card in (folder / "cells").rglob("card.json"):
        said = json.loads(card.read_text())
        name = "frozen" if said["recipe"].get("freeze") else said["method"]
        weights[name] = load_file(card.parent / WEIGHTS)
    rows = [json.loads(line) for line in (folder / "run" / "rows.jsonl").read_text().splitlines()]
    return weights, {row["model"]: row["value"] for row in rows if row["metric"] == "map"}


def test_what_methods_ask_of_the_loop_is_the_same_with_two_processes(data: Path, tmp_path: Path) -> None:
    """Weights of a method's own, views, features that are kept; only a batch norm sees the half of a batch.

    Signs and halves turn where an output is near 0, which rounding in another order moves.
    """
    one, maps = grid(tmp_path / "one", data, 1)
    two, both = grid(tmp_path / "two", data, 2)
    assert set(one) == set(two) == {"dpn", "greedyhash", "cibhash", "bihalf", "frozen", "orthohash"}
    for method in set(one) - {"orthohash"}:
        for name, value in one[method].items():
            torch.testing.assert_close(
                two[method][name], value, rtol=0, atol=2e-3, msg=lambda text, m=method: f"{m}: {text}"
            )
    assert both == pytest.approx(maps, abs=0.1) and len(maps) == 6
