"""`hg.train` and `hg.harden`: what a notebook trains is what the commands train, and what it registers is trained, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.cli.helpers import Shell, write_arrays
from torch import Tensor

import hamguard as hg
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import read_sealed
from hamguard.data.opened import Data
from hamguard.defenses.registry import DEFENSES
from hamguard.defenses.settings import DefenseSettings
from hamguard.defenses.task import Defense
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.comdefend import ComDefend
from hamguard.models.cross_modal import CrossModel
from hamguard.models.prosgan import Generator
from hamguard.models.protector import Protector
from hamguard.training.loop import Batch

QUICK: dict[str, Any] = {"bits": 8, "backbone": "conv2", "epochs": 1, "batch_size": 32, "lr": 0.01}
CPU = hg.Context()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"arrays:{write_arrays(tmp_path_factory.mktemp('data') / 'toy.npz')}"


@pytest.fixture(scope="module")
def data(source: str) -> Data:
    return hg.data(source)


@pytest.fixture(scope="module")
def model(data: Data, tmp_path_factory: pytest.TempPathFactory) -> hg.HashModel:
    return hg.train(data, "csq", out=tmp_path_factory.mktemp("m") / "start", context=CPU, **QUICK)


def test_a_notebook_and_the_command_train_the_same(source: str, data: Data, shell: Shell, tmp_path: Path) -> None:
    quick = {**QUICK, "epochs": 4}
    made = hg.train(data, "dpsh", out=tmp_path / "a", eta=0.25, context=CPU, **quick)
    words = (
        "--bits",
        8,
        "--backbone",
        "conv2",
        "--epochs",
        4,
        "--batch-size",
        32,
        "--set",
        "lr=0.01",
        "--set",
        "eta=0.25",
    )
    (row,) = shell.done("train", "--data", source, "--method", "dpsh", *words, "--out", tmp_path / "b", "--json").rows
    assert made.digest == row["weights_hash"] == made.card.weights_hash and made.card.data == row["data"]
    runs = [read_sealed(tmp_path / name / "run.json", "run")["run"] for name in ("a", "b")]
    assert runs[0] == runs[1], "one job, however it was written"
    again = hg.train(source, "dpsh", out=tmp_path / "b", eta=0.25, context=CPU, **quick)
    assert again.digest == made.digest and again.card.settings["eta"] == 0.25
    with pytest.raises(StaleError, match="holds a model of another run"):
        hg.train(data, "dpsh", out=tmp_path / "a", eta=0.5, context=CPU, **quick)


def test_all_wrong_words_are_named_at_once(data: Data, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"2 faults: unknown key etta; did you mean eta\? \| .*model\.bits: .*got 0"):
        hg.train(data, "dpsh", out=tmp_path / "m", bits=0, etta=1)
    with pytest.raises(RequestError, match="csq starts from no other model, got 1"):
        hg.train(data, "csq", out=tmp_path / "m", victim="shipped:digits", context=CPU)
    assert not (tmp_path / "m").exists()


def test_data_of_ones_own_are_called_by_their_name(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((60, 1, 16, 16))
    mine = hg.data(images, np.arange(60) % 3, name="mine")
    made = hg.train(mine, "csq", out=tmp_path / "m", context=CPU, **QUICK)
    assert (made.card.data["source"], made.card.data["name"]) == (None, "mine") and made.card.bits == 8
    assert len(hg.encode(made, mine.query)) == len(mine.query)
    safe = hg.harden(made, mine, "distill", out=tmp_path / "safe", epochs=1, context=CPU)
    assert safe.card.parent == made.digest and safe.card.data["name"] == "mine"


class Pull(Objective):
    """Codes of a class come together, written in a notebook's cell."""

    title = "a pull"
    settings_type = Settings

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        same = labels @ labels.T
        return (
            (torch.tanh(logits) @ torch.tanh(logits).T / logits.shape[1] - (2 * (same > 0).float() - 1)).square().mean()
        )


class Still(Defense):
    """Learns on, and nothing else, written in a notebook's cell."""

    title = "stands still"
    settings_type = DefenseSettings

    def step(self, batch: Batch) -> Tensor:
        (z,) = self.outputs(self.pictures(batch))
        return self.hash_loss(z, batch)


