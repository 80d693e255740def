"""Noise: the control asks nothing of the model and follows no guide."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.methods.noise import noise
from hamguard.attacks.threat import Linf
from tests.attacks.test_laws import world


def test_it_costs_no_gradient_and_is_uniform() -> None:
    model, _, _, _ = world()
    x = torch.full((4, 1, 16, 16), 128 / 255)
    found = noise(threat=Linf(32 / 255))(model, x)
    moved = (found.x_adv - x) * 255
    assert found.spent.backwards.tolist() == [0] * 4 and float(moved.abs().max()) <= 32 + 1e-3
    assert abs(float(moved.mean())) < 3 and float(moved.abs().mean()) == pytest.approx(16, abs=2)


def test_full_noise_moves_every_value_by_eps() -> None:
    model, _, _, _ = world()
    x = torch.full((4, 1, 16, 16), 128 / 255)
    moved = (noise(threat=Linf(16 / 255), full=True)(model, x).x_adv - x) * 255
    assert sorted({round(value) for value in moved.flatten().tolist()}) == [-16, 16]
