"""HAG's loss against the published vector."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.hag import HagLoss
from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError
from tests.attacks.published import OUT
from tests.attacks.test_laws import world

CLEAN = torch.tensor([[0.9, -0.8, 0.6, -0.95]])
OWN = torch.tensor([[1.0, -1, 1, -1]])


def test_the_published_vector() -> None:
    assert float(HagLoss(t=0.5)(OUT, OWN, -1, CLEAN)) == pytest.approx(1.6469444, abs=1e-6)
    assert float(HagLoss()(OUT, -OWN, 1, -CLEAN)) == pytest.approx(1.6469444, abs=1e-6), "toward -F is away from F"


def test_a_code_that_is_nobodys_own_is_left_by_its_signs() -> None:
    kept = [0, 1, 3]
    signed = (sum(float(OWN[0, k] * OUT[0, k]) for k in kept) / 3 + 1) ** 2
    assert float(HagLoss(t=0.5)(OUT, OWN, -1)) == pytest.approx(signed, abs=1e-6)
    assert float(HagLoss()(OUT, -OWN, 1)) == pytest.approx(signed, abs=1e-6), "toward -c is away from c"


def test_the_balance_term_is_of_kept_bits() -> None:
    found = HagLoss(balance_weight=2.0)(OUT, OWN, -1, CLEAN) - HagLoss()(OUT, OWN, -1, CLEAN)
    assert float(found) == pytest.approx(2 * ((0.7 + 0.2 - 0.4) / 4) ** 2, abs=1e-6)


def test_an_attack_gives_it_the_clean_outputs_at_slope_one_and_others_their_code() -> None:
    model, x, labels, bank = world()
    rows, at = torch.tensor([2, 7]), (x + 0.05).clamp(0, 1)
    z, u = model.logits(x).tanh(), relax(model.logits(at), 0.3)[[2, 7]]
    own = Attack(loss=HagLoss()).problem(model, x)
    assert torch.allclose(own.gradient(at[rows], rows, 0.3)[1], HagLoss()(u, model.code(x)[rows], -1, z[rows]))
    assert torch.equal(own.target, model.code(x)), "rows and the ideal code have the signs"
    voted = Attack(SignedMean(), HagLoss()).problem(model, x, labels, bank)
    assert torch.allclose(voted.gradient(at[rows], rows, 0.3)[1], HagLoss()(u, voted.target[rows], -1))
    assert Attack().problem(model, x).outputs is None
    signed = Attack(loss=HagLoss(leaves="signs")).problem(model, x)
    assert torch.allclose(signed.gradient(at[rows], rows, 0.3)[1], HagLoss()(u, model.code(x)[rows], -1))
    with pytest.raises(RequestError, match="what HAG leaves"):
        HagLoss(leaves="code")  # type: ignore[arg-type]


def test_without_kept_bits_is_zero_and_flat() -> None:
    u = torch.tensor([[-0.9, 0.9]], requires_grad=True)
    loss = HagLoss()(u, torch.tensor([[1.0, -1]]), -1, torch.tensor([[0.4, -0.9]]))
    loss.sum().backward()
    assert float(loss.detach()) == 0 and u.grad is not None and float(u.grad.abs().sum()) == 0
