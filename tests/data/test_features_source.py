"""`features:FILE.npz`: what a file may hold, and what is wrong with it in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.conftest import make_blobs, make_split

from hamguard.core.errors import DamagedError, DataMissingError, RequestError
from hamguard.data.features import FeatureStore, holds_features, write_features
from hamguard.data.opened import Data
from hamguard.data.sources import open_source

N, D = 12, 5
VALUES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
NUMBERS = np.arange(N) % 3


def saved(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "set.npz", **arrays)
    return f"features:{tmp_path / 'set.npz'}"


def test_features_are_gray_rows_of_real_numbers(tmp_path: Path) -> None:
    dataset, _ = open_source(saved(tmp_path, features=VALUES.astype(np.float64), labels=NUMBERS))
    store = dataset.images
    assert isinstance(store, FeatureStore) and holds_features(dataset) and (store.size, store.channels) == ((1, D), 1)
    assert dataset.name == "set" and len(dataset) == N and np.array_equal(dataset.labels.argmax(1), NUMBERS)
    for index in (np.array([3, 0]), torch.tensor([3, 0]), [3, 0]):
        assert torch.equal(store.batch(index), torch.from_numpy(VALUES[[3, 0]])[:, None, None])
    assert store.batch(slice(2, 5)).shape == (3, 1, 1, D) and store.batch([]).shape == (0, 1, 1, D)
    with pytest.raises(RequestError, match="a picture index must be below 12, got 12"):
        store.batch([12])
    with pytest.raises(
        DataMissingError, match="set.npz holds features, no pictures; what changes or shows pictures needs"
    ):
        store.pixels([0])


def test_everything_beside_them_is_read(tmp_path: Path) -> None:
    split = np.array([0, 1, 2, 3] * 3)
    texts, ids = np.array([f"text {i}" for i in range(N)]), np.array([f"a{i}" for i in range(N)])
    source = saved(tmp_path, features=VALUES, labels=NUMBERS, class_names=np.array(["x", "y", "z"]), texts=texts, ids=ids,
                   split=split, more=np.zeros(2))  # fmt: skip
    data = Data.open(source)
    assert data.dataset.class_names == ("x", "y", "z") and data.dataset.texts == tuple(texts)
    assert data.split.protocol == "stored" and np.array_equal(np.sort(data.split.query), np.flatnonzero(split == 2))
    assert data.dataset.notes == ("arrays not read: more",) and data.query.ids[0].startswith("a")
    other = Data.open(saved(tmp_path, features=VALUES + 1e-3, labels=NUMBERS, ids=ids))
    assert other.dataset.images.digest != data.dataset.images.digest


def test_labels_may_be_missing(tmp_path: Path) -> None:
    dataset, _ = open_source(saved(tmp_path, features=VALUES))
    assert dataset.labels.shape == (N, 0) and list(dataset.ids[:2]) == ["0", "1"]


BROKEN = VALUES.copy()
BROKEN[4, 1] = np.nan
LARGE = VALUES.astype(np.float64)
LARGE[2, 2] = 1e300


@pytest.mark.parametrize(("arrays", "message"), [
    ({"labels": NUMBERS}, r"needs an array features \(N, D\); got labels"),
    ({}, r"needs an array features \(N, D\); got nothing"),
    ({"features": VALUES[0]}, r"features must be real numbers \(N, D\), got float32 \(5,\)"),
    ({"features": VALUES[:, :, None]}, r"features must be real numbers \(N, D\)"),
    ({"features": np.ones((3, 3), int)}, r"features must be real numbers \(N, D\), got int64 \(3, 3\)"),
    ({"features": VALUES.astype(complex)}, "features must be real numbers"),
    ({"features": VALUES[:0]}, r"features must be at least one row of 1 to 4,096 numbers, got \(0, 5\)"),
    ({"features": np.zeros((2, 4097), np.float32)}, r"1 to 4,096 numbers, got \(2, 4097\)"),
    ({"features": BROKEN}, "features hold NaN or infinite numbers in 1 rows, e.g. row 4"),
    ({"features": LARGE}, "features hold NaN or infinite numbers in 1 rows, e.g. row 2 .beyond what 32 bits hold."),
    ({"features": VALUES, "labels": NUMBERS[:-1]}, "labels"),
    ({"features": VALUES, "ids": np.arange(3)}, "ids must match the features: 12 rows, 3 ids"),
    ({"features": VALUES, "ids": np.zeros(N, int)}, "ids must differ"),
    ({"features": VALUES, "texts": np.array(["a"])}, "texts must match the features: 12 rows, 1 texts"),
    ({"features": VALUES, "split": np.zeros(N, int)}, r"split must hold queries \(2\)"),
    ({"features": VALUES, "split": np.full(N, 7)}, "split must hold one of 0, 1, 2, 3 a picture"),
    ({"features": np.array([[object()]])}, "Python objects"),
])  # fmt: skip
def test_faults_of_a_file_are_one_line_that_names_it(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        open_source(saved(tmp_path, **arrays))
    assert "set.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="features have no size in pixels, got size=32"):
        open_source(saved(tmp_path, features=VALUES), size=32)
    with pytest.raises(RequestError, match="the file does not exist"):
        open_source(f"features:{tmp_path / 'none.npz'}")
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04torn")
    with pytest.raises(RequestError, match="is not a readable .npz file"):
        open_source(f"features:{tmp_path / 'torn.npz'}")


def test_what_is_written_is_read_and_a_changed_file_is_known(tmp_path: Path) -> None:
    dataset = make_blobs(40)
    split = make_split(dataset)
    values = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
    write_features(tmp_path / "f.npz", values, dataset, split)
    back = Data.open(f"features:{tmp_path / 'f.npz'}")
    assert torch.equal(back.dataset.images.batch(slice(None)).flatten(1), torch.from_numpy(values))
    assert np.array_equal(back.dataset.labels, dataset.labels) and back.dataset.class_names == dataset.class_names
    assert list(back.dataset.ids) == list(dataset.ids) and back.dataset.notes == ()
    for role in ("train", "validation", "query"):
        assert set(getattr(back.split, role)) == set(getattr(split, role))
    with np.load(tmp_path / "f.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["features"][0, 0] += 1
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(DamagedError, match="its arrays are not those that were written"):
        Data.open(f"features:{tmp_path / 'f.npz'}")


def test_a_split_that_a_file_cannot_say_is_drawn_again(tmp_path: Path) -> None:
    from dataclasses import replace

    dataset = make_blobs(40)
    split = make_split(dataset)
    whole = replace(split, database=np.arange(40))  # queries are searched, too
    write_features(tmp_path / "f.npz", np.zeros((40, 2), np.float32), dataset, whole)
    with np.load(tmp_path / "f.npz") as stored:
        assert "split" not in stored.files
