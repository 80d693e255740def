"""The anchor code: a vote over exactly the label, and what it misses."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.vote import AnchorCode, vote
from hamguard.core.errors import RequestError
from tests.attacks.published import BANK, CODE, B


def test_it_votes_over_exactly_the_label() -> None:
    assert vote(B[[0, 2]]).tolist() == [1, 1, 1, -1], "the tied third bit is +1"
    got = AnchorCode(n=9)(CODE, torch.tensor([[1.0, 0, 0]]), BANK, [0], 0)
    assert got.tolist() == [[1, 1, 1, -1]]


def test_drawn_with_replacement_fewer_codes_may_vote() -> None:
    label, seen = torch.tensor([[1.0, 0, 0]]), set()
    for seed in range(20):
        seen.add(tuple(AnchorCode(n=2, replacement=True)(CODE, label, BANK, [0], seed)[0].tolist()))
    assert seen == {tuple(B[0].tolist()), tuple(B[2].tolist()), (1, 1, 1, -1)}


def test_what_it_misses_is_said() -> None:
    with pytest.raises(RequestError, match=r"exactly the target label of picture 7 \(classes 0, 1, 2\)"):
        AnchorCode()(CODE, torch.tensor([[1.0, 1, 1]]), BANK, [7], 0)
    with pytest.raises(RequestError, match=r"picture 7 \(no class\)"):
        AnchorCode()(CODE, torch.zeros(1, 3), BANK, [7], 0)
    with pytest.raises(RequestError, match="n must be at least 1, got 0"):
        AnchorCode(0)
    with pytest.raises(RequestError, match="a vote needs codes"):
        vote(torch.empty(0, 4))
