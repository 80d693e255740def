"""The center attack is PGD on the center code."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.methods.mainstay import center
from hamguard.attacks.threat import Linf
from tests.attacks.test_laws import world


@pytest.mark.parametrize("toward", [True, False])
def test_it_is_pgd_on_the_center_code(toward: bool) -> None:
    model, x, labels, bank = world()
    known = pgd(steps=6, guide=SignedMean("center"), toward=toward, threat=Linf(0.1))(model, x, labels, bank)
    found = center(steps=6, toward=toward, threat=Linf(0.1))(model, x, labels, bank)
    assert torch.equal(found.x_adv, known.x_adv) and torch.equal(found.target, known.target)
    assert center().loss is inner_product
