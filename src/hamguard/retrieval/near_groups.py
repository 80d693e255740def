"""Items within a radius of each other, joined into groups: what a data base holds twice, nearly.

Two items belong to one group where a chain of items, each within the radius of the next, leads from one to the other (single
linkage). Equal codes are joined first, so that only different codes are compared. Of K bits in m blocks, two codes within radius R
agree on at least m - R whole blocks (pigeonhole; Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", WWW
2007): for every choice of m - R blocks the codes are sorted by those bits, and only codes that agree on them are compared. Which m
is cheapest depends on how codes crowd, and is estimated from a sample. Every pair within the radius is met, so groups are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from hamguard.codes.binary import check_packed, unpack, words
from hamguard.codes.distinct import distinct
from hamguard.core.checks import check_range
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Bytes, Ints

SAMPLE, TRIED = 20_000, 8  # codes, and choices of blocks, by which the number of comparisons is estimated
SORT, COMPARE = 150.0, 1.5  # nanoseconds a code that is sorted, and a pair that is compared
TABLES = 500  # choices of blocks, at most
MIX = np.uint64(0x9E3779B97F4A7C15)  # of Fibonacci hashing: joins the words of a key to one

Told = Callable[[float, str], None]


@dataclass(frozen=True)
class NearGroups:
    """Items in groups.

    Attributes:
        radius: largest distance of neighbors in a chain.
        group: number of the group of each item, by the oldest item of each, `(N,)`; items that are alone have one, too.
        codes: different codes.
        compared: pairs of codes that were compared.
    """

    radius: int
    group: Ints
    codes: int
    compared: int

    @property
    def sizes(self) -> Ints:
        """Items of each group, `(G,)`."""
        return np.bincount(self.group)

    def members(self) -> Iterator[Ints]:
        """Numbers of the items of each group of two and more, oldest first; groups by their oldest item."""
        order = np.argsort(self.group, kind="stable")
        ends = np.cumsum(self.sizes)
        for end, size in zip(ends.tolist(), self.sizes.tolist(), strict=True):
            if size > 1:
                yield order[end - size : end]


def near_groups(packed: Bytes, bits: int, radius: int, told: Told | None = None) -> NearGroups:
    """Join items within a radius of each other.

    Args:
        packed: codes of the items, `(N, ceil(K / 8))`.
        bits: K.
        radius: in bits, 0 to K.
        told: told how far the work is.

    Raises:
        RequestError: codes that are none, or a radius out of range.
    """
    check_packed(packed, bits)
    check_range("radius", radius, 0, bits)
    first, owner = distinct(packed)
    codes = packed[first]
    parent = np.arange(len(codes))
    compared = 0
    if radius and len(codes) > 1:
        from hamguard.retrieval.near_groups_numba import join, settle  # it loads the compiler

        tables = choose_tables(codes, bits, radius)
        for number, mask in enumerate(tables):
            if told:
                told(number / len(tables), f"{number:,} of {len(tables):,} sorted")
            rows = words(codes)  # (D, W)
            key = _key(rows, mask)
            order = np.argsort(key)
            compared += join(np.ascontiguousarray(rows[order]), key[order], order, radius, parent)
        settle(parent)
    _, group = np.unique(parent, return_inverse=True)  # roots are the oldest codes, whose numbers rise with age
    return NearGroups(radius, np.asarray(group[owner], np.int64), len(codes), compared)


def choose_tables(codes: Bytes, bits: int, radius: int) -> list[Array]:
    """Bits to sort by, one mask `(W,)` uint64 a table, so that every pair within the radius agrees on those of one table.

    Args:
        codes: different codes, `(D, ceil(K / 8))`.
        bits: K.
        radius: 1 to K.
    """
    count = len(codes)
    rng = numpy_generator(0, "near groups")
    few = codes if count <= SAMPLE else codes[rng.choice(count, SAMPLE, replace=False)]
    rows = words(few)
    even = np.argsort(np.abs(unpack(few, bits).mean(axis=0)), kind="stable")  # bits, the evenest first
    best, least = [np.zeros(rows.shape[1], np.uint64)], float(COMPARE * count * count / 2)  # one table: all pairs
    for blocks in range(radius + 1, bits + 1):
        number = comb(blocks, radius)
        if number > TABLES:
            break
        tables = tables_of(even, blocks, radius, rows.shape[1])
        tried = [tables[i] for i in rng.choice(number, min(number, TRIED), replace=False)]
        alike = np.mean([_alike(_key(rows, mask)) for mask in tried])
        cost = float(number * (SORT * count + COMPARE * alike * (count / len(few)) ** 2))
        if cost < least:
            best, least = tables, cost
    return best


def tables_of(places: Array, blocks: int, radius: int, width: int) -> list[Array]:
    """Masks `(W,)` of all choices of `blocks - radius` among so many blocks of bits.

    Args:
        places: the bits 0..K - 1, dealt out to the blocks in turn, `(K,)`.
        blocks: number of blocks, above the radius.
        radius: in bits.
        width: words of a code, W.
    """
    masks = [_mask(places[i::blocks], width) for i in range(blocks)]
    return [
        np.asarray(np.bitwise_or.reduce([masks[i] for i in choice]))
        for choice in combinations(range(blocks), blocks - radius)
    ]


def _mask(places: Array, width: int) -> Array:
    """Bits of a packed code as words, `(W,)` uint64."""
    flat = np.zeros(64 * width, np.uint8)
    flat[places] = 1
    return np.packbits(flat, bitorder="little").view(np.uint64)


def _key(rows: Array, mask: Array) -> Array:
    """One number of the masked bits of each code, `(D,)` uint64: equal bits have equal numbers, and seldom others."""
    key = rows[:, 0] & mask[0]
    for word in range(1, rows.shape[1]):
        key = (key ^ (key >> np.uint64(32))) * MIX + (rows[:, word] & mask[word])
    return np.asarray(key)


def _alike(key: Array) -> float:
    """Pairs with an equal key."""
    counts = np.unique(key, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum() / 2)
