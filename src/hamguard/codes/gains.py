"""Graded relevance: shared labels summed per Hamming distance, and how many items share how many labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hamguard.codes.histograms import query_words
from hamguard.codes.labeled import Database, LabeledCodes, shards_of, word_blocks
from hamguard.core.types import Array, Ints


@dataclass(frozen=True)
class SharedLabels:
    """Shared labels of each query with the database.

    Attributes:
        by_distance: sum of shared labels over the items at each distance, `(Q, K + 1)` int64.
        counts: items that share exactly g labels, `(Q, G + 1)` int64, G the most labels of any query.
    """

    by_distance: Ints
    counts: Ints


def shared_labels(query: LabeledCodes, database: Database) -> SharedLabels:
    """Count shared labels per distance and per number, in one pass over the database.

    Args:
        query: packed codes with labels, Q of them.
        database: the N items, whole or in shards.

    Raises:
        RequestError: as in `distance_histograms`.
    """
    shards, _ = shards_of(query, database)
    q, q_labels, kept = query_words(query)
    most = int(np.bitwise_count(q_labels).sum(axis=1, dtype=np.int64).max())
    size, grades = query.bits + 1, most + 1
    sums, counts = np.zeros((len(q), size), dtype=np.int64), np.zeros((len(q), grades), dtype=np.int64)
    grade = np.arange(grades)
    for code, label in word_blocks(shards, kept):
        for a in range(len(q)):
            held = np.flatnonzero(q_labels[a])  # a word without a label of the query shares none
            shared = _ones_of(q_labels[a, held], label[held], np.bitwise_and)
            key = _ones_of(q[a], code, np.bitwise_xor) * grades + shared  # (n,)
            found = np.bincount(key, minlength=size * grades).reshape(size, grades)
            sums[a] += found @ grade
            counts[a] += found.sum(axis=0)
    return SharedLabels(sums, counts)


def _ones_of(row: Array, columns: Array, combine: np.ufunc) -> Ints:
    """Set bits of a row of words combined with each column of words, `(W,)` and `(W, n)` to `(n,)` int64."""
    ones = np.zeros(columns.shape[1], dtype=np.int64)
    for own, word in zip(row, columns, strict=True):
        ones += np.bitwise_count(combine(own, word))
    return ones
