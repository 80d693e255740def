from __future__ import annotations

import numpy as np
import pytest

from hamguard.data.dataset import Dataset, ImageStore, multi_hot
from hamguard.data.split import Split


def make_blobs(n: int = 160, classes: int = 4, seed: int = 0) -> Dataset:
    """Gray 16-pixel pictures, one bright corner a class, with noise."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % classes
    pictures = rng.integers(0, 90, (n, 16, 16))
    for i, kind in enumerate(kinds):
        y, x = divmod(int(kind), 2)
        pictures[i, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 120
    names = tuple(f"corner {c}" for c in range(classes))
    ids = np.array([f"blob{i}" for i in range(n)])
    return Dataset("blobs", ImageStore(pictures.astype(np.uint8)), multi_hot(kinds, classes), names, ids)


def make_split(dataset: Dataset) -> Split:
    n = len(dataset)
    rows = np.arange(n)
    return Split(
        train=rows[: n // 2], validation=rows[n // 2 : n * 3 // 4], query=rows[n * 3 // 4 :], database=rows[: n * 3 // 4],
        protocol="test", seed=0, content=dataset.digest,
    )  # fmt: skip


@pytest.fixture
def blobs() -> tuple[Dataset, Split]:
    dataset = make_blobs()
    return dataset, make_split(dataset)