def test_what_a_cell_registers_is_trained(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (OBJECTIVES, DEFENSES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_facts", dict(registry._facts))
    hg.register_objective("pull-of-mine")(Pull)
    hg.register_defense("still-of-mine")(Still)
    made = hg.train(data, "pull-of-mine", out=tmp_path / "m", context=CPU, **QUICK)
    assert made.card.method == "pull-of-mine" and made.card.title == "a pull"
    safe = hg.harden(made, data, "still-of-mine", threat=hg.Linf(0.1), out=tmp_path / "s", epochs=1, context=CPU)
    assert safe.card.defense["method"] == "still-of-mine" and safe.card.defense["eps"] == 0.1
    assert safe.card.defense["objective"] == "pull-of-mine"


def test_a_hardened_model_is_that_of_the_command(
    source: str, data: Data, model: hg.HashModel, shell: Shell, tmp_path: Path
) -> None:
    before = model.digest
    made = hg.harden(model, data, "saat", threat=hg.Linf(0.2), out=tmp_path / "a", epochs=1, steps=2, context=CPU)
    assert model.digest == before and made.card.parent == before != made.digest
    words = ("--method", "saat", "--eps", 0.2, "--epochs", 1, "--set", "steps=2", "--no-measure")
    shell.done("harden", model.place, "--data", source, *words, "--out", tmp_path / "b")
    assert hg.load(tmp_path / "b").digest == made.digest
    runs = [read_sealed(tmp_path / name / "harden-run.json", "run")["run"] for name in ("a", "b")]
    assert runs[0] == runs[1]
    bare = hg.HashModel("conv2", 8, channels=1, size=(16, 16))
    with pytest.raises(RequestError, match="conv2 has no card, so it cannot be trained on"):
        hg.harden(bare, data, "saat", out=tmp_path / "c", context=CPU)


def test_every_kind_is_trained(source: str, model: hg.HashModel, tmp_path: Path) -> None:
    generator = hg.train(
        source, "prosgan", victim=model, out=tmp_path / "g", epochs=1, width=8, prototype_steps=2, context=CPU
    )
    assert isinstance(generator, Generator) and generator.card.victim == model.digest
    protector = hg.train(source, "ppl", surrogates=[model], out=tmp_path / "p", epochs=1, eps=0.3, context=CPU)
    assert isinstance(protector, Protector) and protector.card.surrogates[0] and protector.card.eps == 0.3
    purifier = hg.train(source, "comdefend", out=tmp_path / "c", epochs=1, width=0.0625, context=CPU)
    assert isinstance(purifier, ComDefend) and purifier.card.data["train"]
    assert not any(part.training for one in (generator, protector, purifier) for part in one.modules())
    x = hg.data(source).query.images
    read = hg.train(source, "ppl", surrogates=[model], out=tmp_path / "p", epochs=1, eps=0.3, context=CPU)
    with torch.no_grad():
        assert read is not protector and torch.equal(read(x), protector(x))
    facts = [one.card.data for one in (generator, protector, purifier)]
    assert all({"split_seed", "size", "drop_duplicates"} <= set(one) for one in facts)


def test_images_and_texts(tmp_path: Path) -> None:
    kinds = np.arange(60) % 3
    images = np.random.default_rng(1).random((60, 1, 16, 16)) * 0.3
    for i, kind in enumerate(kinds):
        images[i, 0, 5 * kind : 5 * kind + 5] += 0.6
    pairs = hg.data(images, kinds, texts=[f"{('red', 'blue', 'green')[kind]} thing" for kind in kinds], name="pairs")
    quick = {**QUICK, "bits": 16, "epochs": 4, "text_width": 16, "least": 1}
    made = hg.train(pairs, "dcmh", out=tmp_path / "m", context=CPU, **quick)
    assert isinstance(made, CrossModel) and made.card.method == "dcmh" and made.text_card.texts["training"] > 2
    asked, bank = hg.encode(made, pairs.query.first(2)), hg.encode(made, pairs.database)
    assert bank.model_hash == made.image.digest
    found = [one.ids for one in hg.search(bank, asked, k=2)]
    assert [one.ids for one in hg.search(made, pairs.query.first(2), k=2, data=pairs)] == found
    hg.index(made, pairs, out=tmp_path / "texts", modality="text")
    by_words = hg.search(tmp_path / "texts", words=["red thing"], model=made, data=pairs, k=2)
    assert by_words[0].texts is not None and len(by_words[0]) == 2
    words = hg.attack(made, pairs, "cmla-words", modality="text", queries=2)
    assert {row.metric for row in words} >= {"map", "edits"}
    safe = hg.harden(made, pairs, "minmax", out=tmp_path / "s", epochs=1, steps=1, context=CPU)
    assert isinstance(safe, CrossModel) and safe.card.parent == made.digest
    with pytest.raises(RequestError, match="unknown defense of the cross-modal model .*'saat'; allowed: static"):
        hg.harden(made, pairs, "saat", out=tmp_path / "x", context=CPU)
