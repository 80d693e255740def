import zipfile

import numpy as np
import pytest

from hamguard.core import archives
from hamguard.core.errors import ImageError, RequestError
from hamguard.data.imagenet import read_imagenet
from hamguard.data.sources import open_source
from hamguard.images.io import encode_bytes


@pytest.fixture
def sample(tmp_path):
    folder = tmp_path / "imagenet_sample"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "images_256.zip", "w") as archive:
        for i in range(6):
            archive.writestr(f"n{i}.jpg", encode_bytes(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8), "jpeg"))
    rows = [f"{i},n{i},thing {i},n{i}.jpg" for i in range(6)]
    (folder / "classes.csv").write_text("\n".join(["index,wnid,name,file", *rows]))
    return tmp_path


def test_the_sample_is_one_picture_a_class(sample):
    dataset, split = open_source("imagenet", root=sample, protocol="copies")
    assert dataset.labels.sum(0).tolist() == [1] * 6
    assert dataset.class_names[2] == "thing 2"
    assert dataset.images.size == (16, 16)
    assert "one picture a class" in dataset.notes[0]
    assert len(split.query) == 6


def test_a_list_that_does_not_match_is_explained(sample):
    table = sample / "imagenet_sample" / "classes.csv"
    good = table.read_text()
    table.write_text(good + "\n6,n6,thing 6,n6.jpg")
    with pytest.raises(RequestError, match=r"lacks 1 pictures, first n6\.jpg"):
        read_imagenet(sample)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(RequestError, match="must have the columns index, wnid, name, file"):
        read_imagenet(sample)
    table.write_text(good)
    (sample / "imagenet_sample" / "images_256.zip").write_text("hello")
    with pytest.raises(RequestError, match="is not a readable zip file"):
        read_imagenet(sample)


def test_a_broken_picture_is_named(sample):
    with zipfile.ZipFile(sample / "imagenet_sample" / "images_256.zip", "a") as archive:
        archive.writestr("n6.jpg", b"no picture")
    table = sample / "imagenet_sample" / "classes.csv"
    table.write_text(table.read_text() + "\n6,n6,thing 6,n6.jpg")
    with pytest.raises(ImageError, match=r"n6\.jpg is not a picture"):
        read_imagenet(sample)


def test_a_locked_or_huge_archive_is_one_clear_line(sample, monkeypatch):
    path = sample / "imagenet_sample" / "images_256.zip"
    monkeypatch.setattr(archives, "memory_bytes", lambda: 100)
    with pytest.raises(RequestError, match=r"images_256\.zip unpacks to [\d,]+ bytes, more than the memory"):
        read_imagenet(sample)
    monkeypatch.undo()
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the bit that says: a password is needed
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"images_256\.zip cannot be unpacked: .*password"):
        read_imagenet(sample)


def test_a_class_number_that_is_none(sample):
    table = sample / "imagenet_sample" / "classes.csv"
    table.write_text(table.read_text().replace("2,n2", "two,n2"))
    with pytest.raises(RequestError, match="index must be a class number from 0, got 'two'"):
        read_imagenet(sample)
