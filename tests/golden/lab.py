"""Runs the kept commands in a process of its own, whose streams are taken and whose arithmetic has one thread."""

from __future__ import annotations

import io
import os
import shutil
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.fuzz.shell import Shell
from tests.fuzz.world import World
from tests.golden.commands import COMMANDS, Command
from tests.golden.rows import Place
from tests.training.processes import SERVER

WORLD, WORK = Path("world"), Path("work")
BY_NAME = {command.name: command for command in COMMANDS}


def probe() -> str:
    """A digest of how this machine rounds: equal digests, equal digits."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.nn import functional as F

    digest, rng = sha256(), np.random.default_rng(0)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 16, 16, generator=draw, requires_grad=True)
    kernel, weight = torch.randn(8, 3, 3, 3, generator=draw), torch.randn(8, 8 * 196, generator=draw)
    hidden = F.relu(F.conv2d(x, kernel))
    u = torch.tanh(F.linear(hidden.flatten(1), weight) / 30)
    (gradient,) = torch.autograd.grad((u @ u.T).exp().log_softmax(1).sum(), x)
    array = rng.normal(size=(40, 30)).astype(np.float32)
    for tensor in (x, hidden, u, gradient, u.norm(dim=1), x.sigmoid().mean((0, 2, 3))):
        digest.update(tensor.detach().numpy().tobytes())
    for found in (
        array @ array.T,
        np.exp(array),
        np.linalg.svd(array)[0],
        array.mean(0),
        np.linalg.eigh(array.T @ array)[1],
    ):
        digest.update(found.tobytes())
    picture = Image.fromarray(rng.integers(0, 256, (24, 30, 3)).astype(np.uint8))
    for kind in ("JPEG", "WEBP"):
        picture.save(stream := io.BytesIO(), kind, quality=75)
        digest.update(np.asarray(Image.open(stream)).tobytes())
    digest.update(np.asarray(picture.resize((17, 13), Image.Resampling.BICUBIC)).tobytes())
    return digest.hexdigest()


def run(world: World, command: Command) -> list[Any]:
    """How a command ended, then its rows, then those of its files."""
    own = WORK / command.name
    shutil.rmtree(own, ignore_errors=True)
    if command.needs:
        shutil.copytree(world / command.needs, own)
    own.mkdir(parents=True, exist_ok=True)
    words = command.words(world, own)  # makes the pieces of the world that it names
    answer = world.shell(*words)
    assert answer.code == command.code, (command.name, answer)
    place = Place(Path.cwd(), own)
    rows: list[Any] = [{"exit": answer.code}, *place.rows(answer.out)]
    for name in command.files:
        rows += [{"file": name}, *place.rows((own / name).read_text(encoding="utf-8"))]
    return rows


def _next(asked: Connection) -> str | None:
    try:
        return str(asked.recv())
    except EOFError:  # whoever asked is gone
        return None


def serve(root: str, asked: Connection) -> None:
    """Answer names of commands with their rows, and the empty name with the probe, until nobody asks."""
    from threadpoolctl import threadpool_limits

    os.chdir(root)  # names in rows, and what is made of names, are then the same wherever the folder lies
    WORLD.mkdir(exist_ok=True)
    os.environ["HAMGUARD_CACHE"] = str(Path.cwd() / "cache")
    with threadpool_limits(1):
        world = World(WORLD, Shell())
        while (name := _next(asked)) is not None:
            try:
                asked.send(run(world, BY_NAME[name]) if name else probe())
            except Exception as error:
                asked.send(f"{type(error).__name__}: {error}")


class Lab:
    """The process that runs commands, made when it is first asked; `close` ends it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ours, theirs = SERVER.Pipe()
        self.process = SERVER.Process(target=serve, args=(str(root), theirs))
        self.process.start()
        theirs.close()

    def __call__(self, name: str) -> Any:
        """The rows of a command, or the probe for the empty name.

        Raises:
            AssertionError: the command did not end as it should.
        """
        if name and BY_NAME[name].alone:
            other = Lab(self.root)
            try:
                return other._ask(name)
            finally:
                other.close()
        return self._ask(name)

    def _ask(self, name: str) -> Any:
        self.ours.send(name)
        answer = self.ours.recv()
        assert not (name and isinstance(answer, str)), answer
        return answer

    def close(self) -> None:
        """End the process."""
        self.ours.close()
        self.process.join()
