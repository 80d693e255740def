"""DHTA: nine voters, presets, and the anchor comes nearer."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.vote import AnchorCode
from hamguard.attacks.methods.dhta import dhta
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from tests.attacks.test_laws import world


def test_presets_are_the_published_forms() -> None:
    assert dhta().guide == AnchorCode(9) and dhta().search == SignSteps(100) and dhta().toward
    paper, code = dhta(preset="paper").search, dhta(preset="code").search
    assert paper == GradientSteps("normalized", 1.0, 2000, alpha="published", keep="last")
    assert code == GradientSteps("raw", 1.0, 2000, alpha="published", keep="last")
    assert dhta(preset="code").guide == AnchorCode(9, replacement=True)
    saat = dhta(preset="saat")
    assert saat.search == SignSteps(2000, 1 / 255, alpha="published", keep="last")
    assert saat.guide == AnchorCode(9, replacement=True)
    assert dhta(n_anchors=5, steps=7).guide == AnchorCode(5) and dhta(steps=7).search == SignSteps(7)


@pytest.mark.parametrize("preset", ["default", "code"])
def test_codes_come_nearer_to_the_vote(preset: str) -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)
    found = dhta(steps=30, preset=preset, threat=Linf(0.3))(model, x, target, bank)
    vote = AnchorCode(9, replacement=preset == "code")(model.code(x), target, bank, range(12), 0)
    assert torch.equal(found.target, vote)
    after, before = ((model.code(seen) == vote).float().sum(1).mean() for seen in (found.x_adv, x))
    assert float(after) > float(before) + 1
