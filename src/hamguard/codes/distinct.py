"""Equal codes found: learned codes collapse, so that a data base of many items holds few different codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hamguard.codes.binary import words
from hamguard.core.types import Array, Bytes, Ints


class Distinct(NamedTuple):
    """Rows that differ, numbered by first appearance.

    Attributes:
        first: row at which each appears first, `(D,)` int64, rising.
        owner: number of the distinct row that each row equals, `(N,)` int64 in `0..D - 1`.
    """

    first: Ints
    owner: Ints


def distinct(packed: Bytes) -> Distinct:
    """The different rows among packed codes, or packed labels.

    Args:
        packed: `(N, bytes)` uint8.

    Returns:
        `packed[first]` are the D different rows, and `packed[first][owner]` is `packed` again.

    >>> distinct(np.array([[7], [3], [7]], dtype=np.uint8))
    Distinct(first=array([0, 1]), owner=array([0, 1, 0]))
    """
    return distinct_words(words(packed))


def distinct_words(rows: Array) -> Distinct:
    """The same of rows of words, `(N, W)` uint64."""
    order: Ints = (
        np.lexsort(rows.T) if rows.shape[1] else np.arange(len(rows))
    )  # stable: of equal rows the earliest is first
    ranked = rows[order]
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    first = order[begins]
    age = np.argsort(first)
    number = np.empty(len(first), dtype=np.int64)
    number[age] = np.arange(len(first))
    owner = np.empty(len(rows), dtype=np.int64)
    owner[order] = number[np.cumsum(begins) - 1]
    return Distinct(first[age], owner)
