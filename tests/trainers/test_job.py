"""A request built in Python is the one that the command builds: defaults live with the request, not with the command."""

from __future__ import annotations

from typing import Any

import pytest

from hamguard.core.errors import RequestError
from hamguard.defenses.comdefend import ComDefendSettings
from hamguard.defenses.cross_modal import CROSS_DEFENSES
from hamguard.defenses.registry import DEFENSES
from hamguard.hashing.registry import OBJECTIVES, hash_methods
from hamguard.trainers.generator import GeneratorSettings
from hamguard.trainers.job import DataSection, Job, ModelSection, for_images
from hamguard.trainers.words import read_job
from hamguard.training.recipe import Recipe

DATA = {"source": "digits"}
FLAGS = {"data.source": "digits"}


@pytest.mark.parametrize("method", hash_methods())
def test_hash_methods(method: str) -> None:
    assert Job(method=method).digest == read_job({}, {"method": method}).digest
    tuned = Job(method=method, model=ModelSection(weights="torchvision"))
    assert tuned.digest == read_job({}, {"method": method, "model.weights": "torchvision"}).digest
    for preset in OBJECTIVES[method].presets if method in OBJECTIVES else ():
        own = Job(method=method, preset=preset, training=Recipe(epochs=7))
        assert own.digest == read_job({}, {"method": method, "preset": preset, "training.epochs": 7}).digest


def test_a_published_preset_brings_its_training_even_where_weights_are_given() -> None:
    given = Job(method="dpsh", preset="prosgan", model=ModelSection(backbone="vgg11", weights="torchvision"))
    recipe = given.training
    assert (recipe.epochs, recipe.lr, recipe.optimizer, recipe.batch_size) == (100, 0.05, "sgd", 32)
    assert (recipe.head_lr_factor, recipe.schedule, recipe.augment) == (1.0, "step", "none")  # not those of fine-tuning
    assert given.settings["pairs"] == "bank" and given.settings["eta"] == 50.0
    assert (
        Job(method="dpsh", preset="code").training == Job(method="dpsh").training
    )  # its sources train in several ways
    few = read_job({}, {"method": "dph", "preset": "saat", "training.epochs": 2})
    assert (few.training.epochs, few.training.lr, few.training.momentum) == (2, 0.01, 0.9)


def test_the_rate_and_the_settings_of_a_method_are_its_own() -> None:
    request = Job(method="dpsh")
    assert request.training.lr == 2e-3 and request.settings == OBJECTIVES["dpsh"].settings_type().model_dump()
    given = Job(method="dpsh", settings={"eta": 0.25}, training=Recipe(lr=1e-3))
    assert given.training.lr == 1e-3 and given.settings["eta"] == 0.25
    assert Job(**given.model_dump(mode="json")) == given


@pytest.mark.parametrize("method", DEFENSES)
def test_defenses(method: str) -> None:
    assert (
        Job(kind="hardened", method=method, data=DATA).digest
        == read_job({}, {**FLAGS, "method": method}, kind="hardened").digest
    )
    own = Job(kind="hardened", method=method, data=DataSection(**DATA), training=Recipe(lr=0.01))
    assert own.digest == read_job({}, {**FLAGS, "method": method}, ["lr=0.01"], kind="hardened").digest


@pytest.mark.parametrize("method", ["dcmh", "ssah"])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_cross_modal_methods(method: str, preset: str) -> None:
    own = Job(method=method, preset=preset, training=Recipe(epochs=4))
    assert own.digest == read_job({}, {"method": method, "preset": preset, "training.epochs": 4}).digest


