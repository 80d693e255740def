"""Adversarial training of cross-modal models: what stands in front, what min-max makes, exact resume, what is refused."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from hamguard.attacks.methods.cmla import cmla, cmla_text
from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import relax
from hamguard.core.errors import CollapseError, RequestError, RunError, StaleError, StoppedError
from hamguard.core.files import write_npz
from hamguard.defenses import cross_modal
from hamguard.defenses.cross_modal import (
    CROSS_DEFENSES,
    InnerCross,
    inner_cross,
)  # fmt: skip
from hamguard.hashing.cross_modal import cross_likelihood
from hamguard.hashing.dcmh import dcmh
from hamguard.models.cross_modal import PARTS, load_cross
from hamguard.models.store import CARD, save_model
from hamguard.models.weight_files import read_safetensors
from hamguard.trainers import run as runs
from hamguard.trainers.hardened_pair import MADE, HardenedPairKind
from hamguard.trainers.job import Job
from hamguard.trainers.words import read_job
from hamguard.training import cross_task
from hamguard.training.cross_task import CrossTask, DcmhTask, SsahTask
from tests.trainers.runs import train
from tests.training.pairs import (
    BATCH,
    TRAIN,
    Killed,
    World,
    ask,
    batch_of,
    copy_of,
    killer,
    make_world,
    moved,
    parts_of,
    task_of,
)  # fmt: skip

RUN = HardenedPairKind.run_file
METHODS = ("dcmh", "ssah")
EPS, TEXT_EPS = 10 / 255, 0.2
EACH = "checkpoint_seconds=0.000001"


class Place(NamedTuple):
    world: World
    starts: dict[str, Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    world, root = make_world(), tmp_path_factory.mktemp("starts")
    for method in METHODS:
        train(ask(method, training__epochs=10), *world, root / method)
    return Place(world, {method: root / method for method in METHODS})


@pytest.fixture(autouse=True)
def free_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """CMLA's norm term is a mean over pixels: with 256 of them, each weighs so much that a picture hardly leaves its place."""
    monkeypatch.setattr("hamguard.attacks.methods.cmla.NORM", 0.0)


def _words(flags: dict[str, Any], sets: Sequence[str] = ()) -> Job:
    return read_job({}, flags, sets, kind="hardened-pair")


def hard(method: str, *sets: str, **flags: Any) -> Job:
    """2 epochs with batches of 12; flags with `__` for the dot."""
    base = {"method": method, "eps": EPS, "training.epochs": 2, "training.batch_size": BATCH, "data.source": "blobs"}
    named = {key.replace("__", "."): value for key, value in flags.items()}
    quick = ["attack_steps=25", f"text_eps={TEXT_EPS}", "steps=2", "augment=none", "lr=0.002"]
    return _words({**base, **named}, [*quick, *sets])


def run(place: Place, kind: str, request: Job, folder: Path, **more: Any) -> Any:
    return train(request, *place.world, folder, start=[place.starts[kind]], **more)


