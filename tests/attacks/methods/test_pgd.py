"""PGD: sign steps from random pictures of the ball; of several starts the best counts."""

from __future__ import annotations

import torch

from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.threat import L2, Linf
from tests.attacks.test_laws import world


def test_restarts_never_harm_and_start_elsewhere() -> None:
    model, x, labels, bank = world()

    def wrong(restarts: int) -> torch.Tensor:
        attack = pgd(steps=4, restarts=restarts, guide=SignedMean(), threat=Linf(0.06))
        found = attack(model, x, labels, bank)
        return (model.code(found.x_adv) == found.target).float().sum(1)

    once, thrice = wrong(1), wrong(3)
    assert bool((thrice <= once).all()) and float(thrice.sum()) < float(once.sum())


def test_the_threat_may_be_a_euclidean_ball() -> None:
    model, x, labels, bank = world()
    found = pgd(steps=20, guide=SignedMean(), threat=L2(2.0))(model, x, labels, bank)
    assert float(L2(2.0).length(found.x_adv - x).max()) <= 2 + 1e-5
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 2
