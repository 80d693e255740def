"""`coco18` and `caltech98`, read from small files of their layout: whole pictures of several shapes, as JPEG or PNG streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.data.sources import open_source
from hamguard.images.io import encode_bytes


def write(path: Path) -> None:
    """Eight pictures, wide and tall, two of each part."""
    rng = np.random.default_rng(0)
    shapes = [(20, 32), (32, 20)] * 4
    streams = [encode_bytes(rng.integers(0, 256, (*shape, 3)).astype(np.uint8), "png") for shape in shapes]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        data=np.frombuffer(b"".join(streams), np.uint8),
        offsets=np.concatenate([[0], np.cumsum([len(one) for one in streams])]),
        sizes=np.array([shape[::-1] for shape in shapes], np.uint16),
        labels=np.eye(2, dtype=np.uint8)[[0, 1] * 4],
        label_names=np.array(["cat", "dog"]),
        texts=np.array([f"picture {i}" for i in range(8)]),
        ids=np.arange(8),
        split=np.array([0, 0, 1, 1, 2, 2, 3, 3], np.uint8),
        near_duplicates=np.zeros((0, 2), np.int32),
    )


@pytest.mark.parametrize("name", ["coco18", "caltech98"])
def test_photos_are_read_with_their_own_split(name: str, tmp_path: Path) -> None:
    write(tmp_path / "photos" / f"{name}.npz")
    dataset, split = open_source(name, root=tmp_path, size=16)
    assert dataset.name == name
    assert (dataset.images.size, dataset.images.channels, dataset.class_names) == ((16, 16), 3, ("cat", "dog"))
    assert dataset.texts is not None and dataset.texts[3] == "picture 3"
    assert split.counts == {"train": 2, "validation": 2, "query": 2, "database": 6}
    assert not any("not read" in note for note in dataset.notes)
    assert open_source(name, root=tmp_path)[0].images.size == (224, 224)


def test_another_file_of_this_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    np.savez(tmp_path / "photos" / "coco18.npz", labels=np.zeros(3))
    with pytest.raises(RequestError, match=r"coco18\.npz: needs labels and images"):
        open_source("coco18", root=tmp_path)
