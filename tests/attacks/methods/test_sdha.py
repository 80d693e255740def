"""SDHA: presets, and the whole set of relevant codes is left or approached."""

from __future__ import annotations

import torch

from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.losses.sdha import SdhaLoss
from hamguard.attacks.methods.sdha import sdha
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.threat import Linf
from tests.attacks.test_laws import world


def test_presets() -> None:
    assert sdha().search == GradientSteps("adam", 0.01, 200, alpha="published", keep="best")
    assert sdha(preset="code").search == GradientSteps("adam", 0.01, 1500, alpha="published", keep="last")
    assert sdha().guide == RelevantSet() and sdha().loss == SdhaLoss() and sdha().fidelity == 1.0


def test_the_set_is_left_and_approached() -> None:
    model, x, labels, bank = world()
    group = RelevantSet()(model.code(x), labels, bank, range(12), 0)

    def nearness(code: torch.Tensor) -> float:
        return float((code @ group.codes.T * group.member).sum() / group.member.sum())

    away, toward = (
        nearness(model.code(sdha(steps=40, toward=toward, threat=Linf(0.3))(model, x, labels, bank).x_adv))
        for toward in (False, True)
    )
    assert away < nearness(model.code(x)) - 1 and away < toward - 2
