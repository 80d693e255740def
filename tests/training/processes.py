"""Real processes that cost a fork and not a start of Python with torch: a server reads the modules once and forks for each."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

SERVER = get_context("forkserver")
# torch imports `_dynamo` with the first step of an optimizer; the rest is what commands and studies import inside functions
SERVER.set_forkserver_preload(
    [
        "torch._dynamo",
        "hamguard.cli.main",
        "hamguard.trainers.run",
        "hamguard.trainers.hash_model",
        "hamguard.trainers.hardened",
        "hamguard.evaluation.study.run",
        "hamguard.hashing.dpsh",
    ]
)


def server_pid() -> int:
    """The process that is the parent of all that the server forks."""
    forkserver.ensure_running()
    return int(forkserver._forkserver._forkserver_pid)


@dataclass(frozen=True)
class Death:
    """SIGKILL by the process itself right after so many calls of a function, so that no clock decides what was done by then.

    Attributes:
        module: module that calls it.
        function: its name there.
        calls: how many calls are lived through.
        prefix: count those only whose first argument is a path of a name that begins so.
    """

    module: str
    function: str
    calls: int
    prefix: str = ""

    def await_it(self) -> None:
        """Put a counter around the function in this process."""
        module, seen = import_module(self.module), 0
        real = getattr(module, self.function)

        def counted(place: Path, *rest: Any, **more: Any) -> Any:
            nonlocal seen
            result = real(place, *rest, **more)
            seen += Path(place).name.startswith(self.prefix)
            if seen == self.calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(module, self.function, counted)


class Fellows:
    """The processes of one command, each with its own rank; `size` 1 is a process that knows of no other."""

    def __init__(self, words: Sequence[str], size: int, log: Path, death: Death | None = None) -> None:
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
            arguments = (list(words), own, str(log), death if rank == 0 else None)
            self.processes.append(SERVER.Process(target=_hamguard, args=arguments, daemon=True))
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

    def die(self, seconds: float = 120) -> None:
        """Wait until the first process has met its death, and SIGKILL the others, who wait for it."""
        self.processes[0].join(seconds)
        code = self.processes[0].exitcode
        self.kill()
        assert code == -signal.SIGKILL, f"exit code {code}: {self.log.read_text()[-2000:]}"


def torchrun(words: Sequence[str], size: int, log: Path) -> None:
    """`torchrun --standalone --nproc-per-node SIZE -m hamguard WORDS`, as documented: it starts the processes itself."""
    launched = ["--standalone", "--nproc-per-node", str(size), "-m", "hamguard", *words]
    process = SERVER.Process(target=_torchrun, args=(launched, str(log)))
    process.start()
    process.join(120)
    process.kill()
    assert process.exitcode == 0, log.read_text()[-2000:]


def _torchrun(words: list[str], log: str) -> None:
    from torch.distributed.run import main

    _begin({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, log)
    main(words)


def _begin(names: dict[str, str], log: str) -> None:
    for name in ("RANK", "WORLD_SIZE", "HAMGUARD_DATA"):
        os.environ.pop(name, None)
    os.environ.update(names)
    with Path(log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _hamguard(words: list[str], names: dict[str, str], log: str, death: Death | None) -> None:
    """What `python -m hamguard` does, in the process that the server forked."""
    import torch

    from hamguard.cli import main

    _begin(names, log)
    torch.set_num_threads(1)
    if death:
        death.await_it()
    sys.argv = ["hamguard", *words]
    main.run()
