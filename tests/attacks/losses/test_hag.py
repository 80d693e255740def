"""HAG's loss against the published vector."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.losses.hag import HagLoss
from tests.attacks.published import OUT


def test_the_published_vector() -> None:
    own = torch.tensor([[1.0, -1, 1, -1]])
    # the vector compares with the clean outputs; with signed codes the same mask and the plain sum
    clean = torch.tensor([0.9, -0.8, 0.6, -0.95])
    kept = [0, 1, 3]
    literal = (sum(float(clean[k] * OUT[0, k]) for k in kept) / 3 + 1) ** 2
    assert literal == pytest.approx(1.6469444, abs=1e-6)
    signed = (sum(float(own[0, k] * OUT[0, k]) for k in kept) / 3 + 1) ** 2
    assert float(HagLoss(t=0.5)(OUT, own, -1)) == pytest.approx(signed, abs=1e-6)
    assert float(HagLoss()(OUT, -own, 1)) == pytest.approx(signed, abs=1e-6), "toward -c is away from c"


def test_without_kept_bits_is_zero_and_flat() -> None:
    u = torch.tensor([[-0.9, 0.9]], requires_grad=True)
    loss = HagLoss()(u, torch.tensor([[1.0, -1]]), -1)
    loss.sum().backward()
    assert float(loss.detach()) == 0 and u.grad is not None and float(u.grad.abs().sum()) == 0
