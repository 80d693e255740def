"""Presets and paper recipes hold what the sources say; every published number is asked for."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from pydantic import ValidationError

from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.core.errors import RequestError
from hamguard.evaluation.reproduce.published_settings import Setting, published_settings
from hamguard.evaluation.study.held import held, paper_recipes, same
from hamguard.trainers.job import KINDS
from hamguard.trainers.kind import Kind

OTHERS = {
    "attack:cw:code",
    "attack:jsma:paper",
    "attack:nag:paper",
    "hardened:cgat:paper",
    "model:bihalf:code",
    "model:bihalf:labels",
    "model:cibhash:code",
    "model:dpn:code",
    "model:dpn:deephash",
    "model:dpsh:paper",
    "model:dsh:code",
    "model:dsh:paper",
    "model:greedyhash:code",
    "model:greedyhash:code-imagenet",
    "model:hashnet:deephash",
    "model:orthohash:code",
    "model:orthohash:fire",
    "model:orthohash:fire-arc",
    "purifier:comdefend:paper",
}
"""Presets after papers that are none of the five, and that no paper recipe takes."""

LEFT = {
    "model:adsh:code",
    "model:adsh:paper",
}
"""Published presets and paper recipes of which no entry says a number yet. The set only shrinks."""


def presets() -> set[str]:
    """Every preset but our own, of every attack and every kind of training."""
    found = {f"attack:{name}:{preset}" for name in ATTACKS for preset in method_facts(name).presets}
    for kind in KINDS.values():
        trainer = kind()
        assert isinstance(trainer, Kind)
        for method in trainer.methods():
            found |= {f"{kind.name}:{method}:{preset}" for preset in trainer.presets(method)}
    return {place for place in found if not place.endswith(":default")}


@pytest.mark.parametrize("entry", published_settings(), ids=lambda one: f"{one.paper}-{one.method}-{one.setting}")
def test_presets_and_recipes_hold_what_the_source_says(entry: Setting) -> None:
    for place in entry.held:
        values = held(entry.setting, place)
        assert values, f"{entry.title}: {place} holds nothing"
        wrong = [value for value in values if not same(entry.value, value)]
        assert not wrong, f"{entry.title}: {place} has {wrong[0]!r}, the source ({entry.source}) has {entry.value!r}"


def test_every_published_preset_and_paper_recipe_is_held_to_its_source() -> None:
    named = {place for entry in published_settings() for place in entry.held}
    recipes = {path.stem for path in paper_recipes()}
    asked = [place.partition(":")[0] for place in named if place.count(":") < 2]
    missing = presets() - named - OTHERS | {one for one in recipes if not any(fnmatchcase(one, word) for word in asked)}
    assert missing - LEFT == set(), "no entry of published_settings.toml names them"
    assert LEFT - missing == set(), "they are named, or gone: take them out of LEFT"
    assert presets() - named >= OTHERS, "they are named, or gone: take them out of OTHERS"


def test_an_entry_is_asked_for_once() -> None:
    places = [(entry.setting, place) for entry in published_settings() for place in entry.held]
    twice = {place for place in places if places.count(place) > 1}
    assert not twice


@pytest.mark.parametrize(
    ("setting", "place", "said"),
    [
        ("training.lr", "saat-table9:models.dph", "no paper recipe is called saat-table9"),
        ("training.lr", "saat-table1:models.dpsh", "nothing there is spelled out"),
        ("training.rate", "saat-table1:models.dph", "has no training.rate"),
        ("bit", "saat-table1:models.dph", "has no bit"),
        ("targets", "saat-table1:attacks.dhtta", "has no attacks.dhtta"),
        ("search.step", "attack:dhta:saat", "has no search.step"),
        ("search.steps", "attack:dhta:paperr", "paper"),
        ("settings.lam", "hardened:saat:code", "code"),
    ],
)
def test_a_place_that_holds_nothing_is_an_error(setting: str, place: str, said: str) -> None:
    with pytest.raises((RequestError, ValueError), match=said):
        held(setting, place)


def test_an_entry_needs_a_source_and_a_place() -> None:
    good = {
        "paper": "saat",
        "method": "DPH",
        "setting": "training.lr",
        "value": 0.01,
        "source": "code",
        "held": ["a:b:c"],
    }
    assert Setting(**good).title == "saat: training.lr of DPH"
    for wrong in ({"held": []}, {"source": ""}, {"paper": "other"}, {"preset": "x"}):
        with pytest.raises(ValidationError):
            Setting(**{**good, **wrong})


def test_cells_are_spelled_out_one_by_one() -> None:
    assert held("training.lr", "saat-table1:models.dph") == [0.01] * 12  # three data sets, four lengths
    assert held("bits", "saat-table?:models.dph") == [(16, 32, 48, 64)] * 2
    assert not same(0.01, 0.05) and not same([16, 32], (16,)) and not same("best", "last") and not same(1.0, "1.0")
