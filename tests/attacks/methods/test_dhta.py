"""DHTA: nine voters, presets, and the anchor comes nearer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hamguard.attacks.guides.vote import AnchorCode
from hamguard.attacks.methods.dhta import dhta
from hamguard.attacks.search.alpha import slope
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.models.hash_model import HashModel
from tests.attacks.test_laws import world


def test_presets_are_the_published_forms() -> None:
    assert dhta().guide == AnchorCode(9) and dhta().search == SignSteps(100) and dhta().toward
    paper, code = dhta(preset="paper").search, dhta(preset="code").search
    assert paper == GradientSteps("normalized", 1.0, 2000, alpha="published", keep="last")
    assert code == GradientSteps("raw", 1 / 32, 2000, alpha="published", keep="last")
    assert dhta(preset="code").guide == AnchorCode(9, replacement=True)
    saat = dhta(preset="saat")
    assert saat.search == SignSteps(2000, 1 / 255, alpha="published", keep="last")
    assert saat.guide == AnchorCode(9, replacement=True)
    assert dhta(n_anchors=5, steps=7).guide == AnchorCode(5) and dhta(steps=7).search == SignSteps(7)


def ported(model: HashModel, x: Tensor, anchors: Tensor, eps: float, steps: int) -> Tensor:
    """ProS-GAN's dhta.py, line by line: a step of 1 along the gradient of a mean over batch and bits."""
    delta = torch.zeros_like(x)
    for step in range(steps):
        at = delta.clone().requires_grad_()
        loss = -((slope("published", step, steps) * model.logits(x + at)).tanh() * anchors).mean()
        delta = (delta - 1.0 * torch.autograd.grad(loss, at)[0]).clamp(-eps, eps)
        delta = (x + delta).clamp(0, 1) - x
    return x + delta


@pytest.mark.parametrize("steps", [1, 20])
def test_the_preset_makes_the_steps_of_the_port_on_its_batch(steps: int) -> None:
    model, x, labels, bank = world(n=32)
    found = replace(dhta(preset="code", steps=steps), rounding=False)(model, x, labels.roll(1, dims=1), bank)
    assert torch.allclose(found.x_adv, ported(model, x, found.target, 8 / 255, steps), atol=1e-6)
    assert float((found.x_adv - x).abs().max()) > 1e-5


@pytest.mark.parametrize("preset", ["default", "code"])
def test_codes_come_nearer_to_the_vote(preset: str) -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)
    found = dhta(steps=30, preset=preset, threat=Linf(0.3))(model, x, target, bank)
    vote = AnchorCode(9, replacement=preset == "code")(model.code(x), target, bank, range(12), 0)
    assert torch.equal(found.target, vote)
    after, before = ((model.code(seen) == vote).float().sum(1).mean() for seen in (found.x_adv, x))
    assert float(after) > float(before) + 1
