import numpy as np
import pytest

from hamguard.codes.label_arrays import read_label_array
from hamguard.core.errors import RequestError


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float64, np.float16])
def test_one_dimension_holds_class_numbers(kind):
    read = read_label_array(np.array([0, 2, 1, 2], kind))
    assert read.numbers.tolist() == [0, 2, 1, 2] and read.numbers.dtype == np.int64
    assert (read.marks, read.notes, len(read)) == (None, (), 4)


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
def test_two_columns_and_more_are_rows_of_marks(kind):
    read = read_label_array(np.array([[1, 0], [1, 1], [0, 0]], kind))
    assert read.marks.tolist() == [[1, 0], [1, 1], [0, 0]] and read.marks.dtype == np.uint8
    assert (read.numbers, read.notes, len(read)) == (None, (), 3)


@pytest.mark.parametrize("values", [[0, 1, 0], [0, 1, 2], [1, 1, 1]])
def test_one_column_holds_class_numbers_and_says_so(values):
    read = read_label_array(np.array(values)[:, None], "query labels")
    assert read.numbers.tolist() == values and read.marks is None
    assert read.notes == (
        "query labels of shape (3, 1) are read as class numbers in one column, not as marks of one class",
    )


def test_one_column_is_the_mark_of_the_only_named_class():
    read = read_label_array(np.array([[0], [1]]), classes=1)
    assert read.marks.tolist() == [[0], [1]] and read.notes == ()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0.5, 1]), r"whole numbers from 0 where they are class numbers, got 0\.5"),
        (np.array([np.nan, 1]), "whole numbers from 0 .* got nan"),
        (np.array([1, np.inf]), "whole numbers from 0 .* got inf"),
        (np.array([-1, 1]), "whole numbers from 0 .* got -1"),
        (np.array([[-1], [1]]), "whole numbers from 0 .* got -1"),
        (np.array([2**63, 1], np.uint64), "whole numbers from 0 .* got 9223372036854775808"),
        (np.array([1e300, 1]), "whole numbers from 0 .* got 1e\\+300"),
        (np.array([[0, 2], [1, 0]]), r"must be multi-hot, 0 or 1, got 2 in shape \(2, 2\)"),
        (np.array([[0, 0.4], [1, 0]]), r"must be multi-hot, 0 or 1, got 0\.4"),
        (np.array([[0, np.nan], [1, 0]]), "must be multi-hot, 0 or 1, got nan"),
        (np.zeros((2, 0)), "have no column"),
        (np.zeros((2, 1, 1)), r"must be \(N,\) class numbers or \(N, C\) multi-hot, got \(2, 1, 1\)"),
        (np.array(["cat", "dog"]), "must be numbers, got <U3"),
    ],
)
def test_what_is_neither_is_one_clear_line(labels, words):
    with pytest.raises(RequestError, match=f"^database labels .*{words}|^database labels {words}") as caught:
        read_label_array(labels, "database labels")
    assert "\n" not in str(caught.value)
