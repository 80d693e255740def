"""What an array of labels means: every shape and type, either read by the rule or refused with what was received."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import read_label_array


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32, np.bool_, np.float16])
def test_one_value_an_item_is_its_class_whatever_the_type(kind: type) -> None:
    for array in (np.array([0, 1, 1], kind), np.array([[0], [1], [1]], kind)):
        read = read_label_array(array, items=3)
        assert read.marks is None and read.numbers is not None and read.numbers.dtype == np.int64
        assert read.numbers.tolist() == [0, 1, 1]
        assert read.multi_hot().tolist() == [[1, 0], [0, 1], [0, 1]]
        assert bool(read.notes) == (array.ndim == 2)
    assert read.notes == ("labels of shape (3, 1) are read as class numbers in one column, not as marks of one class",)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32, np.bool_])
def test_several_columns_of_zero_and_one_are_multi_hot(kind: type) -> None:
    read = read_label_array(np.array([[0, 1], [1, 1], [0, 0]], kind))
    assert read.numbers is None and read.marks is not None and read.marks.dtype == np.uint8
    assert read.multi_hot(2).tolist() == [[0, 1], [1, 1], [0, 0]] and read.notes == ()


def test_one_column_is_multi_hot_where_there_is_one_class() -> None:
    read = read_label_array(np.array([[0], [1]]), classes=1)
    assert read.marks is not None and read.marks.tolist() == [[0], [1]]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_names_are_classes_in_sorted_order_and_a_blank_one_is_no_label(shape: tuple[int, ...]) -> None:
    words = np.array(["dog", "cat", " dog ", ""]).reshape(shape)
    for array in (words, np.char.encode(words, "utf-8")):
        read = read_label_array(array)
        assert read.names == ("cat", "dog") and read.numbers is not None
        assert read.numbers.tolist() == [1, 0, 1, -1]
        assert read.multi_hot().tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]
        assert read.notes == ("1 of 4 labels are blank: no label",)


def test_two_unicode_forms_of_a_name_are_one_class() -> None:
    read = read_label_array(np.array(["caf\u00e9", "cafe\u0301"]))
    assert read.names == ("caf\u00e9",) and read.numbers is not None and read.numbers.tolist() == [0, 0]


def test_tensors_mean_what_their_arrays_mean() -> None:
    for values in (
        torch.tensor([2, 0]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.ones(2, 2, dtype=torch.bfloat16),
    ):
        want = read_label_array(values.double().numpy())
        got = read_label_array(values)
        assert np.array_equal(got.multi_hot(), want.multi_hot())


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array(3), "must be class numbers .* got one value alone"),
        (np.zeros((2, 2, 2)), r"got shape \(2, 2, 2\)"),
        (np.zeros((2, 0)), "have no column"),
        (np.array([0, -1]), "whole numbers from 0, got -1; an item without label needs multi-hot"),
        (np.array([[0], [-3]]), "whole numbers from 0, got -3"),
        (np.array([0.5, 1]), r"got 0.5; these are soft labels: decide first, e.g. labels > 0.5"),
        (np.array([2.5, 7]), "whole numbers from 0, got 2.5$"),
        (np.array([1e300, 0]), r"below 2\*\*53"),
        (np.array([2**63 + 1, 0], np.uint64), r"below 2\*\*53"),
        (np.array([np.nan, 1]), "class numbers must be whole numbers from 0, got nan"),
        (np.array([[np.inf, 1], [0, 0]]), r"got inf in shape \(2, 2\)"),
        (np.array([[0.4, 1], [0, 0]]), r"got 0.4 in shape \(2, 2\); soft labels must be decided first"),
        (np.array([[-1, 1], [1, -1]]), r"got -1 in shape \(2, 2\): it may mean not of this class, or not known"),
        (np.array([[3, 1], [1, 2]]), r"got 3 in shape \(2, 2\); class numbers have the shape \(2,\)"),
        (np.array([["cat", "dog"]]), "are strings; class names have the shape"),
        (np.array(["", " "]), "all blank"),
        (np.array([b"\xff", b"a"]), "no UTF-8"),
        (np.array([1, "x"], object), "must be numbers or class names, got object; make them"),
        (np.array([1j, 0]), "must be numbers or class names, got complex128"),
        (np.array(["2020-01-01"], "M8[D]"), "must be numbers or class names, got datetime64"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_what_was_received(array: Any, expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        read_label_array(array)


def test_labels_of_another_number_or_on_their_side_are_named() -> None:
    with pytest.raises(RequestError, match=r"must be \(5, C\) or \(5,\), got \(3, 5\); they lie on their side"):
        read_label_array(np.zeros((3, 5)), items=5)
    with pytest.raises(RequestError, match=r"my labels must be \(5, C\) or \(5,\), got \(3,\)$"):
        read_label_array(np.zeros(3), "my labels", items=5)


def test_rows_of_a_given_number_of_classes() -> None:
    read = read_label_array(np.array([1, 3]))
    assert read.multi_hot(5).shape == (2, 5)
    with pytest.raises(RequestError, match="go up to 3, but there are 3 classes.* where they count from 1, subtract 1"):
        read.multi_hot(3)
    with pytest.raises(RequestError, match="go up to 3, but there are 2 classes, counted from 0 to 1$"):
        read.multi_hot(2)
    with pytest.raises(RequestError, match="labels have 2 columns, there are 3 classes"):
        read_label_array(np.eye(2)).multi_hot(3)
