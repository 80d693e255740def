"""A request is checked as a whole: every fault at once, with the nearest right word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hamguard.core.errors import RequestError
from hamguard.hashing.registry import OBJECTIVES, hash_methods
from hamguard.trainers.words import parse_value, read_job, read_recipe


def test_all_faults_are_named_at_once_with_suggestions() -> None:
    recipe = {
        "method": "dpsh",
        "sed": 1,
        "settings": {"etta": 0.1, "eta": -1},
        "training": {"epoch": 3, "lr": "fast"},
        "model": {"bits": 0},
    }
    with pytest.raises(RequestError) as caught:
        read_job(recipe, {})
    message = str(caught.value)
    for part in (
        "6 faults",
        "unknown key settings.etta; did you mean eta?",
        "settings.eta: input should be greater than or equal to 0, got -1",
        "unknown key training.epoch; did you mean epochs?",
        "training.lr: input should be a valid number",
        "model.bits: input should be greater than or equal to 1, got 0",
        "unknown key sed; did you mean seed?",
    ):
        assert part in message, message


def test_unknown_method_is_named_with_the_others() -> None:
    with pytest.raises(RequestError, match=r"unknown hash method 'dpsj'; allowed: adsh, bihalf, .*did you mean dpsh\?"):
        read_job({}, {"method": "dpsj"})


def test_unknown_set_key_and_preset() -> None:
    with pytest.raises(RequestError, match=r"unknown key epocs; did you mean epochs\?"):
        read_job({}, {}, ["epocs=3"])
    with pytest.raises(RequestError, match="--set epochs: must be key=value"):
        read_job({}, {}, ["epochs"])
    with pytest.raises(RequestError, match="unknown preset 'papr' of dpsh; allowed: .*did you mean paper"):
        read_job({}, {"method": "dpsh", "preset": "papr"})


def test_later_words_win() -> None:
    recipe = {"method": "dpsh", "training": {"epochs": 3}, "settings": {"eta": 0.5}}
    request = read_job(recipe, {"training.epochs": 5, "model.bits": None}, ["epochs=7", "settings.eta=0.25"])
    assert request.training.epochs == 7 and request.settings["eta"] == 0.25 and request.network.bits == 32


def test_bare_keys_find_their_section() -> None:
    request = read_job({}, {"method": "dpsh"}, ["lr=0.01", "eta=0.3", "bits=12", "source=scenes", "seed=4"])
    assert request.training.lr == 0.01 and request.settings["eta"] == 0.3
    assert request.network.bits == 12 and request.data.source == "scenes" and request.seed == 4


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("settings=3", "settings: must be a table of key = value, got 3"),
        ("method=[1]", r"unknown hash method '\[1\]'"),
        ("model=3", "model: input should be a valid dictionary"),
    ],
)
def test_a_section_that_is_no_table(word: str, expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        read_job({}, {}, [word])


def test_given_weights_change_the_training_defaults() -> None:
    fresh = read_job({}, {"method": "csq"})
    tuned = read_job({}, {"method": "csq", "model.weights": "w.safetensors"})
    assert (
        tuned.training.head_lr_factor > fresh.training.head_lr_factor and tuned.training.epochs < fresh.training.epochs
    )


def test_digest_tells_requests_apart() -> None:
    assert read_job({}, {}).digest == read_job({}, {"method": "csq"}).digest
    assert read_job({}, {}).digest != read_job({}, {}, ["lr=0.5"]).digest


@pytest.mark.parametrize("name", sorted(set(hash_methods()) & set(OBJECTIVES)))
def test_every_preset_is_valid(name: str) -> None:
    for preset in OBJECTIVES[name].presets:
        assert read_job({}, {"method": name, "preset": preset}).preset == preset


def test_methods_hold_the_seven_and_the_unsupervised() -> None:
    assert {"dpsh", "dph", "hashnet", "dsh", "dsdh", "adsh", "csq", "lsh", "itq"} <= set(hash_methods())


def test_values_are_toml_or_text() -> None:
    assert [parse_value(t) for t in ("1", "0.5", "true", "bank", "8/255", "[1, 2]")] == [
        1,
        0.5,
        True,
        "bank",
        "8/255",
        [1, 2],
    ]


def test_recipes_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('method = "csq"\n[training]\nepochs = 2\n')
    assert read_recipe(path) == {"method": "csq", "training": {"epochs": 2}}
    path.write_text("method = \n")
    with pytest.raises(RequestError, match="is no readable recipe: .*line 1"):
        read_recipe(path)
    with pytest.raises(RequestError, match="no recipe at"):
        read_recipe(tmp_path / "none.toml")
    path.write_text("a = " + "[" * 10_000 + "]" * 10_000)
    with pytest.raises(RequestError, match="is no readable recipe: it is nested too deeply"):
        read_recipe(path)
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(RequestError, match="pipe.toml is not an ordinary file, no recipe"):
        read_recipe(tmp_path / "pipe.toml")
