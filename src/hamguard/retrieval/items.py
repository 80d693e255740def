"""Items of an index and the codes they share: answers in codes become answers in items, by distance and then by age.

Learned codes collapse on purpose, so an index keeps each code once, with the items that have it. A code is as old as its oldest
item, and codes are numbered by age. Then each of the k nearest items, by (distance, age), lies on one of the k nearest codes, by
(distance, age): every code that stands before its own has an item that stands before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hamguard.codes.label_sets import LabelSets
from hamguard.core.types import Array, Ints

BLOCK, ROWS = 1 << 17, 1 << 14  # items and queries that are put in order at once
DISTANCE, QUERY = (
    32,
    49,
)  # where they begin in a number that sorts: 32 bits for the item, 17 for the distance, 14 for the query


class Items:
    """Items in the order of insertion, which is their age, grouped by the code that they share.

    Args:
        ids: one name an item, `(N,)` strings.
        owner: number of the code of each, `(N,)`; codes are numbered by first appearance.
        labels: labels of the items.
    """

    def __init__(self, ids: Array, owner: Ints, labels: LabelSets) -> None:
        self.ids, self.owner, self.labels = ids, owner, labels
        self.sizes: Ints = np.bincount(owner)  # (D,) items of each code
        self.single = len(self.sizes) == len(owner)  # no two items share a code: code and item are one number
        self._starts = np.cumsum(self.sizes) - self.sizes
        self._members = owner if self.single else np.argsort(owner, kind="stable")  # (N,) of each code the oldest first

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def codes(self) -> int:
        """Number of codes D."""
        return len(self.sizes)

    def join(self, ids: Array, owner: Ints, labels: LabelSets) -> Items:
        """These items and others behind them.

        Raises:
            RequestError: labels of other classes.
        """
        return Items(np.concatenate([self.ids, ids]), np.concatenate([self.owner, owner]), self.labels.join(labels))

    def select(self, kept: Array) -> tuple[Items, Ints]:
        """Some of the items, `kept` a mask `(N,)`, in their order; and the old numbers of the codes that they have, `(D',)`."""
        old, first, place = np.unique(self.owner[kept], return_index=True, return_inverse=True)
        order = np.argsort(first)
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        return Items(self.ids[kept], number[place], self.labels.select(kept)), old[order]

    def enough(self, distances: Ints, codes: Ints, k: int) -> Array:
        """Whether the k nearest items are sure to lie on these codes, `(Q,)` bool.

        Args:
            distances: of the nearest codes, `(Q, c)`, rising.
            codes: their numbers, `(Q, c)`; -1 behind the last that an engine finds.
            k: items wanted; `min(k, D)` codes are always enough.
        """
        if codes.shape[1] >= min(k, self.codes):
            return np.ones(len(codes), dtype=bool)
        nearer = np.where(distances < distances[:, -1:], self._counts(codes), 0).sum(axis=1)
        return np.asarray((nearer >= k) | (codes[:, -1] < 0))

    def nearest(self, distances: Ints, codes: Ints, k: int) -> tuple[Ints, Ints]:
        """The k nearest items, by distance and then by age.

        Args:
            distances: of the nearest codes, `(Q, c)`, rising.
            codes: their numbers, `(Q, c)`, enough for k items; -1 where an engine finds no more.
            k: items wanted.

        Returns:
            Distances and items, `(Q, k)` int64 each; -1 where there are fewer than k.
        """
        found, items = np.full((len(codes), k), -1, np.int64), np.full((len(codes), k), -1, np.int64)
        self.put_nearest(distances, codes, np.arange(len(codes)), found, items)
        return found, items

    def put_nearest(self, distances: Ints, codes: Ints, rows: Ints, found: Ints, items: Ints) -> None:
        """The same put into rows, rising, of a larger answer of `found` and `items`, `(Q', k)`, which hold -1."""
        k = found.shape[1]
        counts = self._counts(codes)  # (Q, c)
        last = np.maximum((np.cumsum(counts, axis=1) - counts < k).sum(axis=1) - 1, 0)  # the code that holds item k
        cut = distances[np.arange(len(codes)), last, None]  # -1 where there are fewer than k
        nearer = np.where(distances < cut, counts, 0).sum(
            axis=1, keepdims=True
        )  # (Q, 1) items that are sure to be meant
        last_ones = np.where(
            distances == cut, np.minimum(counts, k - nearer), 0
        )  # of a code only its oldest can be meant
        counts = np.where((distances < cut) | (cut < 0), counts, last_ones)
        totals: Ints = counts.sum(axis=1)
        for part in _blocks(totals):
            query, columns = np.nonzero(counts[part])
            own = part.start + query
            far, near = self._in_order(query, distances[own, columns], codes[own, columns], counts[own, columns])
            ends = np.cumsum(totals[part])
            if (totals[part] >= k).all():
                pick = (ends - totals[part])[:, None] + np.arange(k)  # (q, k)
                start, stop = int(rows[part.start]), int(rows[part.stop - 1]) + 1
                if stop - start == len(pick):
                    far.take(pick, out=found[start:stop], mode="clip")
                    near.take(pick, out=items[start:stop], mode="clip")
                else:
                    found[rows[part]], items[rows[part]] = far.take(pick), near.take(pick)
                continue
            for row, end, total in zip(rows[part], ends, totals[part], strict=True):
                begin, size = end - total, min(total, k)
                found[row, :size], items[row, :size] = far[begin : begin + size], near[begin : begin + size]

    def ball(self, limits: Ints, distances: Ints, codes: Ints) -> tuple[Ints, Ints, Ints]:
        """All items on some codes, by distance and then by age.

        Args:
            limits: the codes of query i stand at `limits[i]:limits[i + 1]`, `(Q + 1,)`.
            distances: of the codes, `(limits[-1],)`, in any order.
            codes: their numbers, `(limits[-1],)`.

        Returns:
            Limits, distances and items in the same form, int64, of each query the nearest first.
        """
        counts = self.sizes[codes]
        ends = np.concatenate([[0], np.cumsum(counts)])[limits]  # (Q + 1,)
        found, items = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int64)
        for part in _blocks(np.diff(ends)):
            rows = np.repeat(np.arange(part.stop - part.start), np.diff(limits[part.start : part.stop + 1]))
            own, made = (slice(edges[part.start], edges[part.stop]) for edges in (limits, ends))
            found[made], items[made] = self._in_order(rows, distances[own], codes[own], counts[own])
        return ends, found, items

    def _counts(self, codes: Ints) -> Ints:
        """Items of each code; none of what is no code."""
        counts: Ints = np.where(codes < 0, 0, self.sizes[codes])
        return counts

    def _in_order(self, rows: Ints, distances: Ints, codes: Ints, counts: Ints) -> tuple[Ints, Ints]:
        """Distances and items of the `counts` oldest items of each code, by query, distance and age, `(sum of counts,)` each."""
        key = rows << QUERY | distances << DISTANCE  # (c,)
        if self.single:
            key |= codes
        else:
            ends = np.cumsum(counts)
            begins = self._starts[codes] - ends + counts
            total = int(ends[-1]) if len(ends) else 0
            key = np.repeat(key, counts) | self._members[np.repeat(begins, counts) + np.arange(total)]
        key.sort(kind="stable")  # runs of codes are in order already
        return key >> DISTANCE & (1 << QUERY - DISTANCE) - 1, key & (1 << DISTANCE) - 1


def _blocks(totals: Ints) -> Iterator[slice]:
    """Queries in a row that have about `BLOCK` items together, and are at most `ROWS`; one with more items stands alone."""
    ends, start = np.cumsum(totals), 0
    while start < len(totals):
        most = BLOCK + (int(ends[start - 1]) if start else 0)
        stop = min(max(start + 1, int(np.searchsorted(ends, most, side="right"))), start + ROWS)
        yield slice(start, stop)
        start = stop
