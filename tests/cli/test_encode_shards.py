"""`hamguard encode` in shards: a stopped run goes on, and workers of Ray write the same bytes though one of them is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from tests.cli.helpers import Shell, write_arrays

MODEL = """
import os, signal, sys
from pathlib import Path
import torch
from torch import nn

class Net(nn.Module):
    size, channels, bits, seen = (16, 16), 1, 24, 0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(16 * 16, 24)

    def forward(self, x):
        if len(x) == 16 and "default_worker" in sys.argv[0] and Path("kill-one").exists():
            self.seen += 1
            if self.seen == 3:  # in the middle: it has made a shard of two batches
                try:
                    Path("kill-one").unlink()
                except FileNotFoundError:
                    pass  # the other worker was quicker, and is the one that dies
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
        return self.head(x.mean(1).flatten(1) - 0.5)

def make():
    return Net()
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_arrays(tmp_path / "pictures.npz", n=300)
    (tmp_path / "shard_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ASKED = ("encode", "shard_model:make", "--data", "arrays:pictures.npz", "--batch-size", "16")


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npz")}


def test_shards_join_to_the_codes_of_one_piece_and_are_kept(shell: Shell, work: Path) -> None:
    shell.done(*ASKED, "--out", "whole")
    shell.done(*ASKED, "--out", "shards", "--shard-size", "32")
    for name in ("query.npz", "database.npz"):
        assert (work / "whole" / name).read_bytes() == (work / "shards" / name).read_bytes()
    first, *rest = sorted((work / "shards").glob("shards-database-*/*.npz"))
    assert len(CodeBank.load(first)) == 32 and rest
    before = bytes_below(work / "shards")
    for path in (first, work / "shards" / "database.npz"):
        path.unlink()
    rest[0].write_bytes(b"not what was written")
    times = {path: path.stat().st_mtime_ns for path in rest[1:]}
    answer = shell.done(*ASKED, "--out", "shards", "--shard-size", "32")
    assert f"{len(rest) - 1} of {len(rest) + 1} database shards are there already" in answer.err
    assert bytes_below(work / "shards") == before
    assert {path: path.stat().st_mtime_ns for path in rest[1:]} == times
    shell.done(*ASKED, "--out", "shards", "--shard-size", "32", "--restart")
    assert {path: path.stat().st_mtime_ns for path in rest[1:]} != times


def test_shards_of_another_model_are_no_shards_of_this_one(shell: Shell, work: Path) -> None:
    shell.done(*ASKED, "--out", "codes", "--shard-size", "100")
    (work / "other_model.py").write_text(MODEL.replace("manual_seed(0)", "manual_seed(1)"))
    answer = shell.done(*("other_model:make" if word == "shard_model:make" else word for word in ASKED), "--out", "codes",
                        "--shard-size", "100")  # fmt: skip
    assert "there already" not in answer.err
    assert len({*(work / "codes").glob("shards-database-*")}) == 2


def test_wrong_words_are_one_line(shell: Shell, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--workers are those of --runner ray" in shell.fails(2, *ASKED, "--out", "c", "--workers", "2").replace(
        "`workers`", "--workers"
    )
    assert "unknown runner 'rya'; allowed: here, ray" in shell.fails(2, *ASKED, "--out", "c", "--runner", "rya")
    monkeypatch.setitem(sys.modules, "ray", None)
    line = shell.fails(2, *ASKED, "--out", "c", "--runner", "ray")
    assert line == "hamguard: --runner ray needs Ray, which is not installed: pip install 'hamguard[ray]'"


def by_ray(work: Path, out: str, **more: str) -> Any:
    """A command of its own process, so that no test shares its cluster."""
    words = [*ASKED, "--out", out, "--runner", "ray", "--workers", "2", "--shard-size", "32"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2] / "src"), *sys.path]),
        **more,
    }
    return subprocess.run([sys.executable, "-m", "hamguard", *words], cwd=work, capture_output=True, text=True, timeout=240,
                          env=environment)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
def test_two_workers_one_of_them_killed_write_the_bytes_of_one_process(shell: Shell, work: Path) -> None:
    shell.done(*ASKED, "--out", "here", "--shard-size", "32")
    (work / "kill-one").touch()
    (work / "by-ray").mkdir()
    kept = next((work / "here").glob("shards-database-*/000002.npz"))
    held = work / "by-ray" / kept.relative_to(work / "here")
    held.parent.mkdir()
    held.write_bytes(kept.read_bytes())  # as a run that was stopped leaves it
    time = held.stat().st_mtime_ns
    done = by_ray(work, "by-ray")
    assert done.returncode == 0, done.stderr
    assert "a worker died over 0000" in done.stderr and not (work / "kill-one").exists()
    assert "1 of 8 database shards are there already" in done.stderr
    assert held.stat().st_mtime_ns == time
    assert bytes_below(work / "by-ray") == bytes_below(work / "here")
    assert np.load(work / "by-ray" / "database.npz")["packed"].shape[1] == 3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
def test_a_cluster_that_is_away_is_one_line(work: Path) -> None:
    done = by_ray(work, "codes", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("hamguard: no cluster of Ray is reached at 127.0.0.1:1:")
