import numpy as np
import pytest

from hamguard.core.errors import ImageError, RequestError
from hamguard.data.arrays import read_arrays, read_labels

N = 12
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 9, 9)).astype(np.uint8)
NUMBERS = np.arange(N) % 3


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)
        return path

    return write


def test_images_with_class_numbers(save):
    dataset = read_arrays(save(images=IMAGES, labels=NUMBERS))
    assert np.array_equal(dataset.images.array, IMAGES)
    assert np.array_equal(dataset.labels.argmax(1), NUMBERS)
    assert (dataset.name, dataset.class_names, dataset.texts, dataset.native) == ("set", ("0", "1", "2"), None, None)


def test_every_optional_array_is_read(save):
    split = np.array([0, 1, 2, 3] * 3)
    dataset = read_arrays(
        save(
            images=np.stack([IMAGES] * 3, -1),
            labels=np.eye(3, dtype=bool)[NUMBERS],
            class_names=np.array(["a", "b", "c"]),
            texts=np.array([f"text {i}" for i in range(N)]),
            ids=np.arange(100, 100 + N),
            split=split,
            extra=np.zeros(3),
        )
    )
    assert dataset.images.channels == 3
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.texts[3] == "text 3"
    assert dataset.ids[0] == "100"
    assert np.array_equal(dataset.native, split)
    assert dataset.notes == ("arrays not read: extra",)


def test_encoded_pictures_are_decoded(save, encoded):
    data, offsets = encoded(IMAGES)
    dataset = read_arrays(save(data=data, offsets=offsets, labels=NUMBERS))
    assert np.array_equal(dataset.images.array, IMAGES)
    assert read_arrays(save(data=data, offsets=offsets, labels=NUMBERS), size=16).images.size == (16, 16)


def test_size_resizes_plain_images_too(save):
    assert read_arrays(save(images=IMAGES, labels=NUMBERS), size=18).images.size == (18, 18)


def test_a_broken_encoded_picture_is_numbered(save, encoded):
    data, offsets = encoded(IMAGES)
    broken = data.copy()
    broken[offsets[4] : offsets[5]] = 0
    with pytest.raises(ImageError, match=r"set\.npz picture 4 is not a picture"):
        read_arrays(save(data=broken, offsets=offsets, labels=NUMBERS))


BAD = [
    ({"labels": NUMBERS}, "needs labels and images, or labels, data and offsets; got labels"),
    ({"images": IMAGES}, "needs labels and images"),
    ({"images": IMAGES.astype(float), "labels": NUMBERS}, "images must be uint8, got float64"),
    ({"images": IMAGES[0], "labels": NUMBERS}, "images must have shape"),
    ({"images": IMAGES[:0], "labels": NUMBERS[:0]}, "holds no picture"),
    ({"images": IMAGES, "labels": NUMBERS[:5]}, "labels must match the pictures: 12 pictures, 5 labels"),
    ({"images": IMAGES, "labels": NUMBERS + 0.5}, "labels must be whole numbers"),
    ({"images": IMAGES, "labels": NUMBERS - 1}, "class numbers must lie between 0"),
    ({"images": IMAGES, "labels": NUMBERS * 10**6}, "which is no class number"),
    ({"images": IMAGES, "labels": np.full((N, 2), 3)}, "multi-hot labels must be 0 or 1, got values up to 3"),
    ({"images": IMAGES, "labels": np.zeros((N, 2, 2))}, r"labels must be \(N,\) class numbers or \(N, C\)"),
    ({"images": IMAGES, "labels": NUMBERS, "texts": np.array(["a"])}, "texts must match the pictures: 12 pictures, 1"),
    ({"images": IMAGES, "labels": NUMBERS, "texts": NUMBERS}, "texts must be a list of strings"),
    ({"images": IMAGES, "labels": NUMBERS, "class_names": np.array(["a"])}, "class numbers must lie between 0 and 0"),
    ({"images": IMAGES, "labels": np.eye(3)[NUMBERS], "class_names": np.array(["a"])}, "3 labels need as many names"),
    ({"images": IMAGES, "labels": NUMBERS, "ids": np.zeros(N, int)}, "ids must differ"),
    ({"images": IMAGES, "labels": NUMBERS, "split": NUMBERS + 2}, "split must hold one of 0, 1, 2, 3"),
    ({"images": IMAGES, "labels": NUMBERS, "split": np.zeros(N, int)}, r"split must hold queries \(2\)"),
    ({"data": IMAGES, "offsets": NUMBERS, "labels": NUMBERS}, r"data must be \(bytes,\) uint8"),
    (
        {"data": IMAGES.ravel(), "offsets": np.array([0.0, 1]), "labels": NUMBERS},
        r"offsets must be \(N \+ 1,\) integers",
    ),
    ({"data": IMAGES.ravel(), "offsets": np.array([0, 5, 5]), "labels": NUMBERS}, "offsets must rise from 0 to 972"),
]


@pytest.mark.parametrize(("arrays", "words"), BAD, ids=[words[:40] for _, words in BAD])
def test_arrays_that_do_not_agree_are_one_clear_line(save, arrays, words):
    with pytest.raises(RequestError, match=rf"set\.npz: {words}|{words}") as caught:
        read_arrays(save(**arrays))
    assert "set.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_archives_are_named(tmp_path):
    with pytest.raises(RequestError, match=r"gone\.npz: the file does not exist"):
        read_arrays(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(RequestError, match=r"text\.npz is not a readable .npz file"):
        read_arrays(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", IMAGES)
    with pytest.raises(RequestError, match=r"named arrays saved by numpy.savez are needed"):
        read_arrays(tmp_path / "one.npy")


def test_python_objects_are_never_loaded(save):
    with pytest.raises(RequestError, match="holds Python objects"):
        read_arrays(save(images=IMAGES, labels=np.array([{"a": 1}] * N, dtype=object)))


def test_labels_alone():
    assert read_labels(np.array([[1.0, 0.0]])).tolist() == [[1, 0]]
    assert read_labels(np.array([0, 1]), 4).shape == (2, 4)
