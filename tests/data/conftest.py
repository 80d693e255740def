"""Small files in the layouts that the readers know; the cache of every test is its own."""

import numpy as np
import pytest

from hamguard.data.dataset import Dataset, ImageStore, multi_hot
from hamguard.images.io import encode, encode_bytes


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HAMGUARD_CACHE", str(place))
    return place


@pytest.fixture
def no_data(monkeypatch):
    monkeypatch.delenv("HAMGUARD_DATA", raising=False)


@pytest.fixture
def make_dataset():
    """A data set of random pictures, `n` of them, with `classes` classes of equal size."""

    def make(n=60, classes=3, *, seed=0, **rest):
        rng = np.random.default_rng(seed)
        return Dataset(
            name=rest.pop("name", "toy"),
            images=ImageStore(rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)),
            labels=rest.pop("labels", multi_hot(np.arange(n) % classes, classes)),
            class_names=tuple(f"c{i}" for i in range(classes)),
            ids=np.array([f"p{i}" for i in range(n)]),
            **rest,
        )

    return make


@pytest.fixture
def encoded():
    """`data` and `offsets` of pictures in the packed layout."""

    def pack(images, kind="png"):
        streams = [encode_bytes(image, kind) for image in images]
        offsets = np.concatenate([[0], np.cumsum([len(s) for s in streams])]).astype(np.int64)
        return np.frombuffer(b"".join(streams), np.uint8), offsets

    return pack


@pytest.fixture
def class_folder(tmp_path):
    """A folder of three classes with eight different pictures each."""
    rng = np.random.default_rng(1)
    place = tmp_path / "photos"
    for name in ("cat", "dog", "owl"):
        for i in range(8):
            (place / name).mkdir(parents=True, exist_ok=True)
            encode(rng.integers(0, 256, (12, 12, 3)).astype(np.uint8), place / name / f"{i}.png")
    return place
