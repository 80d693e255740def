"""TRADES: bits as coins, whose divergence is the loss."""

from __future__ import annotations

import math

import pytest
import torch

from hamguard.defenses.trades import coin_divergence
from tests.defenses.conftest import Place
from tests.defenses.steps import (
    label_free_step,
)


def test_the_loss_is_the_divergence_of_the_bits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found, z, z1, clean = label_free_step(place, monkeypatch, "trades", "beta=2")
    p, p1 = (1 + z.tanh()) / 2, (1 + z1.tanh()) / 2
    divergence = (p * (p / p1).log() + (1 - p) * ((1 - p) / (1 - p1)).log()).mean()
    torch.testing.assert_close(found, clean + 2 * divergence, atol=1e-5, rtol=1e-4)


def test_coin_divergence() -> None:
    z = torch.tensor([[0.3, -40.0], [2.0, 0.0]])
    assert torch.equal(coin_divergence(z, z), torch.zeros(2))
    found = coin_divergence(z, -z)
    p = 1 / (1 + math.exp(-0.6))
    assert float(found[0]) == pytest.approx((p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p) + 80) / 2)
    assert bool((found >= 0).all())
