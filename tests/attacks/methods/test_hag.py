"""HAG: it needs the picture alone; presets are the published forms."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.methods.hag import hag
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world


def test_it_needs_neither_labels_nor_codes() -> None:
    model, x, _, _ = world()
    found = hag(steps=30, threat=Linf(0.3))(model, x)
    assert torch.equal(found.target, model.code(x))
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 3


def test_presets_are_the_published_forms() -> None:
    assert hag().search == SignSteps(100, alpha="published", random_start=True) and hag().loss == HagLoss(0.5)
    paper, code = hag(preset="paper"), hag(preset="code")
    assert paper.search == GradientSteps("raw", 1.0, 2000, alpha="published", keep="last")
    assert code.search == GradientSteps("sgd", 100.0, 2000, momentum=0.9, alpha="published", keep="last")
    assert code.loss == HagLoss(0.5, balance_weight=1.0) and paper.loss == HagLoss(0.5)
    ablation = hag(schedule=False, preset="paper").search
    assert isinstance(ablation, GradientSteps) and ablation.alpha == "constant"
    with pytest.raises(RequestError, match="unknown preset 'papr'; .*did you mean paper"):
        hag(preset="papr")
