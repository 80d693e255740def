"""What an array of labels means: the one rule, for codes, data sets and training.

| array | read as |
|---|---|
| `(N,)` whole numbers from 0, of any number type, True and False included | class numbers: one class an item |
| `(N, 1)` of the same | class numbers too, whatever their values; one class for all (`classes=1`): multi-hot |
| `(N,)` or `(N, 1)` strings | class names: one class an item, compared whole after NFC; a blank string is no label |
| `(N, C)`, C at least 2, of 0 and 1 (or False and True) | multi-hot: column c marks the items of class c |

Everything else is refused with what was received: fractions (soft labels), NaN, -1 and +1, negative numbers, several
columns of class numbers or names, no column, one number alone, Python objects, and an array that lies on its side.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Ints, is_tensor

LARGEST = 2**53  # whole numbers beyond this are not exact in float64, so two classes could become one


@dataclass(frozen=True)
class LabelArray:
    """Labels with their meaning; either `marks` or `numbers` is there.

    Attributes:
        marks: multi-hot labels, `(N, C)` uint8 in {0, 1}, or None.
        numbers: class of each item, `(N,)` int64; -1 for an item without label (a blank name); or None.
        names: class names that `numbers` count, sorted, where the array held names; else empty.
        notes: what a reader must know about how the array was read.
    """

    marks: Bytes | None
    numbers: Ints | None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.marks if self.marks is not None else self.numbers)  # type: ignore[arg-type]

    def multi_hot(self, classes: int | None = None) -> Bytes:
        """The labels as rows, `(N, C)` uint8 in {0, 1}.

        Args:
            classes: number of classes C; by default the names, the columns, or one more than the largest number.

        Raises:
            RequestError: the labels do not fit that many classes.
        """
        if self.marks is not None:
            if classes is not None and self.marks.shape[1] != classes:
                raise RequestError(f"labels have {self.marks.shape[1]} columns, there are {classes} classes")
            return self.marks
        assert self.numbers is not None
        largest = int(self.numbers.max(initial=-1))
        wide = classes if classes is not None else len(self.names) or largest + 1
        if largest >= wide:
            raise RequestError(
                f"class numbers go up to {largest}, but there are {wide} classes, counted from 0 to {wide - 1}"
                + ("; where they count from 1, subtract 1" if largest == wide and self.numbers.min() >= 1 else "")
            )
        rows = np.zeros((len(self.numbers), wide), np.uint8)
        labeled = np.flatnonzero(self.numbers >= 0)
        rows[labeled, self.numbers[labeled]] = 1
        return rows


def read_label_array(
    labels: Any, name: str = "labels", *, items: int | None = None, classes: int | None = None
) -> LabelArray:
    """Decide what an array of labels means, by the rule above.

    Args:
        labels: a NumPy array or a torch tensor.
        name: how errors and notes call the array.
        items: number of items N that the labels belong to, where it is known.
        classes: number of classes, where it is known from elsewhere; one class makes `(N, 1)` multi-hot.

    Raises:
        RequestError: the array is none of the four.
    """
    array = as_array(labels)
    shape, kind = tuple(array.shape), array.dtype.kind
    if array.ndim not in (1, 2):
        raise RequestError(f"{name} must be class numbers (N,) or multi-hot (N, C), got {_called(shape)}")
    if items is not None and len(array) != items:
        turned = "; they lie on their side: transpose them" if array.ndim == 2 and shape[1] == items else ""
        raise RequestError(f"{name} must be ({items}, C) or ({items},), got {shape}{turned}")
    if array.ndim == 2 and shape[1] == 0:
        raise RequestError(f"{name} have no column, so nothing can be relevant")
    if kind in "US":
        return _names(array, name)
    if kind not in "biuf":
        hint = "; make them numbers or strings with astype" if kind == "O" else ""
        raise RequestError(f"{name} must be numbers or class names, got {array.dtype}{hint}")
    if array.ndim == 1 or (shape[1] == 1 and classes != 1):
        note = f"{name} of shape {shape} are read as class numbers in one column, not as marks of one class"
        notes = (note,) if array.ndim == 2 else ()
        return LabelArray(None, _numbers(array.reshape(-1), name), notes=notes)
    if not _marks_only(array):
        raise RequestError(f"{name} must be multi-hot, 0 or 1; {_why_no_marks(array)}")
    return LabelArray(array.astype(np.uint8), None)


def label_rows(labels: Any, classes: int | None = None, name: str = "labels") -> Bytes:
    """Labels that a caller hands over, as rows, `(N, C)` uint8 in {0, 1}; where nobody names C, one column is multi-hot.

    Args:
        labels: multi-hot `(N, C)` of 0 and 1 (C may be 0 or 1), or class numbers `(N,)`; an array or a tensor.
        classes: number of classes C that the rows must have; by default what the array says.
        name: how errors call the array.

    Raises:
        RequestError: labels that are neither, or of another number of classes; names, whose number nobody else knows.
    """
    array = as_array(labels)
    if array.ndim == 2 and array.shape[1] == 0 and not classes:
        return array.astype(np.uint8)
    read = read_label_array(array, name, classes=classes if classes is not None else 1)
    if read.names:
        raise RequestError(
            f"{name} must be class numbers (N,) or multi-hot (N, C) here, got names such as {read.names[0]!r}"
        )
    return read.multi_hot(classes)


def as_array(labels: Any) -> Array:
    """Labels that are a tensor on any device, an array or a list, as an array."""
    if is_tensor(labels):
        tensor = labels.detach().cpu()
        return np.asarray((tensor.double() if tensor.is_floating_point() else tensor).numpy())
    return np.asarray(labels)


def _called(shape: tuple[int, ...]) -> str:
    return "one value alone" if shape == () else f"shape {shape}"


def _marks_only(array: Array) -> bool:
    if array.size == 0:
        return True
    if array.dtype.kind in "bu":
        return int(array.max()) <= 1
    return bool(((array == 0) | (array == 1)).all())


def _numbers(array: Array, name: str) -> Ints:
    """Class numbers `(N,)` as int64."""
    if array.size == 0:
        return array.astype(np.int64)
    name = name.replace("labels", "class numbers", 1)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(f"{name} must be whole numbers from 0, got {array[~np.isfinite(array)][0]}")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not bool((array == np.round(array)).all()):
        part = array[array != np.round(array)][0]
        hint = "; these are soft labels: decide first, e.g. labels > 0.5" if low >= 0 and high <= 1 else ""
        raise RequestError(f"{name} must be whole numbers from 0, got {part:g}{hint}")
    if low < 0:
        hint = "; an item without label needs multi-hot labels and a row of zeros" if low == -1 else ""
        raise RequestError(f"{name} must be whole numbers from 0, got {int(low)}{hint}")
    if int(high) >= LARGEST:
        raise RequestError(f"{name} must stay below 2**53, got {int(high)}")
    return array.astype(np.int64)


def _why_no_marks(array: Array) -> str:
    """What stands in an array `(N, C)` that is not multi-hot, and what to do."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return f"got {array[~np.isfinite(array)][0]} in shape {array.shape}"
    fractions = array[array != np.round(array)] if array.dtype.kind == "f" else array[:0]
    if fractions.size:
        soft = "; soft labels must be decided first, e.g. labels > 0.5" if array.min() >= 0 and array.max() <= 1 else ""
        return f"got {fractions.flat[0]:g} in shape {array.shape}{soft}"
    odd = int(array[(array != 0) & (array != 1)].flat[0])
    if odd == -1:
        return f"got -1 in shape {array.shape}: it may mean not of this class, or not known; say which, e.g. labels > 0"
    if array.min() >= 0:
        return f"got {odd} in shape {array.shape}; class numbers have the shape ({len(array)},), one an item"
    return f"got {odd} in shape {array.shape}"


def _names(array: Array, name: str) -> LabelArray:
    """Class names, one an item, as numbers in the order of the sorted names."""
    if array.ndim == 2 and array.shape[1] != 1:
        raise RequestError(
            f"{name} of shape {array.shape} are strings; class names have the shape ({len(array)},), one an item"
        )
    flat = array.reshape(-1)
    try:
        words = np.char.decode(flat, "utf-8") if flat.dtype.kind == "S" else flat
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} hold a class name that is no UTF-8: {error.object!r}") from error
    different, place = np.unique(words, return_inverse=True)
    clean = [unicodedata.normalize("NFC", str(word)).strip() for word in different]
    names = tuple(sorted({word for word in clean if word}))
    if not names and len(flat):
        raise RequestError(f"{name} are all blank, so nothing can be relevant")
    number = {word: i for i, word in enumerate(names)}
    numbers = np.array([number.get(word, -1) for word in clean], np.int64)[place.reshape(-1)]
    blank = int(np.count_nonzero(numbers < 0))
    notes = (f"{blank} of {len(flat)} {name} are blank: no label",) if blank else ()
    return LabelArray(None, numbers, names, notes)
