"""The relevant set: who belongs to it, and what it misses."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.core.errors import RequestError
from tests.attacks.published import BANK, CODE


def test_it_falls_back_to_the_own_code() -> None:
    own = torch.stack([CODE[0], -CODE[0]])
    labels = torch.tensor([[0.0, 0, 1], [0, 0, 0]])
    group = RelevantSet()(own, labels, BANK, [0, 1], 0)
    assert group.member[0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert torch.equal(group.vote[1], own[1])


def test_what_it_misses_is_said() -> None:
    with pytest.raises(RequestError, match="labels have 2 classes, the reference codes 3"):
        RelevantSet()(CODE, torch.ones(1, 2), BANK, [0], 0)
    with pytest.raises(RequestError, match="the relevant set needs labels"):
        RelevantSet()(CODE, None, BANK, [0], 0)
