"""Tiny cross-modal world: gray 16-pixel pictures with one bright corner a class, and a name that says which corner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.trainers.job import Job
from hamguard.trainers.pair import new_pair
from hamguard.trainers.words import read_job
from hamguard.training.cross_task import CrossTask
from hamguard.training.loop import Batch
from tests.training.conftest import make_blobs

PAIRS, TRAIN, BATCH, BITS = 60, 36, 12, 32
QUICK = ("augment=none", "lr=0.005", "schedule=constant")
NUMBERS = ("one", "two", "three", "four", "five")
CORNERS = ("north west", "north east", "south west", "south east")
SMALL = {
    "dcmh": ("text_width=32",),
    "dsph": ("text_width=32",),
    "ssah": ("text_width=32", "text_net=mlp", "features=16", "label_width=32"),
}
World = tuple[Dataset, Split]


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def killer(after: int) -> Any:
    """A progress hook that kills the run in its `after`-th step."""
    seen = 0

    def progress(share: float, text: str) -> None:
        nonlocal seen
        seen += 1
        if seen == after:
            raise Killed

    return progress


def make_world(seed: int = 0) -> World:
    """60 pairs, 36 of them for training."""
    blobs = make_blobs(PAIRS, seed=seed)
    rows = torch.arange(PAIRS).numpy()
    texts = tuple(f"a corner, {CORNERS[i % 4]} number {NUMBERS[i % 5]}" for i in rows)
    dataset = replace(blobs, texts=texts)
    split = Split(
        train=rows[:TRAIN], validation=rows[TRAIN:48], query=rows[48:], database=rows[:48], protocol="test", seed=0,
        content=dataset.digest,
    )  # fmt: skip
    return dataset, split


def ask(method: str, *sets: str, **flags: Any) -> Job:
    """2 epochs of 3 steps; flags with `__` for the dot. With fewer bits, all codes are equal after so few steps."""
    base = {
        "model.backbone": "conv2", "model.bits": BITS, "training.epochs": 2, "training.batch_size": BATCH, "data.source": "blobs",
    }  # fmt: skip
    named = {key.replace("__", "."): value for key, value in flags.items()}
    return read_job({}, {"method": method, **base, **named}, [*SMALL[method], *QUICK, *sets])


def task_of(method: str, *sets: str, **flags: Any) -> CrossTask:
    """A task of the tiny world that has not begun."""
    return new_pair(ask(method, *sets, **flags), Data(*make_world()))


def batch_of(*index: int, seed: int = 0) -> Batch:
    return Batch(torch.tensor(index), slice(0, len(index)), 0.25, torch_generator(seed, "step"))


def copy_of(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def moved(before: list[Tensor], module: nn.Module) -> bool:
    """Whether any weight differs from its copy."""
    return not all(torch.equal(a, b.detach()) for a, b in zip(before, module.parameters(), strict=True))


def parts_of(folder: Path) -> dict[str, bytes]:
    """The weight files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
