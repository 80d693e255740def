import numpy as np
import pytest
import torch

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.data.dataset import Dataset, ImageStore, multi_hot


@pytest.mark.parametrize("shape", [(10, 6, 5), (10, 6, 5, 3)])
def test_batches_are_channels_first_and_exact(shape):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    store = ImageStore(array)
    x = store.batch([3, 0, 3])
    assert x.shape == (3, store.channels, 6, 5)
    assert x.dtype == torch.float32
    expected = array[[3, 0, 3]].astype(np.float32) / np.float32(255)
    found = x[:, 0] if len(shape) == 3 else x.permute(0, 2, 3, 1)
    assert np.array_equal(found.numpy(), expected)
    assert torch.equal(store.batch(torch.tensor([3, 0, 3])), x)
    assert torch.equal(store.batch(slice(0, 2)), store.batch(np.array([0, 1])))
    assert (store.size, len(store)) == ((6, 5), 10)


def test_a_memory_map_reads_as_an_array_and_changes_are_not_written(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3)).astype(np.uint8)
    np.save(tmp_path / "x.npy", array)
    store = ImageStore(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert store.digest == ImageStore(array).digest
    store.pixels(slice(0, 4))[:] = 0  # a copy
    store.batch([0]).zero_()
    assert np.array_equal(np.load(tmp_path / "x.npy"), array)


def test_the_digest_is_of_the_content():
    array = np.zeros((2, 3, 3), np.uint8)
    other = array.copy()
    other[1, 2, 2] = 1
    assert ImageStore(array).digest == ImageStore(array.copy()).digest
    assert ImageStore(array).digest != ImageStore(other).digest


def test_a_store_explains_wrong_input():
    with pytest.raises(RequestError, match="images must be uint8, got float64"):
        ImageStore(np.zeros((2, 3, 3)))
    with pytest.raises(RequestError, match=r"got \(2, 3, 3, 4\)"):
        ImageStore(np.zeros((2, 3, 3, 4), np.uint8))
    with pytest.raises(RequestError, match="a picture index must be below 2, got 5"):
        ImageStore(np.zeros((2, 3, 3), np.uint8)).batch([0, 5])
    with pytest.raises(DataMissingError, match="put them there"):
        ImageStore.absent(3, "put them there").batch([0])


def test_a_data_set_explains_what_does_not_agree(make_dataset):
    store = ImageStore(np.zeros((3, 2, 2), np.uint8))
    good = {"name": "x", "images": store, "labels": np.eye(3, dtype=np.uint8), "class_names": ("a", "b", "c")}
    ids = np.array(["0", "1", "2"])
    assert len(Dataset(**good, ids=ids)) == 3
    with pytest.raises(RequestError, match=r"labels must be \(N, C\) uint8"):
        Dataset(**{**good, "labels": np.eye(3)}, ids=ids)
    with pytest.raises(RequestError, match="multi-hot, 0 or 1, got 2"):
        Dataset(**{**good, "labels": 2 * np.eye(3, dtype=np.uint8)}, ids=ids)
    with pytest.raises(RequestError, match="3 labels need as many names, got 1"):
        Dataset(**{**good, "class_names": ("a",)}, ids=ids)
    with pytest.raises(RequestError, match="texts must match the pictures: 3 pictures, 1 texts"):
        Dataset(**good, ids=ids, texts=("one",))
    with pytest.raises(RequestError, match="ids must differ: 3 pictures, 2 distinct ids"):
        Dataset(**good, ids=np.array(["0", "1", "1"]))


def test_the_set_digest_covers_pictures_labels_ids_and_texts(make_dataset):
    base = make_dataset()
    assert base.digest == make_dataset().digest
    changed = [make_dataset(seed=1), make_dataset(texts=("x",) * 60), make_dataset(labels=np.zeros((60, 3), np.uint8))]
    assert len({base.digest, *(d.digest for d in changed)}) == 4


def test_single_label_is_known(make_dataset):
    assert make_dataset().single_label
    assert not make_dataset(labels=np.ones((60, 3), np.uint8)).single_label


def test_class_numbers_become_multi_hot():
    assert multi_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(RequestError, match="between 0 and 2, got -1 to 1"):
        multi_hot(np.array([-1, 1]), 3)
    with pytest.raises(RequestError, match="between 0 and 2, got 0 to 3"):
        multi_hot(np.array([0, 3]), 3)
