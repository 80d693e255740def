"""The memory of codes votes as the guides do."""

from __future__ import annotations

import torch

from hamguard.attacks.guides.vote import mainstay_sum
from hamguard.core.seeds import torch_generator
from hamguard.defenses.bank import TrainingBank
from tests.defenses.conftest import Place
from tests.defenses.steps import (
    literal_guide,
    pictures,
)


def test_votes_are_those_of_the_guides(place: Place) -> None:
    _, labels, _ = pictures(place)
    bank = TrainingBank(labels, 5)
    bank.fill(torch.randn(len(labels), 5, generator=torch_generator(7)))
    for weighted in (True, False):
        sums = mainstay_sum(labels[:9].double(), bank.signs.double(), labels.double(), weighted=weighted)
        assert float(sums.abs().min()) > 0.01, "no vote is so near to a tie that rounding decides it"
        want = literal_guide(labels[:9], bank.signs, labels, weighted=weighted)
        assert torch.equal(bank.vote(labels[:9], weighted=weighted), want)
    old = bank.u
    bank.refresh(torch.tensor([2, 5]), torch.full((2, 5), -0.5))
    assert bool((bank.u[[2, 5]] == -0.5).all() and (bank.signs[[2, 5]] == -1).all())
    assert torch.equal(bank.u[[0, 1, 3, 4]], old[[0, 1, 3, 4]]) and not bool((old[[2, 5]] == -0.5).all())
