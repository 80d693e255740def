"""What an array of labels means: class numbers or multi-hot rows, by one rule for data sets and for foreign codes.

* `(N,)`: class numbers, whole and from 0.
* `(N, C)` with C of 2 or more: multi-hot rows of 0 and 1.
* `(N, 1)`: class numbers in one column, as `(N,)`, and a note says so: a set of one label has nothing to tell apart. Only
  where exactly one class is named elsewhere is the column the mark of that class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Ints

LARGEST = 1 << 53
"""Class numbers end below it: larger ones are not whole in every type that files keep them in."""


@dataclass(frozen=True, eq=False)
class LabelArray:
    """Labels of N items: one of the two is given.

    Attributes:
        numbers: class numbers, `(N,)` int64 from 0, or None.
        marks: multi-hot rows, `(N, C)` uint8 in {0, 1}, or None.
        notes: what a reader must be told where the array could be read in two ways.
    """

    numbers: Ints | None
    marks: Bytes | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        held = self.numbers if self.numbers is not None else self.marks
        return 0 if held is None else len(held)


def read_label_array(labels: Array, name: str = "labels", *, classes: int | None = None) -> LabelArray:
    """Read an array of labels by the rule above.

    Args:
        labels: `(N,)`, `(N, 1)` or `(N, C)`, any numeric type.
        name: how errors and notes call the array.
        classes: how many classes are named elsewhere; 1 makes a single column the mark of that class.

    Raises:
        RequestError: another shape or type, no column, class numbers that are not whole or below 0, rows of other values
            than 0 and 1.
    """
    if labels.dtype.kind not in "biuf":
        raise RequestError(
            f"{name} must be numbers, got {labels.dtype}; save class numbers (N,) or multi-hot rows (N, C), "
            "and the names apart"
        )
    if labels.ndim not in (1, 2):
        raise RequestError(f"{name} must be (N,) class numbers or (N, C) multi-hot, got {labels.shape} {labels.dtype}")
    if labels.ndim == 1:
        return LabelArray(_numbers(labels, name), None)
    if labels.shape[1] == 0:
        raise RequestError(f"{name} have no column, so nothing can be relevant")
    if labels.shape[1] == 1 and classes != 1:
        note = f"{name} of shape ({len(labels)}, 1) are read as class numbers in one column, not as marks of one class"
        return LabelArray(_numbers(labels[:, 0], name), None, (note,))
    if not bool(((labels == 0) | (labels == 1)).all()):
        found = labels[(labels != 0) & (labels != 1)].ravel()[0]
        raise RequestError(
            f"{name} must be multi-hot, 0 or 1, got {found} in shape {labels.shape} "
            f"(or class numbers of shape ({len(labels)},))"
        )
    return LabelArray(None, labels.astype(np.uint8))


def _numbers(labels: Array, name: str) -> Ints:
    """Class numbers as int64."""
    wide = labels.astype(np.float64) if labels.dtype.kind == "f" else labels  # a half float does not reach LARGEST
    fit = (wide == np.round(wide)) & (wide >= 0) & (wide < LARGEST)  # NaN is none of these
    if not bool(fit.all()):
        raise RequestError(f"{name} must be whole numbers from 0 where they are class numbers, got {labels[~fit][0]}")
    return labels.astype(np.int64)
