"""HAG: it needs the picture alone; presets are the published forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import hamguard as hg
from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.methods.hag import hag
from hamguard.attacks.search.alpha import slope
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world

EPS = 0.2


def test_it_needs_neither_labels_nor_codes() -> None:
    model, x, _, _ = world()
    found = hag(steps=30, threat=Linf(0.3))(model, x)
    assert torch.equal(found.target, model.code(x))
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 3


def test_presets_are_the_published_forms() -> None:
    assert hag().search == SignSteps(100, alpha="published", random_start=True)
    assert hag().loss == HagLoss(0.5, leaves="signs"), "presets leave the outputs"
    paper, code = hag(preset="paper"), hag(preset="code")
    assert paper.search == GradientSteps("raw", 1 / 32, 2000, alpha="published", keep="last")
    assert code.search == GradientSteps("sgd", 100 / 32, 2000, momentum=0.9, alpha="published", keep="last")
    assert code.loss == HagLoss(0.5, balance_weight=1.0) and paper.loss == HagLoss(0.5)
    ablation = hag(schedule=False, preset="paper").search
    assert isinstance(ablation, GradientSteps) and ablation.alpha == "constant"
    with pytest.raises(RequestError, match="unknown preset 'papr'; .*did you mean paper"):
        hag(preset="papr")


def ported(model: hg.HashModel, x: Tensor, steps: int) -> Tensor:
    """SAAT's port, line by line: the loss is a mean over the batch, SGD has rate 100 and momentum 0.9."""
    clean = model.logits(x).tanh().detach()
    x_adv, memory = x.clone(), torch.zeros_like(x)
    for step in range(steps):
        at = x_adv.clone().requires_grad_()
        adv = (slope("published", step, steps) * model.logits(at)).tanh()
        mask = (torch.sign(1.5 - (adv - clean.sign()).abs()) + 1) / 2
        adv, own = mask * adv, mask * clean
        loss = ((adv * own).sum(1) / (mask.sum(1) + 1e-8) + 1).square().mean() + adv.mean(1).square().mean()
        memory = 0.9 * memory + torch.autograd.grad(loss, at)[0]
        x_adv = (x_adv - 100 * memory).clamp(x - EPS, x + EPS).clamp(0, 1)
    return x_adv


@pytest.mark.parametrize("steps", [1, 4])
def test_the_preset_makes_the_steps_of_the_port_on_its_batch(steps: int) -> None:
    model, x, _, _ = world(n=32)
    attack = replace(hag(preset="code", steps=steps, threat=Linf(EPS)), rounding=False)
    assert torch.allclose(attack(model, x).x_adv, ported(model, x, steps), atol=1e-4)


def left_by_sign(u: Tensor, target: Tensor, direction: int) -> Tensor:
    """A loss of signs, balanced over all bits, under which the ports' rate was measured with and without the factor."""
    return HagLoss(0.5)(u, target, direction) + u.mean(1).square()


def test_the_step_on_the_shipped_digits() -> None:
    """MAP after 1, 10 and 100 gradients, 64 queries; the ports' rate on a sum over pictures gave .115, .073, .055."""
    model, data = hg.load("shipped:digits"), hg.data("digits")

    def reached(steps: int) -> float:
        attack = replace(hag(preset="code", steps=steps, threat=Linf(EPS)), loss=left_by_sign)
        value = hg.attack(model, data, attack, queries=64).where(attack="hag").one("map").value
        assert value is not None
        return value

    assert [reached(steps) for steps in (1, 10, 100)] == pytest.approx([0.617, 0.066, 0.055], abs=4e-3)  # by processor
