"""Cross-modal training: whose turn it is, what is fixed meanwhile, exact resume, requests, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hamguard.codes.binary import relax, sign
from hamguard.core.errors import CollapseError, RequestError, RunError, StaleError, StoppedError
from hamguard.data.dataset import ImageStore
from hamguard.data.opened import Data
from hamguard.data.texts import texts_of
from hamguard.hashing.cross_modal import cross_likelihood
from hamguard.hashing.dcmh import dcmh
from hamguard.hashing.ssah import discriminate, mislead, ssah
from hamguard.models.cross_modal import PARTS, load_cross
from hamguard.models.vocabulary import Vocabulary
from hamguard.trainers.job import Job
from hamguard.trainers.pair import kept_pairs, new_pair, pair_statistics, pairs_of
from hamguard.trainers.words import read_job, read_recipe
from hamguard.training import cross_task
from hamguard.training.cross_task import DcmhTask, Pairs, SsahTask, fixed
from hamguard.training.loop import fit, make_optimizer
from hamguard.training.recipe import Recipe
from hamguard.training.watch import PATIENCE
from tests.trainers.runs import train
from tests.training.pairs import (
    BATCH,
    BITS,
    CORNERS,
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

METHODS = ("dcmh", "dsph", "ssah")


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def dcmh_task(*sets: str) -> DcmhTask:
    task = task_of("dcmh", *sets)
    assert isinstance(task, DcmhTask)
    return task


def ssah_task(*sets: str) -> SsahTask:
    task = task_of("ssah", *sets)
    assert isinstance(task, SsahTask)
    return task


# --- DCMH -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("turns", "wanted"), [("batch", "ititit"), ("pass", "iiittt")])
def test_only_the_net_whose_turn_it_is_moves(turns: str, wanted: str, tmp_path: Path) -> None:
    task = dcmh_task(f"turns={turns}")
    sides = {"i": task.model.image, "t": task.model.text}
    before = {name: copy_of(side) for name, side in sides.items()}
    seen = ""

    def look(share: float, text: str) -> None:
        nonlocal seen
        changed = [name for name, side in sides.items() if moved(before[name], side)]
        assert len(changed) == 1
        seen += changed[0]
        before.update({name: copy_of(side) for name, side in sides.items()})

    recipe = Recipe(epochs=2, batch_size=BATCH, lr=1e-2, weight_decay=0.1)  # a net that waits must not decay either
    fit(task, recipe, seed=0, folder=tmp_path, run="r", progress=look)
    assert seen == wanted  # three steps an epoch: turns go on over its end


@pytest.mark.parametrize("relaxation", ["tanh", "linear"])
def test_codes_are_the_sign_of_both_outputs_after_an_epoch(relaxation: str, tmp_path: Path) -> None:
    task = dcmh_task(f"relaxation={relaxation}", "gamma=0")  # without a pull, too, B is the sign of the sum
    recipe = Recipe(epochs=2, batch_size=BATCH, lr=1e-2)

    def outputs() -> tuple[Tensor, Tensor]:
        task.model.eval()
        with torch.no_grad():
            z, t = task.model.image.logits(task.pairs.pictures(torch.arange(TRAIN))), task.model.text.logits(task.bags)
        return (relax(z), relax(t)) if relaxation == "tanh" else (z, t)

    task.begin()
    first = task.codes.clone()
    assert torch.equal(first, sign(sum(outputs())))  # type: ignore[arg-type]
    history = fit(task, recipe, seed=0, folder=tmp_path, run="r")
    f, g = outputs()
    torch.testing.assert_close(task.f, f)
    torch.testing.assert_close(task.g, g)
    assert torch.equal(task.codes, sign(f + g)) and not torch.equal(task.codes, first)
    assert history[-1]["code_error"] == pytest.approx(float((task.codes - (f + g) / 2).square().mean()), abs=1e-5)


@pytest.mark.parametrize("against", ["all", "batch"])
def test_a_step_is_the_equation_against_what_is_remembered(against: str) -> None:
    task = dcmh_task(f"against={against}", "gamma=0.7", "eta=0.3", "balance=false")
    task.begin()
    rows = torch.tensor([4, 1, 7, 30])
    weights = {"gamma": 0.7, "eta": 0.3, "balance": False}
    f, g, codes = task.f.clone(), task.g.clone(), task.codes.clone()
    other = rows if against == "batch" else torch.arange(TRAIN)
    with torch.no_grad():
        u = relax(task.model.image.logits(task.pairs.pictures(rows)))
    wanted = dcmh(u, task.labels[rows], g[other], task.labels[other], codes[rows], **weights)  # type: ignore[arg-type]
    loss = task.step(batch_of(*rows.tolist()))
    torch.testing.assert_close(loss.detach(), wanted)
    f[rows] = u  # the image net's outputs of this visit are remembered, nothing else
    torch.testing.assert_close(task.f, f)
    assert torch.equal(task.g, g) and torch.equal(task.codes, codes)
    with torch.no_grad():
        t = relax(task.model.text.logits(task.bags[rows]))
    wanted = dcmh(t, task.labels[rows], f[other], task.labels[other], codes[rows], **weights)  # type: ignore[arg-type]
    torch.testing.assert_close(task.step(batch_of(*rows.tolist())).detach(), wanted)
    g[rows] = t
    torch.testing.assert_close(task.g, g)


def test_printed_sums_count_the_outputs_outside_the_batch() -> None:
    task = dcmh_task("gamma=0", "eta=1", "balance=false", "over=pairs")
    task.begin()
    rows = torch.tensor([4, 1, 7, 30])
    with torch.no_grad():
        f = task.f.clone()
        f[rows] = relax(task.model.image.logits(task.pairs.pictures(rows)))
    free = dcmh(f[rows], task.labels[rows], task.g, task.labels, task.codes[rows], gamma=0, eta=0)
    wanted = free + f.sum(0).square().sum() / (4 * TRAIN)  # F^T 1 has all rows
    torch.testing.assert_close(task.step(batch_of(*rows.tolist())).detach(), wanted)


# --- SSAH -------------------------------------------------------------------------------------------------------------


def nets_of(task: SsahTask) -> dict[str, nn.Module]:
    parts, model = task.parts, task.model
    return {
        "image": model.image.backbone, "image head": model.image.head, "text": model.text.encoder,
        "text head": model.text.head, "label net": parts.label_net, "image label": parts.image_label,
        "text label": parts.text_label, "image critic": parts.image_critic, "text critic": parts.text_critic,
    }  # fmt: skip


def gradients(task: SsahTask, net: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters()), retain_graph=True))


def test_one_step_of_ssah_moves_every_net() -> None:
    task = ssah_task()
    optimizer = make_optimizer(task.parameter_groups(), ask("ssah").training)
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    own = [*task.model.parameters(), *task.parts.parameters()]
    assert known == {id(p) for p in own} and len(own) == sum(len(group["params"]) for group in optimizer.param_groups)
    before = {name: copy_of(net) for name, net in nets_of(task).items()}
    task.step(batch_of(*range(BATCH))).backward()
    optimizer.step()
    still = [name for name, net in nets_of(task).items() if not moved(before[name], net)]
    assert not still, f"{still} learned nothing"


def test_learning_rates_of_the_nets() -> None:
    task = ssah_task("text_lr_factor=2", "label_lr_factor=3", "critic_lr_factor=0.25", "head_lr_factor=4")
    rate = {id(p): group["lr_factor"] for group in task.parameter_groups() for p in group["params"]}
    wanted = {"image": 1, "image head": 4, "text": 2, "text head": 2, "label net": 3, "image label": 3, "text label": 3,
              "image critic": 0.25, "text critic": 0.25}  # fmt: skip
    for name, net in nets_of(task).items():
        assert {rate[id(p)] for p in net.parameters()} == {wanted[name]}, name


@pytest.mark.parametrize("over", ["elements", "pairs"])
def test_a_step_is_the_sum_of_the_equations(over: str) -> None:
    task = ssah_task("delta=0.3", "alpha=0.2", "beta=0.4", "eta=0.5", "gamma=0.9", "cross=0.6", f"over={over}")
    rows = torch.arange(BATCH)
    loss = task.step(batch_of(*rows.tolist())).detach()
    parts, model, labels = task.parts, task.model, task.labels[rows]
    K, C, n = (model.bits, labels.shape[1], TRAIN) if over == "pairs" else (1, 1, 1)
    delta = 0.3 / n
    weights: dict[str, Any] = {"alpha": 0.2, "gamma": 0.9, "beta": 0.4 * K / n, "eta": 0.5 * C / n, "balance": True}
    similar = ((labels @ labels.T) > 0).float()
    with torch.no_grad():
        fl, zl, ll = parts.label_net(labels)
        fv, ft = model.image.features_of(task.pairs.pictures(rows)), model.text.encode(task.bags[rows])
        hl, hv, ht = torch.tanh(zl), torch.tanh(model.image.head(fv)), torch.tanh(model.text.head(ft))
        wanted = ssah(hl, fl, ll, labels, (hl, fl), **weights)
        wanted += ssah(hv, fv, parts.image_label(fv), labels, (hl, fl), **weights)
        wanted += ssah(ht, ft, parts.text_label(ft), labels, (hl, fl), **weights)
        wanted += 0.6 * 2 * cross_likelihood(hv, ht, similar, balance=True)  # S is symmetric
        wanted += discriminate(parts.image_critic(fl), parts.image_critic(fv)) + delta * mislead(parts.image_critic(fv))
        wanted += discriminate(parts.text_critic(fl), parts.text_critic(ft)) + delta * mislead(parts.text_critic(ft))
    torch.testing.assert_close(loss, wanted)


def test_each_critic_learns_from_its_own_features_and_never_from_misleading() -> None:
    """CMLA's code names the image critic in both lists, so that its text critic never learns."""
    task = ssah_task("delta=5")  # large: a leak of misleading into the critics would outweigh their own loss
    rows = torch.arange(BATCH)
    loss = task.step(batch_of(*rows.tolist()))
    with torch.no_grad():
        fl = task.parts.label_net(task.labels[rows])[0]
        features = {"image": task.model.image.features_of(task.pairs.pictures(rows)),
                    "text": task.model.text.encode(task.bags[rows])}  # fmt: skip
    for side, critic in (("image", task.parts.image_critic), ("text", task.parts.text_critic)):
        wanted = gradients(task, critic, discriminate(critic(fl), critic(features[side])))
        assert any(float(value.abs().max()) > 0 for value in wanted)
        torch.testing.assert_close(gradients(task, critic, loss), wanted)


