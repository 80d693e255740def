"""Labels of many items as the few different sets of labels that they have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hamguard.codes.distinct import distinct
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Ints


@dataclass(frozen=True, eq=False)
class LabelSets:
    """The different sets of labels, and which of them each item has.

    Attributes:
        sets: multi-hot `(L, C)` uint8, or `ClassNumbers` of L items; C is 0 where nothing is labeled.
        which: number of the set of each item, `(N,)` in `0..L - 1`.
    """

    sets: Bytes | ClassNumbers
    which: Ints

    @classmethod
    def of(cls, labels: Bytes | ClassNumbers) -> LabelSets:
        """The sets among labels `(N, C)`."""
        if isinstance(labels, ClassNumbers):
            numbers, which = np.unique(labels.numbers, return_inverse=True)
            return cls(ClassNumbers(numbers, labels.classes), which)
        first, which = distinct(np.packbits(labels, axis=1))
        return cls(labels[first], which)

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return int(self.sets.shape[1])

    @property
    def labels(self) -> Bytes | ClassNumbers:
        """Labels of the items, `(N, C)`."""
        return self.sets[self.which]

    def carry(self, label: int) -> Array:
        """Which items have a label, `(N,)` bool."""
        sets = self.sets
        return np.asarray((sets.numbers == label if isinstance(sets, ClassNumbers) else sets[:, label] > 0)[self.which])

    def select(self, index: Array) -> LabelSets:
        """Of some items, by number or mask."""
        return LabelSets(self.sets, self.which[index])

    def join(self, other: LabelSets) -> LabelSets:
        """Of these items and others behind them; where one side has no labels at all, its items have none.

        Raises:
            RequestError: both have labels, of different numbers of classes.
        """
        if self.classes and other.classes and self.classes != other.classes:
            raise RequestError(f"labels of {self.classes} classes and of {other.classes} do not go together")
        classes = max(self.classes, other.classes)
        sides = [one if one.classes else _unlabeled(len(one.which), classes) for one in (self, other)]
        which = np.concatenate([sides[0].which, sides[1].which + len(sides[0].sets)])
        numbers = [one.sets.numbers for one in sides if isinstance(one.sets, ClassNumbers)]
        if len(numbers) == len(sides):
            found = LabelSets.of(ClassNumbers(np.concatenate(numbers), classes))
        else:
            found = LabelSets.of(np.concatenate([np.asarray(one.sets) for one in sides]))
        return LabelSets(found.sets, found.which[which])


def _unlabeled(count: int, classes: int) -> LabelSets:
    none = np.zeros((1, 0), np.uint8) if classes == 0 else ClassNumbers(np.array([-1]), classes)
    return LabelSets(none, np.zeros(count, np.int64))