@pytest.mark.parametrize("method", CROSS_DEFENSES)
def test_cross_modal_defenses(method: str) -> None:
    own = Job(kind="hardened-pair", method=method, training=Recipe(lr=0.5))
    assert own.digest == read_job({}, {"method": method}, ["lr=0.5"], kind="hardened-pair").digest


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_generators_protectors_and_purifiers(preset: str) -> None:
    flags: dict[str, Any] = {**FLAGS, "preset": preset}
    assert Job(kind="generator", preset=preset, data=DATA).digest == read_job({}, flags, kind="generator").digest
    hard = Job(kind="generator", preset=preset, data=DATA, settings=GeneratorSettings(budget="hard"))
    assert hard.digest == read_job({}, flags, ["budget=hard"], kind="generator").digest
    assert Job(kind="protector", preset=preset, data=DATA).digest == read_job({}, flags, kind="protector").digest
    short = Job(kind="protector", preset=preset, data=DATA, training={"epochs": 2})
    assert short.digest == read_job({}, flags, ["epochs=2"], kind="protector").digest
    assert Job(kind="purifier", preset=preset, data=DATA).digest == read_job({}, flags, kind="purifier").digest
    noisy = Job(kind="purifier", preset=preset, data=DATA, settings=ComDefendSettings(noise=3))
    assert noisy.digest == read_job({}, flags, ["noise=3"], kind="purifier").digest


def test_wrong_words_are_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match=r"unknown key settings\.etta; did you mean eta"):
        Job(method="dpsh", settings={"etta": 1})
    with pytest.raises(ValueError, match="unknown preset 'best' of dpsh; allowed: "):
        Job(method="dpsh", preset="best")
    with pytest.raises(ValueError, match="unknown preset of dcmh 'best'; allowed: default"):
        Job(method="dcmh", preset="best")
    with pytest.raises(ValueError, match=r"unknown key settings\.stepps; did you mean steps"):
        Job(kind="hardened", data=DATA, settings={"stepps": 3})
    with pytest.raises(RequestError, match="unknown preset"):
        read_job({}, {**FLAGS, "preset": "best"}, kind="purifier")


LITE: dict[str, Any] = {"method": "csq", "model.backbone": "efficientnet_lite0"}


def test_networks_that_are_there_for_their_weights_take_them() -> None:
    lite = read_job({}, LITE)
    assert lite.network.weights == "pretrained" and lite.training.epochs == 3 and lite.training.head_lr_factor == 10
    assert lite.digest == read_job({}, {**LITE, "model.weights": "pretrained"}).digest
    assert lite.digest == Job(method="csq", model=ModelSection(backbone="efficientnet_lite0")).digest
    scratch = read_job({}, {**LITE, "model.weights": "none"})
    assert scratch.network.weights == "none" and not scratch.network.given
    assert scratch.training == read_job({}, {"method": "csq"}).training
    plain, none = ({"method": "csq", "model.backbone": "resnet18", "model.weights": word} for word in (None, "none"))
    assert read_job({}, plain).network.weights is None and read_job({}, none).network.weights == "none"
    assert not read_job({}, plain).network.given and not read_job({}, none).network.given


def test_large_pictures_get_a_network_with_weights_and_its_recipe() -> None:
    asked = read_job({}, {"method": "csq", "training.lr": 1e-3, "model.bits": 16})
    assert for_images(asked, (95, 200)) == asked  # learns from scratch, as it always did
    lite = for_images(asked, (96, 200))
    assert lite.digest == read_job({}, {**LITE, "training.lr": 1e-3, "model.bits": 16}).digest
    assert lite.training.lr == 1e-3 and lite.training.epochs == 3  # what was asked for stays, be it the default
    assert for_images(lite, (224, 224)) == lite
    for word in ("none", "torchvision", "w.safetensors"):
        other = read_job({}, {"method": "csq", "model.weights": word})
        assert for_images(other, (224, 224)) == other
    pair = read_job({}, {"method": "dcmh", "training.epochs": 4})
    assert for_images(pair, (96, 96)).network.backbone == "efficientnet_lite0"
    assert for_images(pair, (96, 96)).training.epochs == 4
    hard = read_job({}, {"method": "saat"}, kind="hardened")
    assert for_images(hard, (96, 96)) == hard
