"""Groups of near items: equal to brute force, whatever the codes, the radius and the choice of blocks."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.codes.binary import hamming, pack, words
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes, Ints
from hamguard.retrieval.near_groups import near_groups, tables_of


def planted(n: int, bits: int, flips: int, seed: int, *, centers: int = 0) -> Bytes:
    """Codes around few centers, some bits of each turned."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2, (centers or n // 2, bits))
    codes = base[rng.integers(0, len(base), n)]
    for _ in range(flips):
        codes[np.arange(n), rng.integers(0, bits, n)] ^= 1
    return pack(codes.astype(np.uint8))


def by_force(packed: Bytes, radius: int) -> Ints:
    """The same by all pairs: the oldest item of each item's group, spread until nothing changes."""
    near = hamming(packed, packed) <= radius
    oldest = np.arange(len(packed))
    while True:
        now = np.array([oldest[row].min() for row in near])
        if (now == oldest).all():
            return now
        oldest = now


def oldest_of(group: Ints) -> Ints:
    """The oldest item of each item's group."""
    first = np.unique(group, return_index=True)[1]
    return np.asarray(first[group])


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 90), bits=st.sampled_from([3, 8, 17, 64, 70, 130]), flips=st.integers(0, 6), seed=st.integers(0, 99),
    radius=st.integers(0, 9), centers=st.sampled_from([0, 1, 5]),
)  # fmt: skip
def test_groups_are_those_of_all_pairs(n: int, bits: int, flips: int, seed: int, radius: int, centers: int) -> None:
    radius, n = min(radius, bits), max(n, 2)
    packed = planted(n, bits, flips, seed, centers=centers)
    found = near_groups(packed, bits, radius)
    assert oldest_of(found.group).tolist() == by_force(packed, radius).tolist()
    assert found.sizes.sum() == n and found.codes == len(np.unique(packed, axis=0))


@pytest.mark.parametrize("bits", [16, 64, 100])
@pytest.mark.parametrize(("radius", "blocks"), [(1, 2), (1, 4), (3, 4), (3, 5), (5, 7)])
def test_every_choice_of_blocks_meets_every_near_pair(bits: int, radius: int, blocks: int) -> None:
    packed = planted(80, bits, 4, blocks)
    rows = words(packed)
    near = hamming(packed, packed) <= radius
    met = np.zeros_like(near)
    masks = tables_of(np.random.default_rng(0).permutation(bits), blocks, radius, rows.shape[1])
    for mask in masks:
        met |= ((rows[:, None] ^ rows[None]) & mask == 0).all(axis=2)
    assert met[near].all() and len(masks) == comb(blocks, radius)


def test_clustered_codes_take_finer_tables_and_no_more_comparisons_than_all_pairs() -> None:
    packed = planted(6000, 64, 8, 1, centers=20)
    found = near_groups(packed, 64, 4)
    assert oldest_of(found.group).tolist() == by_force_of(packed, 4).tolist()
    assert 0 < found.compared < found.codes**2 / 2


def by_force_of(packed: Bytes, radius: int) -> Ints:
    """`by_force` with scipy's components, for more codes."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    near = np.concatenate([hamming(packed[i : i + 500], packed) <= radius for i in range(0, len(packed), 500)])
    return oldest_of(np.asarray(connected_components(csr_matrix(near), directed=False)[1], np.int64))


def test_members_come_oldest_first_and_nobody_alone() -> None:
    packed = np.array([[0], [255], [1], [60], [254], [3]], np.uint8)
    found = near_groups(packed, 8, 1)
    assert [rows.tolist() for rows in found.members()] == [[0, 2, 5], [1, 4]], "0 and 5 by way of 2"
    assert near_groups(packed, 8, 0).sizes.tolist() == [1] * 6
    assert near_groups(packed, 8, 8).sizes.tolist() == [6]
    told: list[float] = []
    near_groups(packed, 8, 1, lambda share, text: told.append(share))
    assert told and told[0] == 0.0


def test_what_is_refused() -> None:
    packed = np.zeros((3, 1), np.uint8)
    with pytest.raises(RequestError, match="radius must be between 0 and 8, got 9"):
        near_groups(packed, 8, 9)
    with pytest.raises(RequestError, match="packed codes of 12 bits must be uint8"):
        near_groups(packed, 12, 1)
