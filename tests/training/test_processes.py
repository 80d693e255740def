"""Real processes: SIGKILL and the same command again, one process and two; two processes against one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

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