def test_misleading_reaches_image_net_and_text_net_only() -> None:
    losses = []
    for delta in (0.0, 1.0):
        task = ssah_task(f"delta={delta}")
        loss = task.step(batch_of(*range(BATCH)))
        losses.append({name: gradients(task, net, loss) for name, net in nets_of(task).items()})
    for name in losses[0]:
        same = all(torch.allclose(a, b, atol=1e-8) for a, b in zip(losses[0][name], losses[1][name], strict=True))
        assert same == (name not in ("image", "text")), name


def test_the_critics_own_loss_reaches_the_critics_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for there in (True, False):
        if not there:
            monkeypatch.setattr(cross_task, "discriminate", lambda real, fake: 0 * (real.sum() + fake.sum()))
        task = ssah_task("delta=0")
        loss = task.step(batch_of(*range(BATCH)))
        found.append({name: gradients(task, net, loss) for name, net in nets_of(task).items()})
    for name in found[0]:
        same = all(torch.allclose(a, b, atol=1e-8) for a, b in zip(found[0][name], found[1][name], strict=True))
        assert same == (not name.endswith("critic")), name


def test_the_label_net_learns_from_labels_alone() -> None:
    task = ssah_task("delta=1")
    found = [gradients(task, task.parts.label_net, task.step(batch_of(*range(BATCH))))]
    with torch.no_grad():  # other pictures and words, the same labels
        for p in [*task.model.image.backbone.parameters(), *task.model.text.encoder.parameters()]:
            p.mul_(0.5)
    found.append(gradients(task, task.parts.label_net, task.step(batch_of(*range(BATCH)))))
    torch.testing.assert_close(found[0], found[1])


