"""The bars on the real data; skipped where HAMGUARD_DATA is not set. The cache is shared, so they decode once."""

import os

import numpy as np
import pytest

from hamguard.data.arrays import encoded_images
from hamguard.data.check import check_dataset
from hamguard.data.dataset import ImageStore
from hamguard.data.sources import open_source

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def kept_cache(own_cache, monkeypatch, tmp_path_factory):
    """A cache that outlives the single test."""
    place = os.environ.get("HAMGUARD_TEST_CACHE") or str(tmp_path_factory.getbasetemp().parent / "real-data-cache")
    monkeypatch.setenv("HAMGUARD_CACHE", place)


def test_fashion_products(data_root):
    dataset, split = open_source("fashion-products", root=data_root)
    report = check_dataset(dataset, split)
    assert split.counts == {"train": 5000, "validation": 1000, "query": 1700, "database": 23_300}
    assert (report.copies, report.queries_with_copy) == (296, 31)
    assert report.chance == pytest.approx(0.29, abs=0.015)
    assert len(dataset.texts) == 25_000
    clean = check_dataset(*open_source("fashion-products", root=data_root, drop_duplicates=True))
    assert (clean.copies, clean.queries_with_copy) == (0, 0)


def test_flickr_lists(data_root):
    report = check_dataset(*open_source(f"lists:{data_root / 'splits'}#FLICKR-25K", pictures=False))
    assert report.lines["train"] == {"lines": 5000, "distinct": 4496}
    assert (report.unlabeled["query"], report.counts["query"]) == (38, 1700)
    assert (report.unlabeled["database"], report.counts["database"]) == (381, 23_300)
    assert report.map_ceiling == pytest.approx(0.978, abs=0.0005)


def every_twentieth(data, offsets, content, **asked):
    """Decode every twentieth picture, which stands for its neighbors: all of them take long, and this test looks at eight."""
    rows = range(0, len(offsets) - 1, 20)
    parts = [data[offsets[i] : offsets[i + 1]] for i in rows]
    ends = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    found = encoded_images(np.concatenate(parts), ends, f"{content} in part", **asked)
    return ImageStore(found.array[np.arange(len(offsets) - 1) // 20])


def test_cifar10_and_its_note(data_root, monkeypatch):
    monkeypatch.setattr("hamguard.data.small.encoded_images", every_twentieth)
    dataset, split = open_source("cifar10", root=data_root)
    assert split.counts == {"train": 10_000, "validation": 1000, "query": 1000, "database": 50_000}
    assert dataset.labels[split.query[:100]].sum(0).tolist() == [10] * 10
    assert dataset.labels[split.train].sum(0).tolist() == [1000] * 10
    assert "figures are not CIFAR-10 figures" in dataset.notes[0]
    assert dataset.images.batch(split.query[:8]).shape == (8, 3, 32, 32)
    ppl = open_source("cifar10", root=data_root, protocol="ppl")[1]
    assert ppl.counts == {"train": 10_000, "validation": 1000, "query": 1000, "database": 59_000}


def test_fashion_mnist(data_root):
    dataset, split = open_source("fashion-mnist", root=data_root)
    assert split.counts == {"train": 10_000, "validation": 1000, "query": 10_000, "database": 60_000}
    assert dataset.labels[split.query[:1000]].sum(0).tolist() == [100] * 10
    train = dataset.images.array[:60_000]
    assert train.mean() / 255 == pytest.approx(0.2860, abs=1e-4)


def test_imagenet_sample(data_root):
    dataset, _ = open_source("imagenet", root=data_root)
    assert (len(dataset), dataset.images.size, len(dataset.class_names)) == (1000, (256, 256), 1000)


def test_photos(data_root):
    dataset, split = open_source("caltech98", root=data_root, size=64)
    assert (len(dataset), len(dataset.class_names), dataset.images.size) == (2352, 98, (64, 64))
    assert split.counts == {"train": 1176, "validation": 196, "query": 490, "database": 1862}
    dataset, split = open_source("coco18", root=data_root, size=64)
    assert split.counts == {"train": 5000, "validation": 500, "query": 1500, "database": 6500}
    assert check_dataset(dataset, split).chance == pytest.approx(0.438, abs=0.005)
