"""The counting kernels in plain NumPy: one query against one block at a time, buffers reused."""

from __future__ import annotations

import numpy as np

from hamguard.core.types import Array, Floats, Ints


def key_type(bits: int) -> type[np.uint8] | type[np.uint16]:
    """The smallest type that holds `2 * distance + 1` for distances up to `bits`."""
    return np.uint8 if 2 * bits + 1 <= np.iinfo(np.uint8).max else np.uint16


class _Keys:
    """Keys `2 * distance + relevant` of one query to the items of a block; the buffers live as long as the block."""

    def __init__(self, code: Array, label: Array, bits: int) -> None:
        n = code.shape[1]
        self.code, self.label = code, label
        self.word = np.empty(n, dtype=np.uint64)
        self.ones = np.empty(n, dtype=np.uint8)
        self.shared = np.empty(n, dtype=np.bool_)
        self.either = np.empty(n, dtype=np.bool_)
        self.key = np.empty(n, dtype=key_type(bits))

    def of(self, q: Array, q_label: Array) -> Array:
        key = self.ones if self.key.dtype == np.uint8 and len(q) == 1 else self.key
        for w, word in enumerate(self.code):
            np.bitwise_xor(q[w], word, out=self.word)
            np.bitwise_count(self.word, out=self.ones)
            if w == 0 and key is not self.ones:
                key[...] = self.ones
            elif w > 0:
                np.add(key, self.ones, out=key)
        held = np.flatnonzero(q_label)  # a word without a label of the query shares none: one pass a label, not a class
        if len(held) == 0:
            self.shared[...] = False
        for place, v in enumerate(held):
            np.bitwise_and(q_label[v], self.label[v], out=self.word)
            if place == 0:
                np.not_equal(self.word, 0, out=self.shared)
            else:
                np.logical_or(self.shared, np.not_equal(self.word, 0, out=self.either), out=self.shared)
        np.left_shift(key, 1, out=key)
        return np.bitwise_or(key, self.shared.view(np.uint8), out=key)


def together(code: Array, label: Array) -> tuple[Ints, Ints]:
    """Items of a block that have one code and the same labels, counted.

    Args:
        code: code words, `(W, n)` uint64.
        label: label words, `(V, n)` uint64.

    Returns:
        An item of each kind, `(d,)`, and how many items are of it, `(d,)` int64.
    """
    columns = [*code, *label]  # labels last: the sort begins with them, who are few
    order = np.lexsort(columns)
    begins = np.zeros(len(order), dtype=bool)
    begins[:1] = True
    for column in columns:
        ranked = column[order]
        begins[1:] |= ranked[1:] != ranked[:-1]
    starts = np.flatnonzero(begins)
    return order[starts], np.diff(starts, append=len(order))


def count(
    q: Array, q_labels: Array, code: Array, label: Array, total: Ints, relevant: Ints, times: Ints | None = None
) -> None:
    """Add the counts of one block to `total` and `relevant`, `(Q, K + 1)`, in place.

    Args:
        q: code words of the queries, `(Q, W)` uint64.
        q_labels: label words of the queries, `(Q, V)` uint64.
        code: code words of the block, `(W, n)` uint64.
        label: label words of the block, `(V, n)` uint64.
        total: items at each distance.
        relevant: relevant items at each distance.
        times: how often each item of the block counts, `(n,)`; None for once.
    """
    size = total.shape[1]
    keys = _Keys(code, label, size - 1)
    weights = None if times is None else times.astype(np.float64)  # whole numbers are exact in it
    for a in range(len(q)):
        found = np.bincount(keys.of(q[a], q_labels[a]), weights, 2 * size).reshape(size, 2)  # (K + 1, 2)
        found = found.astype(np.int64, copy=False)
        relevant[a] += found[:, 1]
        total[a] += found.sum(axis=1)


def stable(
    q: Array,
    q_labels: Array,
    code: Array,
    label: Array,
    state: Array,
    lanes: Floats,
    hits: Ints,
    max_rank: int,
    max_hits: int,
) -> None:
    """Add the precisions at the hits of one block to `lanes`, `(Q, 4)`, in database order, in place.

    The terms go to the four lanes in turn and the lanes are rotated so that the next term belongs to the first. This
    is the order in which the compiled kernel adds, so both round alike, and it does not depend on the blocks.

    Args:
        q: code words of the queries, `(Q, W)` uint64.
        q_labels: label words of the queries, `(Q, V)` uint64.
        code: code words of the block, `(W, n)` uint64.
        label: label words of the block, `(V, n)` uint64.
        state: rank (low 32 bits) and hits (high 32 bits) already given out at each distance, `(Q, K + 1)` uint64.
        lanes: four partial sums of precisions.
        hits: counted hits so far.
        max_rank: hits behind this rank do not count.
        max_hits: nor do hits behind that many.
    """
    size = state.shape[1]
    keys = _Keys(code, label, size - 1)
    for a in range(len(q)):
        key = keys.of(q[a], q_labels[a])
        dist, mark = key >> 1, key & 1
        order = np.argsort(dist, kind="stable")  # a radix sort for these small types
        found = np.bincount(key, minlength=2 * size).reshape(size, 2)  # (K + 1, 2)
        here, here_hits = found.sum(axis=1), found[:, 1]
        given = (state[a] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        given_hits = (state[a] >> np.uint64(32)).astype(np.int64)
        # Position in the sorted block, moved from where the distance begins here to where it continues in the ranking.
        rank_move = np.repeat(given - (np.cumsum(here) - here), here)  # (n,)
        hit_move = np.repeat(given_hits - (np.cumsum(here_hits) - here_hits), here)  # (n,)
        sorted_mark = mark[order] == 1
        rank, hit = np.empty(len(key), dtype=np.int64), np.empty(len(key), dtype=np.int64)
        rank[order] = np.arange(1, len(key) + 1) + rank_move
        hit[order] = np.cumsum(sorted_mark) + hit_move
        is_hit = mark == 1
        rank, hit = rank[is_hit], hit[is_hit]
        inside = (rank <= max_rank) & (hit <= max_hits)
        terms = np.zeros(4 + 4 * -(-len(rank) // 4))
        terms[:4] = lanes[a]
        terms[4 : 4 + len(rank)] = np.where(inside, hit / rank, 0.0)
        # A cumulative sum adds one term after the other, which `sum` does not.
        lanes[a] = np.roll(np.cumsum(terms.reshape(-1, 4), axis=0)[-1], -(len(rank) % 4))
        hits[a] += np.count_nonzero(inside)
        state[a] += here.astype(np.uint64) + (here_hits.astype(np.uint64) << np.uint64(32))