def test_a_fixed_module_passes_gradients_and_takes_none() -> None:
    net = nn.Linear(3, 2)
    x = torch.ones(1, 3, requires_grad=True)
    out = fixed(net)(x)
    assert torch.equal(out, net(x))
    out.sum().backward()
    assert net.weight.grad is None and x.grad is not None and torch.equal(x.grad[0], net.weight.detach().sum(0))


# --- adversaries ------------------------------------------------------------------------------------------------------


class Negatives:
    """Adversaries that can be recognized, and what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Tensor]] = []

    def pictures(self, x: Tensor, labels: Tensor, batch: Any) -> Tensor:
        self.asked.append(("pictures", labels))
        return 1 - x

    def bags(self, bags: Tensor, labels: Tensor, batch: Any) -> Tensor:
        self.asked.append(("bags", labels))
        return 1 - bags


@pytest.mark.parametrize("method", METHODS)
def test_adversaries_double_the_batch_and_repeat_the_labels(method: str) -> None:
    task = task_of(method, "augment=flip")
    rows = torch.tensor([3, 9, 14])
    assert len(task.pictures_of(batch_of(3, 9, 14))) == 3 and torch.equal(task.rows_of(batch_of(3, 9, 14)), rows)
    task.adversaries = Negatives()
    x, bags = task.pictures_of(batch_of(3, 9, 14)), task.bags_of(batch_of(3, 9, 14))
    assert len(x) == len(bags) == 6
    torch.testing.assert_close(x[3:], 1 - x[:3])  # of the views that are learned from
    assert torch.equal(bags[3:], 1 - bags[:3]) and torch.equal(bags[:3], task.bags[rows])
    assert task.rows_of(batch_of(3, 9, 14)).tolist() == [3, 9, 14, 3, 9, 14]
    assert [what for what, _ in task.adversaries.asked] == ["pictures", "bags"]
    assert all(torch.equal(labels, task.labels[rows]) for _, labels in task.adversaries.asked)


def test_dcmh_learns_adversaries_against_the_same_codes() -> None:
    task = dcmh_task("gamma=0.7", "eta=0.3")
    task.begin()
    task.adversaries = Negatives()
    g, codes, rows = task.g.clone(), task.codes.clone(), torch.tensor([3, 9, 14])
    x = task.pairs.pictures(rows)
    with torch.no_grad():
        u = relax(task.model.image.logits(torch.cat([x, 1 - x])))
    twice = rows.repeat(2)
    wanted = dcmh(u, task.labels[twice], g, task.labels, codes[twice], gamma=0.7, eta=0.3, balance=True)
    torch.testing.assert_close(task.step(batch_of(3, 9, 14)).detach(), wanted)
    torch.testing.assert_close(task.f[rows], u[:3])  # what is remembered is the clean half


def test_ssah_shows_the_label_net_the_labels_twice() -> None:
    task = ssah_task()
    task.adversaries = Negatives()
    seen: list[Tensor] = []
    task.parts.label_net.register_forward_hook(lambda net, given, out: seen.append(given[0]))
    rows = torch.tensor([3, 9, 14])
    task.step(batch_of(3, 9, 14))
    assert len(seen) == 1 and torch.equal(seen[0], task.labels[rows].repeat(2, 1))


# --- whole runs -------------------------------------------------------------------------------------------------------

EACH = "checkpoint_seconds=0.000001"


@pytest.mark.parametrize(("method", "more"), [("dcmh", "turns=batch"), ("dcmh", "turns=pass"), ("ssah", "delta=0.1")])
def test_resume_is_exact_wherever_it_stopped(method: str, more: str, world: World, tmp_path: Path) -> None:
    request = ask(method, EACH, more, "augment=shift-flip", training__epochs=3)
    whole = train(request, *world, tmp_path / "whole")
    kept = [{**json.loads(line), "seconds": 0} for line in (tmp_path / "whole" / "history.jsonl").open()]
    for after in (3, 5, 8):
        folder = tmp_path / f"cut{after}"
        with pytest.raises(Killed):
            train(request, *world, folder, progress=killer(after))
        assert not (folder / "card.json").exists() and (folder / "checkpoint.pt").exists()
        again = train(request, *world, folder)
        assert again.fresh and again.model.digest == whole.model.digest and again.card == whole.card
        assert parts_of(folder) == parts_of(tmp_path / "whole")
        assert [{**json.loads(line), "seconds": 0} for line in (folder / "history.jsonl").open()] == kept
        assert not (folder / "checkpoint.pt").exists()


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_keeps_what_was_done(method: str, world: World, tmp_path: Path) -> None:
    whole = train(ask(method), *world, tmp_path / "whole")
    shares: list[float] = []

    def press(share: float, text: str) -> None:
        if len(shares) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        shares.append(share)

    with pytest.raises(StoppedError, match="stopped after 0 of 2 epochs and 2 steps; .*the same command goes on"):
        train(ask(method), *world, tmp_path / "cut", progress=press)
    shares.clear()
    again = train(ask(method), *world, tmp_path / "cut", progress=lambda share, text: shares.append(share))
    assert len(shares) == 4 and again.model.digest == whole.model.digest


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_weights_other_seed_other_weights(method: str, world: World, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    done = [train(ask(method, training__epochs=1, seed=s), *world, tmp_path / str(i)) for i, s in enumerate((1, 1, 2))]
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"
    assert done[0].model.digest == done[1].model.digest
    assert done[0].model.image.digest != done[2].model.image.digest
    assert done[0].model.text.digest != done[2].model.text.digest
    assert parts_of(tmp_path / "0") == parts_of(tmp_path / "1")


def right_label(model: Any, world: World) -> float:
    """Share of query pictures whose nearest training text, by bits, has their label."""
    dataset, split = world
    texts, labels = texts_of(dataset), torch.from_numpy(dataset.labels)
    query, train = (torch.tensor(part) for part in (split.query, split.train))
    with torch.no_grad():
        q = model.image.code(dataset.images.batch(split.query))
        db = model.text.code(model.vocabulary.bag([texts[i] for i in split.train]))
    near = (q @ db.T).argmax(1)
    return float((labels[query] == labels[train][near]).all(1).float().mean())


@pytest.mark.parametrize(("method", "net"), [("dcmh", "mlp"), ("ssah", "mlp"), ("ssah", "multi-scale")])
def test_pictures_find_texts_of_their_label(method: str, net: str, world: World, tmp_path: Path) -> None:
    done = train(ask(method, f"text_net={net}", training__epochs=20), *world, tmp_path)
    assert right_label(done.model, world) >= 0.75  # a quarter by chance
    assert done.card.statistics["pairs_agreeing_bits"] > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_trains_too(method: str, world: World, tmp_path: Path) -> None:
    done = train(ask(method, "precision=bfloat16", training__epochs=1), *world, tmp_path)
    assert all(p.dtype == torch.float32 for p in done.model.parameters())


def test_card_and_folder_tell_what_was_done(world: World, tmp_path: Path) -> None:
    done = train(ask("ssah", "eta=0.25", seed=5), *world, tmp_path)
    model, card, text_card = load_cross(tmp_path)
    assert model.digest == done.model.digest and card == done.card and text_card == done.text_card
    assert card.method == "ssah" and card.title.startswith("SSAH") and card.seed == 5 and card.settings["eta"] == 0.25
    assert card.recipe["epochs"] == 2 and card.recipe["batch_size"] == BATCH and card.bits == BITS
    assert card.data["split"]["digest"] == world[1].digest and card.data["class_names"] == list(world[0].class_names)
    assert text_card.texts == {"training": TRAIN, "without_text": 0, "unknown_words_only": 0}
    assert "a" not in text_card.words and "north west" in text_card.words
    assert (tmp_path / PARTS).is_file()
    again = train(ask("ssah", "eta=0.25", seed=5), *world, tmp_path)
    assert not again.fresh and again.model.digest == done.model.digest
    with pytest.raises(StaleError, match="holds another run; give another `out`, or `restart`"):
        train(ask("ssah", "eta=0.5"), *world, tmp_path)
    other = train(ask("dcmh"), *world, tmp_path, restart=True)
    assert other.fresh and other.card.method == "dcmh" and not (tmp_path / PARTS).exists()


# --- refused ----------------------------------------------------------------------------------------------------------


def test_what_training_refuses(world: World, tmp_path: Path) -> None:
    dataset, split = world
    with pytest.raises(RequestError, match="blobs has no texts; cross-modal work needs one a picture"):
        train(ask("dcmh"), replace(dataset, texts=None), split, tmp_path / "m")
    with pytest.raises(RequestError, match="has no texts"):
        texts_of(replace(dataset, texts=(" ",) * len(dataset)))
    bare = replace(dataset, labels=np.zeros_like(dataset.labels))
    with pytest.raises(RequestError, match="blobs has no labels; dcmh needs them"):
        train(ask("dcmh"), bare, split, tmp_path / "m")
    alike = replace(dataset, labels=np.ones_like(dataset.labels))
    with pytest.raises(
        RequestError, match="all 36 training pictures of blobs have the same labels; dcmh needs at least two"
    ):
        train(ask("dcmh"), alike, split, tmp_path / "m")
    with pytest.raises(RequestError, match="at least 2 pairs, the train split has 1"):
        train(ask("dcmh"), dataset, replace(split, train=split.train[:1]), tmp_path / "m")
    with pytest.raises(RequestError, match="cannot take pictures of 16x16"):
        train(ask("dcmh", model__backbone="alexnet"), dataset, split, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    (tmp_path / "file").write_text("dear to me")
    with pytest.raises(RequestError, match="is a file"):
        train(ask("dcmh"), dataset, split, tmp_path / "file")
    with pytest.raises(RequestError, match="holds other files"):
        train(ask("dcmh"), dataset, split, tmp_path)
    with pytest.raises(RunError, match="cannot write"):
        train(ask("dcmh"), dataset, split, tmp_path / "file" / "m")


def test_a_picture_without_text_is_an_error_or_left_out(world: World, tmp_path: Path) -> None:
    dataset, split = world
    texts = list(dataset.texts or ())
    texts[7], texts[9] = "", "entirely unheard-of"
    holed = replace(dataset, texts=tuple(texts))
    with pytest.raises(RequestError, match="1 of 36 training pictures have no text, first blob7"):
        train(ask("dcmh"), holed, split, tmp_path / "m")
    done = train(ask("dcmh", "without_text=drop", training__epochs=1), holed, split, tmp_path / "m")
    assert done.text_card.texts == {"training": 34, "without_text": 1, "unknown_words_only": 1}


def test_kept_pairs_are_counted(world: World) -> None:
    dataset, _ = world
    texts = list(dataset.texts or ())
    texts[0], texts[2], texts[3] = "north", " ", "unheard-of"
    holed, words = replace(dataset, texts=tuple(texts)), Vocabulary(("north", "south"), 1)
    kept, counts = kept_pairs(holed, np.array([5, 3, 2, 0]), words, drop=True)
    assert kept.tolist() == [5, 0] and counts == {"training": 2, "without_text": 1, "unknown_words_only": 1}
    with pytest.raises(RequestError, match="1 of 4 training pictures have no text, first blob2; .*without_text=drop"):
        kept_pairs(holed, np.array([5, 3, 2, 0]), words, drop=False)
    kept, counts = kept_pairs(holed, np.array([5, 3, 0]), words, drop=False)  # unknown words are no error
    assert kept.tolist() == [5, 0] and counts["unknown_words_only"] == 1
    with pytest.raises(RequestError, match="1 training pictures have a text with a known word; at least 2"):
        kept_pairs(holed, np.array([3, 2, 0]), words, drop=True)
    with pytest.raises(RequestError, match="0 training pictures have a text with a known word"):
        kept_pairs(holed, np.array([], dtype=np.int64), words, drop=False)
    with pytest.raises(RequestError, match="has no texts"):
        kept_pairs(replace(dataset, texts=None), np.array([0, 1]), words, drop=True)


def test_pairs_stand_together(world: World) -> None:
    dataset, _ = world
    words = Vocabulary(("north", "south", "east"), 1)
    pairs = pairs_of(dataset, np.array([6, 1, 11]), words)
    for number, row in enumerate((6, 1, 11)):
        north_south, east_west = CORNERS[row % 4].split()
        wanted = [float(north_south == "north"), float(north_south == "south"), float(east_west == "east")]
        assert pairs.bags[number].tolist() == wanted
        assert pairs.labels[number].tolist() == dataset.labels[row].tolist()
        assert torch.equal(pairs.pictures(torch.tensor([number])), dataset.images.batch([row]))
    assert len(pairs) == 3
    store = ImageStore(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(
        RequestError, match="one text and one label row a picture, got 3 pictures, 2 texts, 3 label rows"
    ):
        Pairs(store, np.arange(3), torch.zeros(2, 5), torch.zeros(3, 2))


def test_nan_loss_stops_with_advice(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_task, "dcmh", lambda own, *rest, **named: own.sum() * float("nan"))
    with pytest.raises(RunError, match="the loss became nan in epoch 1, step 1; lower the learning rate"):
        train(ask("dcmh"), *world, tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_collapse_in_the_second_epoch(method: str) -> None:
    task = task_of(method)
    for _ in range(PATIENCE - 1):
        task.watch.look(torch.ones(4, BITS))
    task.end_epoch(0)  # fresh nets may begin so
    task.watch.look(torch.ones(4, BITS))
    with pytest.raises(CollapseError, match="in epoch 2 every picture got the same code. What helps: a lower learning"):
        task.end_epoch(1)


def test_what_is_no_collapse() -> None:
    task = task_of("dcmh")
    for _ in range(PATIENCE - 1):
        task.watch.look(torch.ones(4, BITS))
    assert task.end_epoch(1)["constant_batches"] == 1.0  # too few to say so
    task.watch.look(torch.tensor([[1.0] * BITS, [-1.0] * BITS]))
    facts = task.end_epoch(2)
    assert facts["constant_batches"] == 0 and facts["bit_balance"] == 0
    assert facts["quantization_error"] == pytest.approx((1 - np.tanh(1)) ** 2, rel=1e-5)


@pytest.mark.parametrize(("side", "word"), [("image", "picture"), ("text", "text")])
def test_constant_codes_are_not_saved(side: str, word: str, tmp_path: Path) -> None:
    task = task_of("dcmh")
    head = getattr(task.model, side).head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(1.0)
    with pytest.raises(CollapseError, match=f"every training {word} has the same code. What helps: a lower learning"):
        pair_statistics(task)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("side", ["image", "text"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_outputs_are_not_saved(side: str, value: float, tmp_path: Path) -> None:
    task = task_of("dcmh")
    with torch.no_grad():
        getattr(task.model, side).head.bias.fill_(value)
    with pytest.raises(RunError, match="the trained networks return NaN or infinite numbers; lower the learning rate"):
        pair_statistics(task)
    assert not (tmp_path / "m").exists()


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sets", "flags", "message"), [
    (["gama=1"], {}, r"unknown key gama of dcmh; did you mean gamma\?"),
    (["epocs=1"], {}, r"unknown key epocs of dcmh; did you mean epochs\?"),
    (["alpha=1"], {}, "unknown key alpha of dcmh; allowed: .*gamma"),
    (["patience=2"], {}, "unknown key patience of dcmh"),
    (["gamma"], {}, "--set gamma: must be key=value"),
    (["gamma=-1"], {}, "gamma: input should be greater than or equal to 0, got -1"),
    (["turns=epoch"], {}, "turns: input should be 'batch' or 'pass', got 'epoch'"),
    (["lr=fast"], {}, "lr: input should be a valid number.*got 'fast'"),
    ([], {"preset": "papr"}, r"unknown preset of dcmh 'papr'; allowed: default, paper; did you mean paper\?"),
    ([], {"model.bits": 0}, "bits: input should be greater than or equal to 1, got 0"),
    ([], {"training.epochs": 0}, "epochs: input should be greater than or equal to 1, got 0"),
])  # fmt: skip
def test_a_wrong_word_explains_itself(sets: list[str], flags: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_job({}, {"method": "dcmh", **flags}, sets)


@pytest.mark.parametrize(("recipe", "message"), [
    ({"sed": 1}, r"unknown key sed in the recipe; did you mean seed\?"),
    ({"wholly_other": 1}, "unknown key wholly_other in the recipe; allowed: method, preset, seed, data, model, settings"),
    ({"training": 3}, "training: must be a table of key = value, got 3"),
    ({"settings": {"gama": 1}}, r"unknown key settings.gama in the recipe; did you mean gamma\?"),
    ({"training": {"epoch": 1}}, r"unknown key training.epoch in the recipe; did you mean epochs\?"),
    ({"training": {"patience": 3}}, "unknown key training.patience in the recipe; allowed: epochs"),
    ({"model": {"bit": 8}}, r"unknown key model.bit in the recipe; did you mean bits\?"),
    ({"data": {"sorce": "x"}}, r"unknown key data.sorce in the recipe; did you mean source\?"),
    ({"preset": "papr"}, r"unknown preset of dcmh 'papr'"),
    ({"seed": "x"}, "seed: input should be a valid integer"),
    ({"settings": {"gamma": -1}}, "gamma: input should be greater than or equal to 0"),
])  # fmt: skip
def test_a_wrong_recipe_explains_itself(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_job({"method": "dcmh", **recipe}, {})


def test_an_unknown_method_is_named_with_the_others() -> None:
    with pytest.raises(
        RequestError, match=r"unknown cross-modal method 'sah'; allowed: dcmh, dsph, ssah; did you mean ssah\?"
    ):
        read_job({}, {"method": "sah"}, kind="pair")


def test_a_recipe_file_and_later_words(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'method = "dcmh"\npreset = "paper"\nseed = 3\n[data]\nsource = "scenes"\n[model]\nbits = 16\n'
        "[settings]\ngamma = 0.5\nwords = 200\n[training]\nepochs = 7\nlr = 0.01\n"
    )
    recipe = read_recipe(path)
    request = read_job(recipe, {"training.epochs": None, "model.bits": None})
    assert (request.preset, request.seed, request.data.source, request.network.bits) == ("paper", 3, "scenes", 16)
    assert request.settings["turns"] == "pass" and request.settings["eta"] == 1.0  # of the preset
    assert request.settings["gamma"] == 0.5 and request.settings["words"] == 200  # of the recipe
    assert (
        request.training.epochs == 7 and request.training.schedule == "linear"
    )  # of the preset, where the recipe is silent
    later = read_job(
        recipe, {"model.bits": 24, "seed": 4, "data.source": "digits", "training.epochs": 9, "preset": "default"},
        ["gamma=0.25", "settings.eta=0.75", "training.lr=0.5"],
    )  # fmt: skip
    assert (later.preset, later.seed, later.data.source, later.network.bits) == (None, 4, "digits", 24)
    assert later.settings["gamma"] == 0.25 and later.settings["eta"] == 0.75 and later.settings["turns"] == "batch"
    assert later.training.epochs == 9 and later.training.lr == 0.5


def test_a_request_comes_back_from_its_dump() -> None:
    request = ask("ssah", "delta=0.5")
    assert Job(**request.model_dump(mode="json")) == request
    assert request.parsed.delta == 0.5 and request.parsed.name == "ssah"  # type: ignore[attr-defined]
    assert request.digest == ask("ssah", "delta=0.5").digest != ask("ssah", "delta=0.4").digest


def test_given_weights_change_the_training_defaults() -> None:
    fresh, tuned = (read_job({}, {"method": "dcmh", "model.weights": w}) for w in (None, "w.safetensors"))
    assert tuned.training.head_lr_factor > fresh.training.head_lr_factor
    assert tuned.training.epochs < fresh.training.epochs


def test_a_new_task_follows_its_request(world: World) -> None:
    task = new_pair(ask("ssah", "text_net=multi-scale", "words=3"), Data(*world))
    assert isinstance(task, SsahTask) and len(task.model.vocabulary) == 3 and task.model.text.kind == "multi-scale"
    assert task.model.text.features == task.model.image.features == 16 and task.items == TRAIN
