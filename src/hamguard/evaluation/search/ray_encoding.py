"""Shards of codes made by workers of Ray, one a device or core: what is lost with a worker is made again by another.

Workers open model and data themselves, by the same names, and send packed codes back: the folder of shards needs to be seen by
the process that started them only. Ray (Moritz et al., OSDI 2018) is an extra and is imported here alone.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context
from hamguard.core.errors import HamguardError, RequestError, RunError
from hamguard.evaluation.search.encoding import Shard

TRIES = 3
"""Workers that may die over one shard: a picture or a model that kills every worker shall not do so forever."""


REACHED = 10  # seconds within which a cluster must answer


class Encoder:
    """What a worker of Ray runs: it opens model and data once, and then encodes the rows it is asked for.

    Args:
        asked: arguments of `open_for_encoding`.
        batch_size: images at once.
        folder: working folder of whoever asks, for names of files.
        modules: where modules of foreign models are looked for.
    """

    def __init__(self, asked: Mapping[str, Any], batch_size: int, folder: str, modules: Sequence[str]) -> None:
        if Path(folder).is_dir():
            os.chdir(folder)
        sys.path += [one for one in modules if one not in sys.path]
        self.asked, self.batch_size = dict(asked), batch_size
        self.opened: Any = None

    def encode(self, role: str, start: int, count: int) -> CodeBank:
        """Codes of `count` pictures of a part from `start` on."""
        from hamguard.data.split import Part
        from hamguard.evaluation.search.open_encoding import open_for_encoding
        from hamguard.training.encode import encode

        if self.opened is None:
            self.opened = open_for_encoding(**self.asked)
        part = self.opened.part(role)
        rows = Part(part.role, part.part.index[start : start + count])
        return encode(
            self.opened.model, part.dataset, part.split, rows, batch_size=self.batch_size, device=self.opened.device
        )


def import_ray() -> Any:
    """Ray.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise RequestError("`runner=ray` needs Ray, which is not installed: pip install 'hamguard[ray]'") from error
    return ray


class RayEncoders:
    """Workers of Ray that make the codes of shards: `with RayEncoders(...) as encode: encode(shards, ...)`.

    The cluster is that of `RAY_ADDRESS`, else one on this machine until the end of the block.

    Args:
        asked: how workers open model and data, arguments of `open_for_encoding`.
        model_hash: content hash of the model.
        workers: how many; None for one a GPU where the run is on GPUs, else one a core of the cluster.

    Raises:
        RequestError: Ray is not installed or not reached.
    """

    def __init__(self, asked: Mapping[str, Any], model_hash: str, workers: int | None = None) -> None:
        self.asked, self.model_hash, self.workers = dict(asked), model_hash, workers
        self.ray = import_ray()
        self.begun = False
        self.actors: list[Any] = []
        self.idle: list[Any] = []

    def __enter__(self) -> RayEncoders:
        if not self.ray.is_initialized():
            self.begun = True
            _begin(self.ray, self.workers)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.begun:
            self.ray.shutdown()
            return
        for actor in self.actors:
            self.ray.kill(actor)

    def __call__(self, shards: Sequence[Shard], *, batch_size: int, context: Context) -> Iterator[Shard]:
        """Make the codes of shards, and keep each as it comes back.

        Raises:
            RequestError: what a worker refuses.
            RunError: a worker failed, or several died over one shard, or a shard cannot be written.
        """
        ray, room = self.ray, self.ray.cluster_resources().get("GPU" if self._gpus else "CPU", 1)
        most = max(1, self.workers or int(room))
        waiting, lost = deque(shards), Counter[Path]()
        busy: dict[Any, tuple[Any, Shard]] = {}
        while waiting or busy:
            while waiting and len(busy) < most:
                actor, shard = self.idle.pop() if self.idle else self._worker(batch_size), waiting.popleft()
                busy[actor.encode.remote(shard.part.role, shard.start, len(shard))] = (actor, shard)
            done, _ = ray.wait(list(busy), num_returns=1)
            actor, shard = busy.pop(done[0])
            try:
                bank = ray.get(done[0])
            except ray.exceptions.RayTaskError as error:  # the worker lives and says what is wrong
                if isinstance(error.cause, HamguardError):
                    raise error.cause from None
                raise RunError(f"a worker failed at {shard.path.name}: {error.cause}") from error
            except ray.exceptions.RayError as error:
                lost[shard.path] += 1
                if lost[shard.path] == TRIES:
                    raise RunError(f"{TRIES} workers died over {shard.path.name}: {_first_line(error)}") from error
                context.tell(f"a worker died over {shard.path.name}; another makes it")
                waiting.appendleft(shard)
                continue
            self.idle.append(actor)
            shard.write(_own(bank), self.model_hash)
            yield shard

    @property
    def _gpus(self) -> int:
        return int(self.asked["device"] == "cuda")

    def _worker(self, batch_size: int) -> Any:
        kind = self.ray.remote(num_cpus=1, num_gpus=self._gpus)(Encoder)
        self.actors.append(kind.remote(self.asked, batch_size, str(Path.cwd()), list(sys.path)))
        return self.actors[-1]


def _begin(ray: Any, workers: int | None) -> None:
    """Reach the cluster, or start one here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_worker_niceness", "0")  # the run is what this machine was asked for; Ray would say 15
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    place = os.environ.get("RAY_ADDRESS", "")
    host, _, port = place.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=REACHED).close()
        if place:
            ray.init(**quiet)
        else:
            ray.init(num_cpus=max(workers or 0, os.cpu_count() or 1), include_dashboard=False, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f" at {place}" if place else ""
        raise RequestError(f"no cluster of Ray is reached{where}: {_first_line(error)}") from error


def _own(bank: CodeBank) -> CodeBank:
    """The bank in memory of this process: that of Ray is read-only and goes with its cluster."""
    packed, labels, ids = (np.array(one) for one in (bank.packed, bank.labels, bank.ids))
    return CodeBank(packed, bank.bits, labels, ids, bank.model_hash, bank.split_hash)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
