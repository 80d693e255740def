"""Real processes: SIGKILL and the same command again, one process and two; two processes against one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.helpers import write_arrays

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

ONE = (sys.executable, "-m", "hamguard")
TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hamguard")
WEIGHTS = "model.safetensors"


def command(start: Sequence[str], data: Path, out: Path) -> list[str]:
    words = [
        "train",
        "--data",
        f"arrays:{data}",
        "--method",
        "dpsh",
        "--backbone",
        "conv2",
        "--bits",
        "16",
        "--epochs",
        "4",
    ]
    sets = ["checkpoint_seconds=0.01", "augment=shift"]
    return [*start, *words, "--batch-size", "32", "--out", str(out), *(w for s in sets for w in ("--set", s))]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "HAMGUARD_DATA")}
    return kept | {"OMP_NUM_THREADS": "1"}


def finish(words: list[str]) -> None:
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def kill_in_training(words: list[str], out: Path) -> None:
    """Start a run, and SIGKILL it with all its processes once it has taken some steps."""
    process = subprocess.Popen(
        words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 90
        while not (out / "checkpoint.pt").exists():
            assert process.poll() is None and time.monotonic() < deadline, "the run ended before it wrote a checkpoint"
            time.sleep(0.005)
        time.sleep(0.1)  # some steps more
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert (out / "checkpoint.pt").exists() and not (out / "card.json").exists(), "the run was killed too late"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_arrays(tmp_path_factory.mktemp("processes") / "toy.npz", n=1600, classes=5, size=28)


@pytest.fixture(scope="module")
def whole(data: Path) -> dict[int, Path]:
    """The run that nobody stopped, with one process and with two."""
    made = {1: data.parent / "one", 2: data.parent / "two"}
    for size, start in ((1, ONE), (2, TWO)):
        finish(command(start, data, made[size]))
    return made


@pytest.mark.parametrize(("size", "start"), [(1, ONE), (2, TWO)])
def test_sigkill_and_the_same_command_again(
    size: int, start: Sequence[str], data: Path, whole: dict[int, Path]
) -> None:
    out = data.parent / f"killed{size}"
    kill_in_training(command(start, data, out), out)
    finish(command(start, data, out))
    assert (out / WEIGHTS).read_bytes() == (whole[size] / WEIGHTS).read_bytes()
    assert not (out / "checkpoint.pt").exists()


def test_two_processes_are_one_with_the_same_global_batch(whole: dict[int, Path]) -> None:
    """Sums in another order round apart by about 1e-5 after 150 steps; another batch size by more than 5e-3."""
    one, two = load_file(whole[1] / WEIGHTS), load_file(whole[2] / WEIGHTS)
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=2e-4)
