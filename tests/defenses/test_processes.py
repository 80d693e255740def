"""Real processes: SIGKILL and the same command again, one process and two; two processes against one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.cli.helpers import write_arrays
from tests.training.test_processes import ONE, TWO, WEIGHTS, finish, kill_in_training

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]


def command(start: Sequence[str], root: Path, out: Path) -> list[str]:
    words = ["harden", str(root / "model"), "--method", "saat", "--eps", "0.1", "--epochs", "4", "--batch-size", "32"]
    sets = ["checkpoint_seconds=0.01", "augment=shift", "steps=3"]
    return [*start, *words, "--no-measure", "--out", str(out), *(w for s in sets for w in ("--set", s))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("processes")
    data = write_arrays(place / "toy.npz", n=1000, classes=5, size=28)
    words = [
        "--backbone",
        "conv2",
        "--bits",
        "16",
        "--epochs",
        "1",
        "--batch-size",
        "32",
        "--out",
        str(place / "model"),
    ]
    finish([*ONE, "train", "--data", f"arrays:{data}", "--method", "dpsh", *words])
    return place


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[int, Path]:
    """The run that nobody stopped, with one process and with two."""
    made = {1: root / "one", 2: root / "two"}
    for size, start in ((1, ONE), (2, TWO)):
        finish(command(start, root, made[size]))
    return made


@pytest.mark.parametrize(("size", "start"), [(1, ONE), (2, TWO)])
def test_sigkill_and_the_same_command_again(
    size: int, start: Sequence[str], root: Path, whole: dict[int, Path]
) -> None:
    out = root / f"killed{size}"
    kill_in_training(command(start, root, out), out)
    finish(command(start, root, out))
    assert (out / WEIGHTS).read_bytes() == (whole[size] / WEIGHTS).read_bytes()


def test_two_processes_are_one_with_the_same_global_batch(root: Path, whole: dict[int, Path]) -> None:
    """Far nearer to each other than to the start. Rounding may turn the sign of an attack's step, so single weights may differ."""
    start, one, two = (load_file(folder / WEIGHTS) for folder in (root / "model", whole[1], whole[2]))
    assert one.keys() == two.keys() == start.keys()
    for name in one:
        apart, moved = ((one[name] - other[name]).abs().mean() for other in (two, start))
        assert apart <= 0.1 * moved, f"{name}: {float(apart):.2e} apart after a way of {float(moved):.2e}"
