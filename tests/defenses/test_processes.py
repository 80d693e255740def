"""Real processes: SIGKILL and the same command again, one process and two; two processes against one."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.cli.helpers import write_arrays
from tests.training.processes import Death, Fellows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

WEIGHTS = "model.safetensors"


def command(root: Path, out: Path) -> list[str]:
    words = ["harden", str(root / "model"), "--method", "saat", "--eps", "0.1", "--epochs", "3", "--batch-size", "32"]
    sets = ["checkpoint_seconds=0.000001", "augment=shift", "steps=3"]
    return [*words, "--no-measure", "--out", str(out), *(w for s in sets for w in ("--set", s))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("processes")
    data = write_arrays(place / "toy.npz", n=500, classes=5)
    words = ["train", "--data", f"arrays:{data}", "--method", "dpsh", "--backbone", "conv2", "--bits", "16"]
    words += ["--epochs", "1", "--batch-size", "32", "--out", str(place / "model")]
    Fellows(words, 1, place / "model.log").finish()
    return place


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[int, Path]:
    """The run that nobody stopped, with one process and with two."""
    made = {1: root / "one", 2: root / "two"}
    for size, out in made.items():
        Fellows(command(root, out), size, root / f"whole{size}.log").finish()
    return made


@pytest.mark.parametrize("size", [1, 2])
def test_sigkill_and_the_same_command_again(size: int, root: Path, whole: dict[int, Path]) -> None:
    out, log = root / f"killed{size}", root / f"killed{size}.log"
    Fellows(command(root, out), size, log, Death("hamguard.training.loop", "save_checkpoint", 15)).die()
    assert (out / "checkpoint.pt").exists() and not (out / "card.json").exists()
    Fellows(command(root, out), size, log).finish()
    assert (out / WEIGHTS).read_bytes() == (whole[size] / WEIGHTS).read_bytes()


def test_two_processes_are_one_with_the_same_global_batch(root: Path, whole: dict[int, Path]) -> None:
    """Far nearer to each other than to the start. Rounding may turn the sign of an attack's step, so single weights may differ."""
    start, one, two = (load_file(folder / WEIGHTS) for folder in (root / "model", whole[1], whole[2]))
    assert one.keys() == two.keys() == start.keys()
    for name in one:
        apart, moved = ((one[name] - other[name]).abs().mean() for other in (two, start))
        assert apart <= 0.1 * moved, f"{name}: {float(apart):.2e} apart after a way of {float(moved):.2e}"
