"""A small world: gray pictures with a bright corner a class, two labels on some, and a hardly trained net with spread codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset, ImageStore, multi_hot
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.defenses.task import Defense
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_folder, save_model
from hamguard.trainers.hardened import new_defense
from hamguard.trainers.job import Job
from hamguard.trainers.words import read_job
from hamguard.training.loop import Batch

BITS, SIDE, CLASSES = 8, 16, 4


class Place(NamedTuple):
    dataset: Dataset
    split: Split
    start: Path


def make_dataset(*, labeled: bool = True) -> tuple[Dataset, Split]:
    rng = np.random.default_rng(0)
    kinds = np.arange(96) % CLASSES
    pixels = rng.integers(0, 90, (96, SIDE, SIDE))
    for i, kind in enumerate(kinds):
        y, x = divmod(int(kind), 2)
        pixels[i, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 120
    labels = multi_hot(kinds, CLASSES)
    labels[::6, 0] = 1  # some have two labels, so that mainstay and center codes differ
    if not labeled:
        labels = np.zeros((96, 0), np.uint8)
    names = tuple(f"corner {c}" for c in range(labels.shape[1]))
    dataset = Dataset(
        "blobs", ImageStore(pixels.astype(np.uint8)), labels, names, np.array([f"b{i}" for i in range(96)])
    )
    rows = np.arange(96)
    split = Split(
        train=rows[:48], validation=rows[48:60], query=rows[60:72], database=rows[:60], protocol="test", seed=0,
        content=dataset.digest,
    )  # fmt: skip
    return dataset, split


def make_model(dataset: Dataset, backbone: str = "conv2") -> HashModel:
    model = HashModel(
        backbone, BITS, channels=1, size=(SIDE, SIDE), mean=[0.5], std=[0.25], generator=torch_generator(4)
    ).eval()
    with torch.no_grad():
        z = model.logits(dataset.images.batch(np.arange(96)))
        model.head.weight.div_(z.std())
        model.head.bias.sub_(z.mean(0)).div_(z.std())
    return model


def save(model: HashModel, folder: Path, method: str = "csq") -> Path:
    settings = {"lam": 1e-4} if method == "csq" else {}
    save_model(model, folder, method=method, title=method, settings=settings, seed=3, data={"source": "blobs"})
    return folder


def ask(method: str, *sets: str, **flags: Any) -> Job:
    base = {"method": method, "eps": 0.2, "data.source": "blobs", "training.epochs": 2, "training.batch_size": 16}
    return read_job({}, {**base, **flags}, sets, kind="hardened")


def begun(place: Place, method: str, *sets: str, **flags: Any) -> Defense:
    """A defense of the place's model that has begun."""
    model, card = load_folder(place.start)
    task = new_defense(ask(method, *sets, **flags), model, card, Data(place.dataset, place.split))
    task.begin()
    return task


def batch_of(*index: int, seed: int = 0) -> Batch:
    return Batch(torch.tensor(index), slice(0, len(index)), 0.25, torch_generator(seed, "step"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    dataset, split = make_dataset()
    return Place(dataset, split, save(make_model(dataset), tmp_path_factory.mktemp("place") / "start"))
