"""A backbone that stays as it is: the head alone learns on features that are kept, in training, after it and in a defense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hamguard.api.harden import hardening
from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_folder
from hamguard.trainers import hash_model
from hamguard.trainers.hardened import GENTLE, learns_gently
from hamguard.trainers.job import FINE_TUNING, Job
from hamguard.trainers.words import read_job
from hamguard.training import features
from tests.defenses.conftest import Place, make_model, save
from tests.defenses.conftest import ask as ask_defense
from tests.trainers.runs import train
from tests.training.conftest import make_blobs

Blobs = tuple[Dataset, Split]
METHODS = OBJECTIVES.names()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "LEAST", 0)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a backbone whose batch norms have seen pictures, so that its features differ."""
    net = HashModel("resnet20", 8, channels=1, size=(16, 16), generator=torch.Generator().manual_seed(5)).backbone
    x = make_blobs(seed=3).images.batch(slice(None))
    with torch.no_grad():
        for _ in range(30):
            net.train()((x - x.mean()) / x.std())
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def ask(weights: Path | None, method: str = "csq", *sets: str) -> Job:
    base = ["backbone=resnet20", "bits=12", "epochs=4", "batch_size=20", "freeze=true", "normalization=data"]
    flags = {"method": method, "model.weights": None if weights is None else str(weights)}
    return read_job({}, flags, [*base, *sets])


