"""I-FGSM: sign steps from the clean picture, whose gradient at the own code a smaller slope gives."""

from __future__ import annotations

import torch

from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.methods.iterative import ifgsm
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from tests.attacks.test_laws import world


def test_it_starts_at_the_clean_picture_and_finds_the_way() -> None:
    model, x, _, _ = world()
    attack = ifgsm(steps=20, threat=Linf(0.3))
    found = attack(model, x, seed=0)
    assert torch.equal(found.x_adv, attack(model, x, seed=1).x_adv), "nothing is drawn"
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 2
    assert attack.search == SignSteps(20, alpha="published") and attack.guide == OwnCode()


def test_more_steps_reach_no_fewer_bits_than_one() -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)

    def reached(steps: int) -> float:
        found = ifgsm(steps=steps, guide=SignedMean(), toward=True, threat=Linf(0.1))(model, x, target, bank)
        return float((model.code(found.x_adv) == found.target).float().mean())

    assert reached(30) > reached(1)
