import numpy as np
import pytest

from hamguard.core.errors import ImageError, RequestError
from hamguard.data.arrays import read_arrays

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
    ({"images": IMAGES, "labels": NUMBERS[:5]}, r"labels must be \(12, C\) or \(12,\), got \(5,\)"),
    ({"images": IMAGES, "labels": NUMBERS + 0.5}, "class numbers must be whole numbers"),
    ({"images": IMAGES, "labels": NUMBERS - 1}, "class numbers must be whole numbers from 0, got -1"),
    ({"images": IMAGES, "labels": NUMBERS * 10**6}, "which is no class number"),
    ({"images": IMAGES, "labels": np.full((N, 2), 3)}, r"labels must be multi-hot, 0 or 1; got 3 in shape \(12, 2\)"),
    ({"images": IMAGES, "labels": np.zeros((N, 2, 2))}, r"labels must be class numbers \(N,\) or multi-hot \(N, C\)"),
    ({"images": IMAGES, "labels": NUMBERS, "texts": np.array(["a"])}, "texts must match the pictures: 12 pictures, 1"),
    ({"images": IMAGES, "labels": NUMBERS, "texts": NUMBERS}, "texts must be a list of strings"),
    (
        {"images": IMAGES, "labels": NUMBERS, "class_names": np.array(["a"])},
        "class numbers go up to 2, but there are 1 classes",
    ),
    (
        {"images": IMAGES, "labels": np.eye(3)[NUMBERS], "class_names": np.array(["a"])},
        "labels have 3 columns, there are 1 classes",
    ),
    ({"images": IMAGES, "labels": NUMBERS, "ids": np.zeros(N, int)}, "ids must differ"),
    (
        {"images": IMAGES, "labels": NUMBERS, "ids": np.eye(N, dtype=int)},
        r"ids must be \(N,\) strings or whole numbers",
    ),
    ({"images": IMAGES, "labels": NUMBERS, "ids": np.array([b"caf\xe9"] * N)}, "ids hold bytes that are no UTF-8"),
    ({"images": IMAGES, "labels": NUMBERS, "texts": np.array([b"caf\xe9"] * N)}, "texts hold bytes that are no UTF-8"),
    ({"images": IMAGES, "labels": np.eye(N, dtype=int)[:3]}, "labels must be .* lie on their side"),
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


def test_one_column_is_read_as_class_numbers_and_said(save):
    dataset = read_arrays(save(images=IMAGES, labels=(NUMBERS % 2)[:, None]))
    assert dataset.labels.sum(0).tolist() == [8, 4] and dataset.class_names == ("0", "1")
    assert dataset.notes == (
        "labels of shape (12, 1) are read as class numbers in one column, not as marks of one class",
    )
    marks = read_arrays(save(images=IMAGES, labels=(NUMBERS % 2)[:, None], class_names=np.array(["cat"])))
    assert marks.labels[:, 0].tolist() == (NUMBERS % 2).tolist() and marks.notes == ()


def test_labels_may_be_names(save):
    words = np.array(["cafe\u0301", "caf\u00e9", "tea"])[NUMBERS]
    dataset = read_arrays(save(images=IMAGES, labels=words))
    assert dataset.class_names == ("caf\u00e9", "tea") and dataset.labels.sum(0).tolist() == [8, 4]
    assert dataset.notes == ("labels written in two Unicode forms are read as one: caf\u00e9",)
    ordered = read_arrays(save(images=IMAGES, labels=words, class_names=np.array(["tea", "milk", "caf\u00e9"])))
    assert ordered.labels.sum(0).tolist() == [4, 0, 8]
    with pytest.raises(RequestError, match="a name that is not among class_names: 'tea'"):
        read_arrays(save(images=IMAGES, labels=words, class_names=np.array(["caf\u00e9"])))


def test_columns_whose_names_are_one_label_are_joined(save):
    marks = np.eye(3, dtype=int)[NUMBERS]
    dataset = read_arrays(save(images=IMAGES, labels=marks, class_names=np.array(["cafe\u0301", "tea", "caf\u00e9"])))
    assert dataset.class_names == ("caf\u00e9", "tea") and dataset.labels.sum(0).tolist() == [8, 4]
    with pytest.raises(RequestError, match="class names must differ, got 'tea' 2 times"):
        read_arrays(save(images=IMAGES, labels=marks, class_names=np.array(["tea", "tea ", "milk"])))


def test_arrays_are_known_without_regard_to_case_and_the_rest_is_named(save):
    dataset = read_arrays(save(Images=IMAGES, LABELS=NUMBERS, labels=NUMBERS[::-1], Split=np.array([0, 1, 2, 3] * 3)))
    assert dataset.labels.argmax(1).tolist() == NUMBERS[::-1].tolist() and dataset.native is not None
    assert dataset.notes == ("arrays not read: LABELS",)
    names = {"class_names": np.array(["a", "b", "c"]), "label_names": np.array(["d", "e", "f"])}
    both = read_arrays(save(images=IMAGES, labels=NUMBERS, data=IMAGES.ravel(), offsets=np.arange(3), **names))
    assert both.notes == ("arrays not read: data, label_names, offsets",) and both.class_names == ("a", "b", "c")