class Counted:
    """Counts pictures that any network made from now on is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pictures = 0
        plain = HashModel.trunk_of

        def counted(model: HashModel, x: Tensor) -> Tensor:
            self.pictures += len(x)
            return plain(model, x)

        monkeypatch.setattr(HashModel, "trunk_of", counted)


def same_backbone(model: HashModel, weights: Path) -> bool:
    from hamguard.models.backbones import read_safetensors

    state, given = model.backbone.state_dict(), read_safetensors(weights)
    assert not any(value for name, value in state.items() if name.endswith("num_batches_tracked")), (
        "begins at zero, stays"
    )
    return all(torch.equal(state[name], value) for name, value in given.items() if "num_batches" not in name)


@pytest.mark.parametrize("method", METHODS)
def test_the_backbone_stays_bit_for_bit_and_the_head_learns(
    method: str, blobs: Blobs, weights: Path, tmp_path: Path
) -> None:
    done = train(ask(weights, method), *blobs, tmp_path / "m")
    model, card = load_folder(tmp_path / "m")
    assert (
        same_backbone(model, weights)
        and card.recipe["freeze"] is True
        and card.initial_weights.startswith("w.safetensors")
    )
    assert model.digest == done.model.digest
    assert all(value.requires_grad for value in done.model.parameters()), "what comes back can be trained on"
    fresh = HashModel("resnet20", 12, channels=1, size=(16, 16))
    assert not torch.equal(model.head.weight, fresh.head.weight)


def test_the_second_run_asks_no_backbone_and_gives_the_same_head(
    blobs: Blobs, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counted(monkeypatch)
    first = train(ask(weights), *blobs, tmp_path / "a")
    paid = asked.pictures
    assert paid == first.items == 80
    second = train(ask(weights), *blobs, tmp_path / "b")
    other = train(ask(weights, "dpsh", "bits=24"), *blobs, tmp_path / "c")
    job = read_job(
        {}, {"method": "itq", "model.weights": str(weights)}, ["backbone=resnet20", "bits=8", "normalization=data"]
    )
    fitted = train(job, *blobs, tmp_path / "d")
    assert asked.pictures == paid and {same_backbone(one.model, weights) for one in (second, other, fitted)} == {True}
    monkeypatch.setattr(features, "LEAST", 2**40)
    without = train(ask(weights), *blobs, tmp_path / "e")
    assert asked.pictures == 2 * paid, "nothing is kept of small sets"
    assert first.model.digest == second.model.digest == without.model.digest


def test_the_head_is_the_one_that_learns_on_pictures(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    """Features that are kept stand for the backbone at rest: a loop that asks it at every step ends at the same head."""
    job = ask(weights)
    done = train(job, *blobs, tmp_path / "m")
    dataset, split = blobs
    model = hash_model.build_model(job.network, job.seed, hash_model.Data(dataset, split))
    model.backbone.requires_grad_(False)
    labels = torch.from_numpy(dataset.labels[split.train]).float()
    objective = OBJECTIVES["csq"](job.parsed, bits=12, labels=labels, seed=0)
    task = hash_model.HashTask(model, objective, dataset.images, split.train)
    from hamguard.training.loop import fit

    fit(task, job.training, seed=job.seed, folder=tmp_path / "slow", run="slow")
    torch.testing.assert_close(model.head.weight, done.model.head.weight, rtol=1e-3, atol=1e-4)
    assert same_backbone(model, weights), "batch norms are at rest, too"


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def killer(after: int) -> Any:
    seen = 0

    def progress(share: float, text: str) -> None:
        nonlocal seen
        seen += text.startswith("epoch")
        if seen == after:
            raise Killed

    return progress


@pytest.mark.parametrize("words", [(), ("finetune=2",), ("finetune=1", "patience=1", "augment=flip")])
def test_resume_is_exact_wherever_it_stopped(
    words: tuple[str, ...], blobs: Blobs, weights: Path, tmp_path: Path
) -> None:
    job = ask(weights, "dpsh", "checkpoint_seconds=0.000001", *words)
    whole = train(job, *blobs, tmp_path / "whole")
    for after in (3, 9, 16, 18):
        folder = tmp_path / f"cut{after}"
        try:
            train(job, *blobs, folder, progress=killer(after))
        except Killed:
            assert not (folder / "card.json").exists()
        again = train(job, *blobs, folder)
        assert again.model.digest == whole.model.digest and again.card.statistics == whole.card.statistics


def test_after_the_head_all_weights_learn_and_batch_norms_stay(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    head = train(ask(weights, "dpsh", "epochs=2"), *blobs, tmp_path / "head")
    more = train(ask(weights, "dpsh", "epochs=2", "finetune=2"), *blobs, tmp_path / "more")
    assert [row["epoch"] for row in more.history] == [1, 2, 3, 4]
    assert more.history[0]["loss"] == pytest.approx(head.history[0]["loss"]), "the head begins at the same rate"
    kept, learned = head.model.backbone.state_dict(), more.model.backbone.state_dict()
    for name in kept:
        rests = "running" in name or "num_batches" in name
        assert torch.equal(kept[name], learned[name]) == rests, name


def test_the_last_layers_alone_may_finetune(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    head = train(ask(weights, "dpsh", "epochs=1"), *blobs, tmp_path / "head")
    last = train(ask(weights, "dpsh", "epochs=1", "finetune=1", "thaw=0.5"), *blobs, tmp_path / "last")
    kept, learned = dict(head.model.backbone.named_parameters()), dict(last.model.backbone.named_parameters())
    sizes = [one.numel() for one in kept.values()]
    moved = [not torch.equal(kept[name], learned[name]) for name in kept]
    first = moved.index(True)
    assert 0 < first and all(moved[first:]), "from some layer on all learn, before it none"
    assert sum(sizes[first:]) <= 0.5 * sum(sizes) < sum(sizes[first - 1 :])


def test_settings_for_frozen_networks_hold_where_all_weights_learn_after_the_head() -> None:
    alone, both = (
        read_job({}, {"method": "dsdh", "model.weights": "w.safetensors"}, sets)
        for sets in (("freeze=true",), ("freeze=true", "finetune=3"))
    )
    assert alone.parsed == both.parsed and alone.parsed != read_job({}, {"method": "dsdh"}).parsed
    assert both.training.lr * both.training.head_lr_factor == read_job({}, {"method": "dsdh"}).training.lr


def test_rates_of_head_and_backbone() -> None:
    plain, frozen, both = (
        read_job({}, {"method": "dpsh", "model.weights": "w.safetensors"}, sets).training
        for sets in ((), ("freeze=true",), ("freeze=true", "finetune=3"))
    )
    assert plain.lr == FINE_TUNING["lr"] and plain.augment == "flip"
    own = OBJECTIVES["dpsh"].training
    assert (frozen.lr, frozen.epochs, frozen.augment) == (own["lr"], own["epochs"], "none")
    assert both.lr * both.head_lr_factor == pytest.approx(frozen.lr) and both.head_lr_factor == 10


def test_a_validation_asks_a_frozen_backbone_once(
    blobs: Blobs, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counted(monkeypatch)
    plain = HashModel.logits
    monkeypatch.setattr(
        HashModel, "logits", lambda model, x: pytest.fail("the network was asked again") or plain(model, x)
    )
    done = train(ask(weights, "csq", "patience=2"), *blobs, tmp_path / "m")
    assert asked.pictures == 80 + 40 and all(0 < row["validation_map"] <= 1 for row in done.history)


def test_what_freezing_does_not_go_with_is_one_line(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    for words, message in (
        (
            ("augment=flip",),
            "a frozen backbone sees each picture once, without random views; leave out augment=flip, or",
        ),
        (("augment=drop", "freeze=false"), "augment=drop is for hash heads that learn on features"),
        (("freeze=false", "finetune=1"), "finetune are epochs after those of the head alone; give freeze=true"),
        (("thaw=0.5",), "thaw says which weights finetune; give freeze=true and finetune=EPOCHS, too"),
        (("finetune=1", "thaw=0"), "training.thaw: input should be greater than 0"),
        (("freeze=1.5",), "training.freeze: input should be a valid boolean"),
        (("finetune=-1",), "training.finetune: input should be greater than or equal to 0"),
    ):
        with pytest.raises(RequestError, match=message):
            train(ask(weights, "csq", *words), *blobs, tmp_path / "m")
    for method in ("prosgan", "comdefend"):
        with pytest.raises(RequestError, match="unknown key freeze"):
            read_job({}, {"method": method}, ["freeze=true"])
        with pytest.raises(RequestError, match=f"{method} takes no freeze"):
            read_job({}, {"method": method, "training.freeze": True})
    with pytest.raises(RequestError, match="itq is fitted in one pass and takes no training keys, got finetune"):
        read_job({}, {"method": "itq"}, ["freeze=true", "finetune=1"])
    assert read_job({}, {"method": "itq"}, ["freeze=true"]).method == "itq", "fitted heads freeze the backbone anyway"


def test_a_backbone_of_random_weights_is_frozen_only_where_that_is_asked_for(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="a backbone that stays as it is needs weights, and this one is drawn at random"
    ):
        train(ask(None), *blobs, tmp_path / "m")
    for name, message in (
        ("resnet21", "unknown backbone 'resnet21'; .*timm:NAME; did you mean resnet"),
        ("timm:resnet10x", "timm has no model 'resnet10x'; did you mean resnet10t"),
    ):
        with pytest.raises(RequestError, match=message):  # and no word of weights
            train(ask(None, "csq", f"backbone={name}"), *blobs, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    job = ask(None, "csq", "weights=none", "epochs=1", "backbone=conv2")
    assert train(job, *blobs, tmp_path / "m").card.recipe["freeze"] is True


def test_a_head_that_learns_alone_has_defaults_of_its_own() -> None:
    usual, alone = ({m: read_job({}, {"method": m}, sets) for m in METHODS} for sets in ((), ("freeze=true",)))
    for method, job in alone.items():
        said = OBJECTIVES[method].frozen
        changed = {key for key, value in job.settings.items() if usual[method].settings[key] != value}
        assert changed == set(said.get("settings", {})), method
        for key, value in said.get("training", {}).items():
            assert getattr(job.training, key) == value != getattr(usual[method].training, key)
    assert OBJECTIVES["orthohash"].frozen["settings"]["scale"] != 8
    assert read_job({}, {"method": "orthohash"}, ["freeze=true", "scale=8"]).settings["scale"] == 8
    printed = read_job({}, {"method": "orthohash", "preset": "code"}, ["freeze=true", "augment=none"])
    assert printed.settings["scale"] == 8, "a preset is the printed form, whatever learns"


def test_views_of_features_are_those_of_the_step(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    plain = train(ask(weights, "csq"), *blobs, tmp_path / "plain")
    drop = [train(ask(weights, "csq", "augment=drop"), *blobs, tmp_path / name) for name in "ab"]
    assert drop[0].model.digest == drop[1].model.digest != plain.model.digest
    with pytest.raises(RequestError, match="cibhash compares random views.*`augment=drop` makes some of features"):
        train(ask(weights, "cibhash", "finetune=1"), *blobs, tmp_path / "m")


def test_jobs_that_freeze_nothing_are_what_they_were() -> None:
    job = read_job({}, {"method": "csq"})
    assert not {"freeze", "finetune"} & set(job.model_dump()["training"])
    assert job.digest != read_job({}, {"method": "csq"}, ["freeze=true", "model.weights=none"]).digest


@pytest.mark.parametrize("method", ["saat", "control", "static"])
def test_a_frozen_defense_changes_the_head_alone(method: str, place: Place, tmp_path: Path) -> None:
    folder = save(make_model(place.dataset, "resnet20"), tmp_path / "start")
    start, _ = load_folder(folder)
    job = ask_defense(method, "freeze=true", "average=0.9", *(() if method == "control" else ("steps=2",)))
    done = train(job, place.dataset, place.split, tmp_path / "m", start=[folder])
    kept, found = start.state_dict(), done.model.state_dict()
    for name in kept:
        assert torch.equal(kept[name], found[name]) != name.startswith("head."), name
    assert done.card.recipe["freeze"] is True


@pytest.mark.parametrize("method", ["distill", "saat"])
def test_a_frozen_defense_of_a_frozen_training_begins_with_kept_features(
    method: str, blobs: Blobs, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(ask(weights, "dpsh"), *blobs, tmp_path / "start")
    asked, plain = [], HashModel.logits

    def counted(model: HashModel, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # neither an attack nor a step
            asked.append(len(x))
        return plain(model, x)

    monkeypatch.setattr(HashModel, "logits", counted)
    job = ask_defense(method, "freeze=true", "steps=1", "lr=0.01")
    done = train(job, *blobs, tmp_path / "kept", start=[tmp_path / "start"])
    assert not asked, "codes of the training pictures, before and after, are heads of features that are kept"
    assert same_backbone(done.model, weights) and done.card.defense["rest"] is True
    start, _ = load_folder(tmp_path / "start")
    assert not torch.equal(start.head.weight, done.model.head.weight)
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "empty"))
    anew = train(job, *blobs, tmp_path / "anew", start=[tmp_path / "start"])
    assert sum(asked) == 2 * 80
    for name, value in done.model.state_dict().items():
        torch.testing.assert_close(value, anew.model.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_batch_norms_rest_in_a_defense_as_they_did_in_training(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    for words, rests in ((("freeze=true",), True), (("freeze=false",), False)):
        start = tmp_path / f"start-{rests}"
        train(ask(weights, "dpsh", *words), *blobs, start)
        for asked, told in (((), rests), (("rest=true",), True), (("rest=false",), False)):
            place = tmp_path / f"{rests}-{''.join(asked)}"
            job = ask_defense("control", "objective=keep", "lr=1e-4", *asked, **{"training.epochs": 1})
            done = train(job, *blobs, place, start=[start])
            kept, found = load_folder(start)[0].state_dict(), done.model.state_dict()
            same = {torch.equal(kept[name], found[name]) for name in kept if "running_" in name}
            assert same == {told} and done.card.defense.get("rest", False) is told
            assert not torch.equal(kept["head.weight"], found["head.weight"])
            assert any(not torch.equal(kept[n], found[n]) for n in kept if n.endswith("conv1.weight")), "all learns"
    again = train(
        ask_defense("control", **{"training.epochs": 1}), *blobs, tmp_path / "again", start=[tmp_path / "True-"]
    )
    assert again.card.defense["rest"] is True, "a hardened model is hardened as it was"


def test_all_weights_of_a_network_at_rest_learn_gently(blobs: Blobs, weights: Path, tmp_path: Path) -> None:
    train(ask(weights, "dpsh"), *blobs, tmp_path / "start")
    _, card = load_folder(tmp_path / "start")
    learned = card.model_copy(update={"recipe": {**card.recipe, "freeze": False}})
    for words, gentle in (((), True), (("lr=0.01",), False), (("freeze=true",), False), (("rest=false",), False)):
        assert learns_gently(ask_defense("saat", *words), card) is gentle, words
    assert not learns_gently(ask_defense("saat"), learned) and learns_gently(ask_defense("saat", "rest=true"), learned)
    assert not learns_gently(ask_defense("saat", preset="paper"), card)
    flags = {"method": "control", "eps": 0.1, "training.epochs": 1}
    done = hardening(tmp_path / "start", Data(*blobs), tmp_path / "m", flags=flags)
    assert done.card.recipe["lr"] == GENTLE
    told = hardening(tmp_path / "start", Data(*blobs), tmp_path / "told", flags=flags, sets=["lr=0.002"])
    assert told.card.recipe["lr"] == 0.002
