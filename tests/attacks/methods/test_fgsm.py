"""FGSM: one step of full size along the sign of the gradient."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.methods.iterative import fgsm
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.codes.binary import relax
from tests.attacks.test_laws import world


@pytest.mark.parametrize("toward", [True, False])
def test_it_is_one_step_along_the_sign(toward: bool) -> None:
    model, x, labels, bank = world()
    guide = SignedMean()(model.code(x), labels, bank, range(12), 0)
    at = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((relax(model.logits(at)) * guide).sum(), at)
    step = gradient.sign() if toward else -gradient.sign()
    literal = ((x + 0.1 * step).clamp(0, 1) * 255).round() / 255
    found = fgsm(guide=SignedMean(), toward=toward, threat=Linf(0.1))(model, x, labels, bank)
    assert (
        float(((found.x_adv - literal).abs() > 1.5 / 255).float().mean()) < 0.01
    )  # a sign of nearly 0 may be rounded away
    assert found.spent.backwards.tolist() == [1] * 12


def test_it_leaves_the_own_code_from_a_random_start() -> None:
    model, x, _, _ = world()
    attack = fgsm(threat=Linf(0.3))
    assert isinstance(attack.search, SignSteps) and attack.search.random_start, (
        "at the clean picture nothing points away"
    )
    assert not torch.equal(attack(model, x, seed=0).x_adv, attack(model, x, seed=1).x_adv)
    assert float((model.code(attack(model, x).x_adv) != model.code(x)).float().sum(1).mean()) > 1
