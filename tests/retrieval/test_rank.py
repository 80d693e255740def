"""Ranks under ties against a literal count over all orders of equal distances."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hamguard.codes.binary import hamming
from hamguard.core.errors import RequestError
from hamguard.retrieval import rank
from hamguard.retrieval.rank import rank_items, ranks_of


def literal(dist: list[int], place: int, top: int) -> tuple[float, float]:
    """Mean rank, and share of orders that keep the item in the top, by sorting every order of the database."""
    ranks = []
    for order in permutations(range(len(dist))):
        answers = sorted(order, key=lambda i: dist[i])  # stable: each order of ties comes up equally often
        ranks.append(answers.index(place) + 1)
    return float(np.mean(ranks)), float(np.mean([r <= top for r in ranks]))


@pytest.mark.parametrize("dist", [[3, 1, 1, 2, 1], [0, 0, 0, 0], [2, 5, 1, 5, 5, 0], [4]])
def test_every_order_of_ties(dist: list[int]) -> None:
    for place in range(len(dist)):
        found = ranks_of(np.array([dist]), np.array([place]))
        for top in range(1, len(dist) + 2):
            mean, share = literal(dist, place, top)
            assert found.expected()[0] == pytest.approx(mean) and found.in_top(top)[0] == pytest.approx(share)


def test_codes_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    query, base = (rng.integers(0, 8, (n, 1)).astype(np.uint8) for n in (23, 40))  # many ties
    place = rng.integers(0, 40, 23)
    whole = ranks_of(hamming(query, base), place)
    told: list[int] = []
    monkeypatch.setattr(rank, "CELLS", 200)  # five queries at once
    cut = rank_items(query, base, place, progress=told.append)
    assert np.array_equal(cut.nearer, whole.nearer) and np.array_equal(cut.equal, whole.equal)
    assert told == [5, 10, 15, 20, 23]
    assert rank_items(base, base, np.arange(40)).nearer.max() == 0, "nothing is nearer than the item itself"


def test_what_is_refused() -> None:
    codes = np.zeros((3, 1), np.uint8)
    for place in ([0, 1], [0, 1, 3], [-1, 0, 0]):
        with pytest.raises(RequestError, match="3 queries need as many places in a database of 3 items"):
            rank_items(codes, codes, np.array(place))
    with pytest.raises(RequestError, match="equal widths"):
        rank_items(codes, np.zeros((3, 2), np.uint8), np.arange(3))
    with pytest.raises(RequestError, match="top must be at least 1"):
        ranks_of(np.zeros((1, 1)), np.array([0])).in_top(0)
