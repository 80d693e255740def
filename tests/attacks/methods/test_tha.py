"""THA: presets, and a prototype that is trained once."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.prototype import PUBLISHED, FittedPrototype, PrototypeCode
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.methods.tha import tha
from hamguard.attacks.search.signs import SignSteps
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world


def test_a_prepared_attack_is_fitted_once_and_does_the_same() -> None:
    model, x, labels, bank = world()
    plain = ATTACKS["mainstay"](steps=3)
    assert plain.prepared(bank) is plain
    raw = ATTACKS["tha"](steps=3, training_steps=5)
    fitted = raw.prepared(bank, 2)
    assert isinstance(fitted.guide, FittedPrototype) and fitted.prepared(bank, 3) is fitted
    assert torch.equal(fitted(model, x, labels, None, seed=2).x_adv, raw(model, x, labels, bank, seed=2).x_adv)
    with pytest.raises(RequestError, match="the prototype code needs reference codes with labels"):
        raw.prepared(None)


def test_presets_are_the_published_forms() -> None:
    assert tha(preset="paper").guide == PUBLISHED and tha().guide == PrototypeCode() and tha().toward
    assert tha(preset="saat").guide == PUBLISHED
    assert tha(preset="saat").search == SignSteps(100, 1 / 255, alpha="published", keep="last")
    for preset, keep in (("default", "best"), ("paper", "last")):
        search = tha(preset=preset).search
        assert isinstance(search, SignSteps)
        assert (search.steps, search.step_size, search.alpha, search.random_start) == (100, 1 / 255, "constant", False)
        assert search.keep == keep
    assert tha(training_steps=7).guide == PrototypeCode(steps=7)
