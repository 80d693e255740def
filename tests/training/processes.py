"""Real processes that cost a fork and not a start of Python with torch: a server reads the modules once and forks for each."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from torch.distributed import TCPStore

SERVER = get_context("forkserver")
# torch imports `_dynamo` with the first step of an optimizer; the rest is what commands and studies import inside functions
SERVER.set_forkserver_preload(
    [
        "torch._dynamo",
        "hamguard.cli.main",
        "hamguard.training.train",
        "hamguard.defenses.harden",
        "hamguard.evaluation.study_run",
        "hamguard.hashing.dpsh",
        "torchmetrics",
    ]
)


def server_pid() -> int:
    """The process that is the parent of all that the server forks."""
    forkserver.ensure_running()
    return int(forkserver._forkserver._forkserver_pid)


class Fellows:
    """The processes of one command, each with its own rank; `size` 1 is a process that knows of no other."""

    def __init__(self, words: Sequence[str], size: int, log: Path) -> None:
        self.log, names = log, {}
        if size > 1:  # what torchrun sets, with the store that it keeps for its processes
            self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            names = {
                "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
            }  # fmt: skip
        self.processes: list[ForkServerProcess] = []
        for rank in range(size):
            own = {**names, "RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {}
            self.processes.append(SERVER.Process(target=_hamguard, args=(list(words), own, str(log)), daemon=True))
        for process in self.processes:
            process.start()

    def finish(self, seconds: float = 120) -> None:
        """Wait until all have ended well."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        self.kill()
        assert codes == [0] * len(codes), f"exit codes {codes}: {self.log.read_text()[-2000:]}"

    def kill(self) -> None:
        """SIGKILL all that still run."""
        for process in self.processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.join()

    def kill_in_training(self, out: Path, seconds: float = 90) -> None:
        """SIGKILL all once the run has taken some steps: its first checkpoint has made place for a later one."""
        deadline, seen = time.monotonic() + seconds, set[int]()
        try:
            while len(seen) < 3:
                assert all(p.is_alive() for p in self.processes), f"the run ended: {self.log.read_text()[-2000:]}"
                assert time.monotonic() < deadline, "the run wrote too few checkpoints"
                time.sleep(0.002)
                if (out / "checkpoint.pt").exists():
                    seen.add((out / "checkpoint.pt").stat().st_mtime_ns)
        finally:
            self.kill()
        assert (out / "checkpoint.pt").exists() and not (out / "card.json").exists(), "the run was killed too late"


def _hamguard(words: list[str], names: dict[str, str], log: str) -> None:
    """What `python -m hamguard` does, in the process that the server forked."""
    import torch

    from hamguard.cli import main

    for name in ("RANK", "WORLD_SIZE", "HAMGUARD_DATA"):
        os.environ.pop(name, None)
    os.environ.update(names)
    torch.set_num_threads(1)
    with Path(log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["hamguard", *words]
    main.run()
