import gzip
import os
import pickle

import numpy as np
import pytest

from hamguard.core.errors import ImageError, RequestError
from hamguard.data.small import JPEG_NOTE, plain_unpickle, read_cifar10, read_fashion_mnist
from hamguard.data.sources import open_source

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (50, 32, 32, 3)).astype(np.uint8)
TEST = RNG.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)


def save_jpeg(root, encoded, **changed):
    (root / "cifar10").mkdir(exist_ok=True)
    for part, images in (("train", TRAIN), ("test", TEST)):
        data, offsets = encoded(images)
        arrays = {"data": data, "offsets": offsets, "labels": np.arange(len(images)) % 10, **changed}
        np.savez(root / "cifar10" / f"{part}_jpeg.npz", **arrays)


def save_batches(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    parts = {f"data_batch_{i}": TRAIN[(i - 1) * 10 : i * 10] for i in range(1, 6)} | {"test_batch": TEST}
    for name, images in parts.items():
        flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        content = {b"data": flat, b"labels": [i % 10 for i in range(len(images))], b"filenames": [b"x"]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def test_both_layouts_of_cifar10_give_the_same_set(tmp_path, encoded):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    save_jpeg(tmp_path / "a", encoded)
    save_batches(tmp_path / "b")
    ours, theirs = read_cifar10(tmp_path / "a"), read_cifar10(tmp_path / "b")
    assert np.array_equal(ours.images.array, np.concatenate([TRAIN, TEST]))
    assert np.array_equal(theirs.images.array, ours.images.array)
    assert np.array_equal(theirs.labels, ours.labels)
    assert ours.notes == (JPEG_NOTE,) and ours.title == "cifar10 (JPEG copy)"
    assert theirs.notes == ()
    assert ours.native.tolist() == [3] * 50 + [2] * 20
    assert ours.ids[50] == "test/0"


def test_cifar10_opens_with_its_official_protocol(tmp_path, encoded):
    save_jpeg(tmp_path, encoded)
    dataset, split = open_source("cifar10", root=tmp_path)
    assert split.protocol == "official"
    assert (dataset.native[split.query] == 2).all()


def test_a_broken_cifar10_file_is_named(tmp_path, encoded):
    save_jpeg(tmp_path, encoded, labels=np.zeros(3))
    with pytest.raises(RequestError, match=r"train_jpeg\.npz: labels must match the pictures: 50 pictures"):
        read_cifar10(tmp_path)
    np.savez(tmp_path / "cifar10" / "train_jpeg.npz", labels=np.zeros(3))
    with pytest.raises(RequestError, match="missing: data, offsets"):
        read_cifar10(tmp_path)


def test_labels_that_are_no_numbers_are_named(tmp_path, encoded):
    save_jpeg(tmp_path, encoded, labels=np.array([b"cat"] * 50))
    with pytest.raises(RequestError, match=r"train_jpeg\.npz: labels must be whole numbers from 0 to 9, got \|S3"):
        read_cifar10(tmp_path)


def test_a_broken_picture_in_a_big_set_is_numbered(tmp_path, encoded):
    save_jpeg(tmp_path, encoded)
    data, offsets = encoded(TRAIN)
    data = data.copy()
    data[offsets[7] : offsets[8]] = 7
    np.savez(tmp_path / "cifar10" / "train_jpeg.npz", data=data, offsets=offsets, labels=np.arange(50) % 10)
    with pytest.raises(ImageError, match="cifar10 picture 7 is not a picture"):
        read_cifar10(tmp_path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    folder = save_batches(tmp_path)
    target = tmp_path / "made-by-pickle"
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": Bomb(target), b"labels": []}))
    with pytest.raises(RequestError, match=r"data_batch_1 is not a plain CIFAR-10 batch: names posix\.mkdir|nt\.mkdir"):
        read_cifar10(tmp_path)
    assert not target.exists()


def test_broken_batches_are_named(tmp_path):
    folder = save_batches(tmp_path)
    (folder / "data_batch_2").write_bytes(b"\x80")
    with pytest.raises(RequestError, match="data_batch_2 is not a plain CIFAR-10 batch"):
        plain_unpickle(folder / "data_batch_2")
    whole = (folder / "data_batch_1").read_bytes()
    assert b"latin1" in whole
    (folder / "data_batch_2").write_bytes(whole.replace(b"latin1", b"latyn1", 1))
    with pytest.raises(RequestError, match="data_batch_2 is not a plain CIFAR-10 batch: unknown encoding: latyn1"):
        plain_unpickle(folder / "data_batch_2")
    (folder / "data_batch_2").write_bytes(b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"few")  # 4 EiB of bytes
    with pytest.raises(RequestError, match="data_batch_2 is not a plain CIFAR-10 batch"):
        plain_unpickle(folder / "data_batch_2")
    (folder / "data_batch_2").write_bytes(pickle.dumps([1]))
    with pytest.raises(RequestError, match="data_batch_2 is not a plain CIFAR-10 batch"):
        read_cifar10(tmp_path)
    (folder / "data_batch_2").unlink()
    with pytest.raises(RequestError, match="data_batch_2 does not exist"):
        read_cifar10(tmp_path)


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


@pytest.fixture
def fashion():
    grays = {part: RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8) for part, n in (("train", 60), ("test", 20))}
    return grays, {part: (np.arange(len(x)) % 10).astype(np.uint8) for part, x in grays.items()}


@pytest.mark.parametrize("packed", [False, True])
def test_both_layouts_of_fashion_mnist_give_the_same_set(tmp_path, fashion, packed):
    grays, numbers = fashion
    ours, raw = tmp_path / "a" / "fashion_mnist", tmp_path / "b" / "FashionMNIST" / "raw"
    ours.mkdir(parents=True)
    raw.mkdir(parents=True)
    for part, stem in (("train", "train"), ("test", "t10k")):
        np.savez(ours / f"{part}.npz", images=grays[part], labels=numbers[part])
        for kind, array in (("images-idx3-ubyte", grays[part]), ("labels-idx1-ubyte", numbers[part])):
            content = gzip.compress(idx(array)) if packed else idx(array)
            (raw / f"{stem}-{kind}{'.gz' if packed else ''}").write_bytes(content)
    first, first_split = open_source("fashion-mnist", root=tmp_path / "a")
    second, second_split = open_source("fashion-mnist", root=tmp_path / "b")
    assert np.array_equal(first.images.array, np.concatenate([grays["train"], grays["test"]]))
    assert first.digest == second.digest
    assert first_split.digest == second_split.digest
    assert first_split.protocol == "ppl-fashion-mnist"


def test_broken_idx_files_are_named(tmp_path, fashion):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    grays, numbers = fashion
    for stem, part in (("train", "train"), ("t10k", "test")):
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(grays[part]))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(numbers[part]))
    path = raw / "train-labels-idx1-ubyte"
    path.write_bytes(idx(numbers["train"])[:-3])
    with pytest.raises(RequestError, match="is truncated: 60 bytes announced, 57 found"):
        read_fashion_mnist(tmp_path)
    path.write_bytes(idx(numbers["test"]))
    with pytest.raises(RequestError, match="60 pictures, 20 labels"):
        read_fashion_mnist(tmp_path)
    path.write_bytes(idx(np.full_like(numbers["train"], 10)))
    with pytest.raises(
        RequestError, match="train-labels-idx1-ubyte: labels must be whole numbers from 0 to 9, got 10 to 10"
    ):
        read_fashion_mnist(tmp_path)
    path.write_bytes(b"hello")
    with pytest.raises(RequestError, match="is not an IDX file of bytes"):
        read_fashion_mnist(tmp_path)
    path.rename(raw / "train-labels-idx1-ubyte.gz")
    with pytest.raises(RequestError, match="cannot be read"):
        read_fashion_mnist(tmp_path)