def begun(place: Place, kind: str, request: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> CrossTask:
    """The task as it is given to the training loop, before its first step."""
    found: list[CrossTask] = []

    def stop(task: CrossTask, *rest: Any, **named: Any) -> None:
        found.append(task)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(runs, "fit", stop)
        with pytest.raises(Killed):
            run(place, kind, request, folder)
    return found[0]


def clean_of(place: Place) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, bags and labels of the training pairs in their order."""
    dataset, split = place.world
    model = load_cross(place.starts["dcmh"])[0]
    texts = dataset.texts or ()
    bags = model.vocabulary.bag([texts[i] for i in split.train])
    return dataset.images.batch(split.train), bags, torch.tensor(dataset.labels[split.train]).float()


# --- static and control -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "share", "m"), [("dcmh", 0.5, 18), ("ssah", 0.25, 9), ("dcmh", 1, 36), ("dcmh", 0.01, 1)]
)
def test_static_puts_attacked_pairs_in_front(
    kind: str, share: float, m: int, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = begun(place, kind, hard("static", f"share={share}", "attack_steps=8"), tmp_path, monkeypatch)
    x, bags, labels = clean_of(place)
    assert len(task.pairs) == task.items == m + TRAIN and task.adversaries is None
    seen = task.pairs.pictures(torch.arange(m + TRAIN))
    assert torch.equal(seen[m:], x) and torch.equal(task.pairs.bags[m:], bags)  # every clean pair is visited
    assert torch.equal(task.pairs.labels, torch.cat([labels[:m], labels]))  # true labels
    x_adv, bags_adv = seen[:m], task.pairs.bags[:m]
    assert bool(((x_adv - x[:m]).abs().flatten(1).amax(1) <= EPS + 1e-6).all())
    assert bool(((bags_adv - bags[:m]).abs().amax(1) <= TEXT_EPS + 1e-6).all())
    assert float(bags_adv.min()) >= 0 and float(bags_adv.max()) <= 1
    assert bool((x_adv != x[:m]).flatten(1).any(1).all()) and bool((bags_adv != bags[:m]).any(1).all())
    # a picture stands beside its own text: each adversary lies nearest to the clean one of its own number
    assert torch.cdist(x_adv.flatten(1), x.flatten(1)).argmin(1).tolist() == list(range(m))
    near = torch.cdist(bags_adv, bags).argmin(1)
    assert torch.equal(bags[near], bags[:m])


def test_static_adversaries_are_those_of_cmla_against_the_start_model(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = begun(place, "dcmh", hard("static", "attack_steps=6", "intra=0.5", seed=3), tmp_path, monkeypatch)
    model, (x, bags, labels) = load_cross(place.starts["dcmh"])[0].freeze(), clean_of(place)
    image, text = CodeBank.of(model.image.code(x), labels), CodeBank.of(model.text.code(bags), labels)
    assert image.digest != text.digest
    first: dict[str, Any] = {"index": range(18), "seed": 3}
    attack = cmla(steps=6, intra=0.5, threat=Linf(EPS))
    wanted = attack(model.image, x[:18], labels[:18], PairBank.join(image, text), **first).x_adv
    found = task.pairs.pictures(torch.arange(18))
    assert float(((found - wanted).abs() > 0.5 / 255).float().mean()) < 0.01  # but for rounding of a folded copy
    attack = cmla_text(steps=6, intra=0.5, threat=Linf(TEXT_EPS))
    wanted = attack(model.text, bags[:18], labels[:18], PairBank.join(text, image), **first).x_adv
    torch.testing.assert_close(task.pairs.bags[:18], wanted)


def test_static_adversaries_of_the_published_form_only_grow(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamguard.attacks.methods.cmla.LEVELS", 0.0)  # as `free_attack`, in both forms
    x, bags, _ = clean_of(place)
    signs = {}
    for form in ("paper", "default"):
        task = begun(place, "dcmh", hard("static", "attack_steps=6", f"form={form}"), tmp_path / form, monkeypatch)
        pixels, words = task.pairs.pictures(torch.arange(18)) - x[:18], task.pairs.bags[:18] - bags[:18]
        assert float(pixels.max()) > 0
        signs[form] = float(pixels.min()) >= 0, float(words.min()) >= 0
    assert signs == {"paper": (True, True), "default": (False, False)}  # values change by [0, eps], or by [-eps, eps]


def similar_products(own: Tensor, other: Tensor, labels: Tensor, others: Tensor) -> float:
    """Mean inner product with the similar codes of the other modality."""
    similar = (labels @ others.T) > 0
    return float((relax(own) @ relax(other).T)[similar].mean())


@pytest.mark.parametrize("kind", METHODS)
def test_static_adversaries_leave_what_is_similar_on_the_start_model(
    kind: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = begun(place, kind, hard("static"), tmp_path, monkeypatch)
    model, (x, bags, labels) = load_cross(place.starts[kind])[0], clean_of(place)
    rows = torch.arange(18)
    with torch.no_grad():
        z, t = model.image.logits(x), model.text.logits(bags)
        z_adv, t_adv = model.image.logits(task.pairs.pictures(rows)), model.text.logits(task.pairs.bags[rows])
    front = labels[rows]
    assert similar_products(z_adv, t, front, labels) < similar_products(z[rows], t, front, labels)
    assert similar_products(t_adv, z, front, labels) < similar_products(t[rows], z, front, labels)


def test_control_has_clean_copies_and_as_many_steps(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = begun(place, "dcmh", hard("control"), tmp_path / "a", monkeypatch)
    x, bags, labels = clean_of(place)
    assert torch.equal(task.pairs.pictures(torch.arange(54)), torch.cat([x[:18], x]))
    assert torch.equal(task.pairs.bags, torch.cat([bags[:18], bags]))
    assert torch.equal(task.pairs.labels, torch.cat([labels[:18], labels]))
    assert not (tmp_path / "a" / MADE).exists()
    steps = {}
    for method in ("static", "control"):
        shares: list[float] = []
        run(place, "dcmh", hard(method), tmp_path / method, progress=lambda share, text, to=shares: to.append(share))
        steps[method] = len(shares)
    assert steps["static"] == steps["control"] == 2 * (54 // BATCH)


# --- min-max ----------------------------------------------------------------------------------------------------------


def inner_of(
    place: Place, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *sets: str, **flags: Any
) -> InnerCross:
    task = begun(place, kind, hard("minmax", *sets, **flags), tmp_path, monkeypatch)
    assert isinstance(task.adversaries, InnerCross) and task.items == TRAIN
    task.begin()
    return task.adversaries


@pytest.mark.parametrize("kind", METHODS)
def test_minmax_adversaries_stay_in_the_ball_and_raise_the_loss(
    kind: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = inner_of(place, kind, tmp_path, monkeypatch, "steps=5", eps=0.1)
    task, rows = inner.task, torch.arange(BATCH)
    x, bags, labels = task.pairs.pictures(rows), task.bags[rows], task.labels[rows]
    batch = batch_of(*rows.tolist())
    x_adv, bags_adv = inner.pictures(x, labels, batch), inner.bags(bags, labels, batch)
    for adv, clean, eps in ((x_adv, x, 0.1), (bags_adv, bags, TEXT_EPS)):
        assert adv.shape == clean.shape and not adv.requires_grad
        assert float((adv - clean).abs().max()) <= eps + 1e-6 and 0 <= float(adv.min()) and float(adv.max()) <= 1
        assert bool((adv != clean).flatten(1).any(1).all())
    similar, model = ((labels @ labels.T) > 0).float(), task.model
    with torch.no_grad():
        u, t = relax(model.image.logits(x)), relax(model.text.logits(bags))
        u_adv, t_adv = relax(model.image.logits(x_adv)), relax(model.text.logits(bags_adv))
        for clean, attacked, other in ((u, u_adv, t), (t, t_adv, u)):
            worse = cross_likelihood(attacked, other, similar, balance=True)
            assert float(worse) > float(cross_likelihood(clean, other, similar, balance=True))
        if isinstance(task, DcmhTask):  # and so does the loss that training lowers
            for clean, attacked, memory in ((u, u_adv, task.g), (t, t_adv, task.f)):
                losses = [
                    dcmh(v, labels, memory, task.labels, task.codes[rows], gamma=0.1, eta=0.1)
                    for v in (clean, attacked)
                ]
                assert float(losses[1]) > float(losses[0])


def test_minmax_leaves_the_codes_of_the_other_modality(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, rows = inner_of(place, "dcmh", tmp_path, monkeypatch), torch.arange(BATCH)
    task = inner.task
    x, bags, labels = task.pairs.pictures(rows), task.bags[rows], task.labels[rows]
    asked: list[Any] = []
    monkeypatch.setattr(cross_modal, "adversaries", lambda attack, model, x, target, *rest: asked.append(target) or x)
    inner.pictures(1 - x, labels, batch_of(*rows.tolist()))  # as if these were its random views
    inner.bags(bags, labels, batch_of(*rows.tolist()))
    with torch.no_grad():
        view, image, text = task.model.image.code(1 - x), task.model.image.code(x), task.model.text.code(bags)
    assert not torch.equal(image, text)
    similar = ((labels @ labels.T) > 0).float()
    for target, own, other in ((asked[0], view, text), (asked[1], text, image)):
        assert torch.equal(target.own, own) and torch.equal(target.other, other)
        assert torch.equal(target.similar, similar)


@pytest.mark.parametrize("kind", METHODS)
def test_minmax_adversaries_are_a_function_of_the_step_and_leave_the_model_alone(
    kind: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = inner_of(place, kind, tmp_path, monkeypatch)
    task, rows = inner.task, torch.arange(6)
    x, bags, labels = task.pairs.pictures(rows), task.bags[rows], task.labels[rows]
    task.model.train()
    before = task.model.digest
    torch.manual_seed(3)
    drawn = torch.random.get_rng_state()
    first, again, other = (inner.pictures(x, labels, batch_of(*range(6), seed=s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    first, again, other = (inner.bags(bags, labels, batch_of(*range(6), seed=s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(drawn, torch.random.get_rng_state()), "the global generator is left alone"
    assert task.model.digest == before and task.model.image.training and task.model.text.training
    assert all(p.requires_grad and p.grad is None for p in task.model.parameters())


def test_batch_norm_learns_nothing_from_attacks_under_way() -> None:
    task = task_of("dcmh", model__backbone="conv8")
    inner = inner_cross(task, hard("minmax").parsed, EPS, 0)
    task.model.train()
    rows = torch.arange(4)
    before = task.model.digest
    inner.pictures(task.pairs.pictures(rows), task.labels[rows], batch_of(0, 1, 2, 3))
    inner.bags(task.bags[rows], task.labels[rows], batch_of(0, 1, 2, 3))
    assert task.model.digest == before and task.model.image.training


def test_minmax_hardly_differs_without_room(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = inner_of(place, "dcmh", tmp_path, monkeypatch, "text_eps=1e-6", eps=1e-6)
    rows = torch.arange(BATCH)
    x = inner.task.pairs.pictures(rows)
    torch.testing.assert_close(
        inner.pictures(x, inner.task.labels[rows], batch_of(*rows.tolist())), x, atol=2e-6, rtol=0
    )


def test_an_intra_weight_changes_what_minmax_makes(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number, intra in enumerate((0, 5)):
        inner = inner_of(place, "dcmh", tmp_path / str(number), monkeypatch, f"intra={intra}", "steps=5")
        assert inner.image.loss.intra == inner.text.loss.intra == intra  # type: ignore[attr-defined]
        rows = torch.arange(BATCH)
        found.append(inner.pictures(inner.task.pairs.pictures(rows), inner.task.labels[rows], batch_of(*rows.tolist())))
    assert not torch.equal(*found)


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("method", ["static", "minmax"])
def test_resume_is_exact_wherever_it_stopped(
    method: str, kind: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = hard(method, EACH, "augment=flip", "attack_steps=5")
    whole = run(place, kind, request, tmp_path / "whole")
    for after in (1, 5):
        folder = tmp_path / f"cut{after}"
        with pytest.raises(Killed):
            run(place, kind, request, folder, progress=killer(after))
        assert not (folder / CARD).exists() and (folder / MADE).exists() == (method == "static")
        with monkeypatch.context() as patch:
            if method == "static":  # what was attacked is not attacked again
                patch.setattr(cross_modal, "cmla", None)
                patch.setattr(cross_modal, "cmla_text", None)
            again = run(place, kind, request, folder)
        assert again.fresh and again.model.digest == whole.model.digest and again.card == whole.card
        assert parts_of(folder) == parts_of(tmp_path / "whole")
        assert not (folder / MADE).exists() and not (folder / "checkpoint.pt").exists()


def test_adversaries_of_another_run_are_made_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = begun(place, "dcmh", hard("static", "attack_steps=5"), tmp_path, monkeypatch)
    with np.load(tmp_path / MADE) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    other: dict[str, Any] = {"pixels": 0 * kept["pixels"], "bags": 0 * kept["bags"], "run": np.array("another")}
    write_npz(tmp_path / MADE, other)
    again = begun(place, "dcmh", hard("static", "attack_steps=5"), tmp_path, monkeypatch)
    assert torch.equal(again.pairs.pictures(torch.arange(54)), task.pairs.pictures(torch.arange(54)))
    assert torch.equal(again.pairs.bags, task.pairs.bags)
    np.savez(tmp_path / MADE, **other)  # without the hash that ours has
    with pytest.raises(RequestError, match="is damaged"):
        run(place, "dcmh", hard("static", "attack_steps=5"), tmp_path)
    (tmp_path / MADE).write_bytes(b"torn")
    with pytest.raises(RequestError, match="not a readable"):
        run(place, "dcmh", hard("static", "attack_steps=5"), tmp_path)
    done = run(place, "dcmh", hard("static", "attack_steps=5"), tmp_path, restart=True)
    assert done.fresh and not (tmp_path / MADE).exists()


@pytest.mark.parametrize("method", sorted(CROSS_DEFENSES))
def test_the_card_and_the_folder(method: str, place: Place, tmp_path: Path) -> None:
    start, start_card, start_texts = load_cross(place.starts["ssah"])
    files = {path.name: path.read_bytes() for path in place.starts["ssah"].iterdir()}
    request = hard(method, "attack_steps=3", seed=7)
    done = run(place, "ssah", request, tmp_path / "a")
    model, card, texts = load_cross(tmp_path / "a")
    assert model.digest == done.model.digest != start.digest and card == done.card and texts == done.text_card
    assert card.parent == start.digest and (card.method, card.settings) == ("ssah", start_card.settings)
    assert (card.seed, card.fit, card.title) == (start_card.seed, start_card.fit, start_card.title)
    facts = card.defense
    assert (facts["method"], facts["eps"], facts["norm"], facts["seed"]) == (method, EPS, "linf", 7)
    assert facts["title"] == CROSS_DEFENSES[method] and facts["objective"] == "ssah"
    assert facts["settings"] == request.settings and facts["settings"]["text_eps"] == TEXT_EPS
    assert card.recipe["epochs"] == 2 and card.recipe["batch_size"] == BATCH
    assert card.data["split"]["digest"] == place.world[1].digest and card.data["source"] is None
    assert model.vocabulary.digest == start.vocabulary.digest and texts.texts == start_texts.texts
    assert texts.partner == model.image.digest
    assert {path.name: path.read_bytes() for path in place.starts["ssah"].iterdir()} == files, "the start is as it was"
    again = run(place, "ssah", request, tmp_path / "a")
    assert not again.fresh and again.card == card
    with pytest.raises(StaleError, match="holds another run, or one from another model"):
        run(place, "ssah", hard(method, "attack_steps=3", seed=8), tmp_path / "a")
    with pytest.raises(StaleError, match="holds another run, or one from another model"):
        run(place, "dcmh", request, tmp_path / "a")


@pytest.mark.parametrize("kind", METHODS)
def test_a_frozen_network_stays_as_it_is_and_what_stands_above_it_learns(
    kind: str, place: Place, tmp_path: Path
) -> None:
    before = load_cross(place.starts[kind])[0]
    found = run(place, kind, hard("static", "freeze=true"), tmp_path / "frozen")
    after, card, _ = load_cross(tmp_path / "frozen")
    assert card.recipe["freeze"] is True and found.fresh
    old, new = before.image.trunk.state_dict(), after.image.trunk.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert not torch.equal(before.image.head.weight, after.image.head.weight)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(before.text.state_dict().values(), after.text.state_dict().values(), strict=True)
    )
    assert "freeze" not in hard("static").training.model_dump()  # folders of before keep their names
    free = _words({"method": "static", "training.freeze": True})
    assert free.training.augment == "none"


def test_a_hardened_model_can_be_hardened_again(place: Place, tmp_path: Path) -> None:
    first = run(place, "ssah", hard("control", training__epochs=1), tmp_path / "a")
    second = train(hard("control", training__epochs=1), *place.world, tmp_path / "b", start=[tmp_path / "a"])
    assert second.card.parent == first.model.digest != second.model.digest


@pytest.mark.parametrize("method", sorted(CROSS_DEFENSES))
def test_parts_are_loaded_and_go_on_learning(
    method: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = hard(method, "attack_steps=3")
    task = begun(place, "ssah", request, tmp_path, monkeypatch)
    assert isinstance(task, SsahTask)
    before = parts_of(place.starts["ssah"])
    trained = {name: value.clone() for name, value in task.parts.state_dict().items()}
    fresh = task_of("ssah")
    assert fresh.parts is not None
    assert not all(torch.equal(value, trained[name]) for name, value in fresh.parts.state_dict().items())
    nets = {name: copy_of(net) for name, net in task.parts.named_children()}
    run(place, "ssah", request, tmp_path)
    after = parts_of(tmp_path)
    assert before[PARTS] != after[PARTS]
    start = read_safetensors(place.starts["ssah"] / PARTS)
    assert all(torch.equal(value, trained[name]) for name, value in start.items())
    task.parts.load_state_dict(read_safetensors(tmp_path / PARTS))
    assert [name for name, net in task.parts.named_children() if not moved(nets[name], net)] == []


def test_dcmh_has_no_parts(place: Place, tmp_path: Path) -> None:
    run(place, "dcmh", hard("control", training__epochs=1), tmp_path)
    assert not (tmp_path / PARTS).exists()


@pytest.mark.parametrize("method", ["static", "minmax"])
def test_same_seed_same_model_other_seed_other_model(method: str, place: Place, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    digests = [
        run(place, "dcmh", hard(method, "attack_steps=3", seed=s), tmp_path / str(i)).model.digest
        for i, s in enumerate((1, 1, 2))
    ]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"


def test_ctrl_c_keeps_what_was_done(place: Place, tmp_path: Path) -> None:
    request = hard("minmax")
    whole = run(place, "dcmh", request, tmp_path / "whole")

    def press(share: float, text: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StoppedError, match="stopped after 0 of 2 epochs and 1 steps"):
        run(place, "dcmh", request, tmp_path / "cut", progress=press)
    assert run(place, "dcmh", request, tmp_path / "cut").model.digest == whole.model.digest


# --- refused ----------------------------------------------------------------------------------------------------------


def test_what_hardening_refuses(place: Place, tmp_path: Path) -> None:
    (dataset, split), start = place.world, place.starts["dcmh"]
    with pytest.raises(RequestError, match="is the model to harden; `out` must be another folder"):
        run(place, "dcmh", hard("static"), start)
    with pytest.raises(RequestError, match="is the model to harden"):
        run(place, "dcmh", hard("static"), start / ".." / "dcmh", restart=True)
    assert load_cross(start)[1].method == "dcmh"
    with pytest.raises(RequestError, match="blobs has no texts"):
        train(hard("static"), replace(dataset, texts=None), split, tmp_path / "m", start=[start])
    bare = replace(dataset, labels=np.zeros_like(dataset.labels))
    with pytest.raises(RequestError, match="blobs has no labels; dcmh needs them"):
        train(hard("static"), bare, split, tmp_path / "m", start=[start])
    foreign = replace(dataset, texts=("quite other words",) * len(dataset))
    with pytest.raises(RequestError, match="0 training pictures have a text with a known word; at least 2"):
        train(hard("static"), foreign, split, tmp_path / "m", start=[start])
    assert not (tmp_path / "m").exists()
    model, card, _ = load_cross(start)
    save_model(model.image, tmp_path / "image", **card.model_dump(include={"method", "settings", "data"}))
    with pytest.raises(RequestError, match="has no text side; cross-modal models: hamguard train --method dcmh"):
        train(hard("static"), dataset, split, tmp_path / "m", start=[tmp_path / "image"])
    with pytest.raises(RequestError, match="is not a model folder"):
        train(hard("static"), dataset, split, tmp_path / "m", start=[tmp_path / "nothing"])
    (tmp_path / "file").write_text("dear to me")
    with pytest.raises(RequestError, match="is a file"):
        run(place, "dcmh", hard("static"), tmp_path / "file")
    with pytest.raises(RequestError, match="holds other files"):
        run(place, "dcmh", hard("static"), place.starts["ssah"])
    with pytest.raises(RunError, match="cannot write"):
        run(place, "dcmh", hard("static"), tmp_path / "file" / "m")


def test_ssah_without_its_parts_is_refused(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.starts["ssah"], tmp_path / "start")
    (tmp_path / "start" / PARTS).unlink()
    with pytest.raises(RequestError, match="no weight file at .*parts.safetensors"):
        train(hard("minmax"), *place.world, tmp_path / "m", start=[tmp_path / "start"])


def test_pairs_without_text_are_left_out(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, split = place.world
    texts = list(dataset.texts or ())
    texts[0], texts[5] = "", "unheard-of"
    holed = Place((replace(dataset, texts=tuple(texts)), split), place.starts)
    task = begun(holed, "dcmh", hard("control"), tmp_path, monkeypatch)
    assert task.items == 17 + 34  # half of 34 in front
    assert torch.equal(task.pairs.pictures(torch.tensor([0, 17])), dataset.images.batch([1, 1]))


def test_nan_loss_and_collapse_are_told(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cross_task, "dcmh", lambda own, *rest, **named: own.sum() * float("nan"))
        with pytest.raises(RunError, match="the loss became nan in epoch 1, step 1"):
            run(place, "dcmh", hard("control"), tmp_path / "nan")
    monkeypatch.setattr(cross_task, "dcmh", lambda own, *rest, **named: (own - 1).square().mean())
    with pytest.raises(CollapseError, match="the codes collapsed"):
        run(place, "dcmh", hard("control", "lr=0.05", "batch_size=6", training__epochs=8), tmp_path / "one")
    assert not (tmp_path / "one" / CARD).exists() and (tmp_path / "one" / RUN).exists()


@pytest.mark.parametrize(("sets", "flags", "message"), [
    (["shaer=0.2"], {}, r"unknown key shaer of a cross-modal defense; did you mean share\?"),
    (["gamma=1"], {}, "unknown key gamma of a cross-modal defense; allowed: share, attack_steps"),
    (["patience=3"], {}, "unknown key patience of a cross-modal defense"),
    (["share"], {}, "--set share: must be key=value"),
    (["share=0"], {}, "settings.share: input should be greater than 0, got 0"),
    (["share=1.5"], {}, "settings.share: input should be less than or equal to 1, got 1.5"),
    (["text_eps=much"], {}, "settings.text_eps: .*eps must be a number such as 0.03 or 8/255, got 'much'"),
    (["text_eps=2/1"], {}, "settings.text_eps: input should be less than or equal to 1"),
    (["steps=0"], {}, "settings.steps: input should be greater than or equal to 1, got 0"),
    (["intra=-1"], {}, "settings.intra: input should be greater than or equal to 0, got -1"),
    (["epochs=0"], {}, "training.epochs: input should be greater than or equal to 1, got 0"),
    ([], {"method": "saat"}, "unknown defense of a cross-modal model 'saat'; allowed: static, control, minmax"),
    ([], {"eps": 8.0}, "eps: input should be less than or equal to 1, got 8.0"),
    (["freeze=true"], {"method": "minmax"}, "minmax makes new pictures in every step, whose features cannot be kept"),
    (["freeze=true", "augment=flip"], {}, "a frozen backbone sees each picture once"),
])  # fmt: skip
def test_a_wrong_word_explains_itself(sets: list[str], flags: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        _words(flags, sets)


def test_a_request_and_its_defaults() -> None:
    request = _words({"method": "static", "seed": None}, ["text_eps=5/255", "epochs=3", "settings.share=0.25"])
    assert request.settings["text_eps"] == pytest.approx(5 / 255) and request.settings["share"] == 0.25
    assert request.training.epochs == 3 and request.training.lr == Job(kind="hardened-pair").training.lr
    assert (request.method, request.eps, request.seed) == ("static", 10 / 255, 0)
    assert Job(**request.model_dump(mode="json")) == request
    assert request.digest != _words({"method": "control"}, ["text_eps=5/255"]).digest
