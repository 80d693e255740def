"""P2P is DHTA with one voter."""

from __future__ import annotations

import torch

from hamguard.attacks.methods.dhta import dhta, p2p
from tests.attacks.test_laws import world


def test_it_is_dhta_with_one_voter() -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)
    found, known = (attack(model, x, target, bank, seed=3) for attack in (p2p(steps=5), dhta(n_anchors=1, steps=5)))
    assert torch.equal(found.x_adv, known.x_adv)
    assert all(any(torch.equal(code, other) for other in bank.codes) for code in found.target), "codes of real pictures"
    assert p2p(preset="code") == dhta(n_anchors=1, preset="code")
