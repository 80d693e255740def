"""A request built in Python is the one that the command builds: defaults live with the request, not with the command."""

from __future__ import annotations

from typing import Any

import pytest

from hamguard.core.errors import RequestError
from hamguard.defenses.comdefend import ComDefendRequest, ComDefendSettings, build_comdefend_request
from hamguard.defenses.cross_modal import CROSS_DEFENSES, CrossHardenRequest, build_cross_harden
from hamguard.defenses.registry import DEFENSES
from hamguard.defenses.request import HardenRequest, build_harden_request
from hamguard.evaluation.generator_request import GeneratorRequest, GeneratorSettings, build_generator_request
from hamguard.evaluation.protector_request import ProtectorRequest, build_protector_request
from hamguard.hashing.registry import OBJECTIVES, hash_methods
from hamguard.training.cross_request import CrossRequest, build_cross_request
from hamguard.training.recipe import Recipe
from hamguard.training.request import DataSection, ModelSection, TrainRequest, build_request

DATA = {"source": "digits"}
FLAGS = {"data.source": "digits"}


@pytest.mark.parametrize("method", hash_methods())
def test_hash_methods(method: str) -> None:
    assert TrainRequest(method=method).digest == build_request({}, {"method": method}).digest
    tuned = TrainRequest(method=method, model=ModelSection(weights="torchvision"))
    assert tuned.digest == build_request({}, {"method": method, "model.weights": "torchvision"}).digest
    for preset in OBJECTIVES[method].presets if method in OBJECTIVES else ():
        own = TrainRequest(method=method, preset=preset, training=Recipe(epochs=7))
        assert own.digest == build_request({}, {"method": method, "preset": preset, "training.epochs": 7}).digest


def test_the_rate_and_the_settings_of_a_method_are_its_own() -> None:
    request = TrainRequest(method="dpsh")
    assert request.training.lr == 2e-3 and request.settings == OBJECTIVES["dpsh"].settings_type().model_dump()
    given = TrainRequest(method="dpsh", settings={"eta": 0.25}, training=Recipe(lr=1e-3))
    assert given.training.lr == 1e-3 and given.settings["eta"] == 0.25
    assert TrainRequest(**given.model_dump(mode="json")) == given


@pytest.mark.parametrize("method", DEFENSES)
def test_defenses(method: str) -> None:
    assert HardenRequest(method=method, data=DATA).digest == build_harden_request({**FLAGS, "method": method}).digest
    own = HardenRequest(method=method, data=DataSection(**DATA), training=Recipe(lr=0.01))
    assert own.digest == build_harden_request({**FLAGS, "method": method}, ["lr=0.01"]).digest


@pytest.mark.parametrize("method", ["dcmh", "ssah"])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_cross_modal_methods(method: str, preset: str) -> None:
    own = CrossRequest(method=method, preset=preset, training=Recipe(epochs=4))
    assert own.digest == build_cross_request(method, {}, {"preset": preset, "training.epochs": 4}).digest


@pytest.mark.parametrize("method", CROSS_DEFENSES)
def test_cross_modal_defenses(method: str) -> None:
    own = CrossHardenRequest(method=method, training=Recipe(lr=0.5))
    assert own.digest == build_cross_harden({"method": method}, ["lr=0.5"]).digest


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_generators_protectors_and_purifiers(preset: str) -> None:
    flags: dict[str, Any] = {**FLAGS, "preset": preset}
    assert GeneratorRequest(preset=preset, data=DATA).digest == build_generator_request(flags).digest
    hard = GeneratorRequest(preset=preset, data=DATA, settings=GeneratorSettings(budget="hard"))
    assert hard.digest == build_generator_request(flags, ["budget=hard"]).digest
    assert ProtectorRequest(preset=preset, data=DATA).digest == build_protector_request(flags).digest
    short = ProtectorRequest(preset=preset, data=DATA, training={"epochs": 2})
    assert short.digest == build_protector_request(flags, ["epochs=2"]).digest
    assert ComDefendRequest(preset=preset, data=DATA).digest == build_comdefend_request(flags).digest
    noisy = ComDefendRequest(preset=preset, data=DATA, settings=ComDefendSettings(noise=3))
    assert noisy.digest == build_comdefend_request(flags, ["noise=3"]).digest


def test_wrong_words_are_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match=r"unknown key settings\.etta; did you mean eta"):
        TrainRequest(method="dpsh", settings={"etta": 1})
    with pytest.raises(ValueError, match="unknown preset 'best' of dpsh; allowed: "):
        TrainRequest(method="dpsh", preset="best")
    with pytest.raises(ValueError, match="unknown preset 'best' of dcmh; allowed: default"):
        CrossRequest(method="dcmh", preset="best")
    with pytest.raises(ValueError, match=r"stepps.* got 3"):
        HardenRequest(data=DATA, settings={"stepps": 3})
    with pytest.raises(RequestError, match="unknown preset"):
        build_comdefend_request({**FLAGS, "preset": "best"})
