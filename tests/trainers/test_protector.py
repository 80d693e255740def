"""Training a protector into a folder, and the four searches on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hamguard.attacks.threat import Linf
from hamguard.core.archives import seal_array
from hamguard.core.context import Context
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.rows import Rows
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.evaluation.protection import four_searches
from hamguard.evaluation.protection.four_searches import SEARCHES, Party, Sides, needed, run_cell
from hamguard.evaluation.protection.protections import by_attack, by_noise, by_protector, mixed, protected_pictures
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS
from hamguard.evaluation.reproduce.run import recipe_of
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.plan import protector_request
from hamguard.evaluation.study.recipe import read_study
from hamguard.evaluation.study.searches import Searches
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.models.protector_store import CARD, WEIGHTS, load_protector
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Start
from hamguard.trainers.protector import new_game
from hamguard.trainers.words import read_job
from tests.trainers.runs import train
from tests.trainers.test_generator import Killed, make_place

FAST = ("epochs=2", "batch_size=16", "warmup=5", "checkpoint_seconds=0.000001")


@pytest.fixture(scope="module")
def place() -> tuple[Dataset, Split]:
    return make_place()[1:]


def words(flags: dict[str, Any], sets: Sequence[str] = ()) -> Job:
    return read_job({}, flags, sets, kind="protector")


def ask(*sets: str, **flags: Any) -> Job:
    return words({"data.source": "blobs", "settings.eps": "0.3", **flags}, [*FAST, *sets])


@pytest.mark.parametrize("game", ["one-step", "two-step", "frozen"])
def test_resume_is_exact_wherever_it_stopped(place: tuple[Dataset, Split], tmp_path: Path, game: str) -> None:
    whole = tmp_path / "whole"
    train(ask(f"game={game}"), *place, whole)
    for after in (1, 4):
        seen: list[float] = []

        def kill(share: float, text: str, seen: list[float] = seen, after: int = after) -> None:
            seen.append(share)
            if len(seen) == after:
                raise Killed

        folder = tmp_path / f"cut{after}"
        with pytest.raises(Killed):
            train(ask(f"game={game}"), *place, folder, progress=kill)
        assert not (folder / CARD).exists()
        done = train(ask(f"game={game}"), *place, folder)
        assert done.fresh
        assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
        assert not (folder / "checkpoint.pt").exists()
    again = train(ask(f"game={game}"), *place, whole)
    assert not again.fresh
    assert again.card.history[-1]["moved_bits"] >= 0


def test_the_published_form_goes_over_all_batches_in_each_of_its_iterations() -> None:
    """Algorithm 1: t outer iterations, each over all n / m batches; with t batches in all, the generator hardly begins."""
    job = words({"data.source": "fashion-mnist", "preset": "paper"})
    assert (job.training.epochs, job.training.batch_size) == (1000, 512)
    assert job.parsed.warmup == 0 and not job.parsed.balance and job.parsed.normalize == "sum"
    recipe = read_study(recipe_of(EXPERIMENTS["ppl-table1"], "paper"))
    for name, epochs, batch in (("cifar10", 500, 32), ("imagenet", 500, 32), ("fashion", 1000, 512)):
        part = recipe.protections[f"ppl-{name}"]
        asked = protector_request(part, recipe.sources[part.data[0]], part.eps[0], 0).training
        assert (asked.epochs, asked.batch_size) == (epochs, batch)


def test_bounds_of_other_norms_reach_pictures_and_rows(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, _ = place
    net = train(ask("norm=l2", **{"settings.eps": "2.5"}), *place, tmp_path / "p").model
    protection = by_protector(net)
    assert (protection.norm, protection.eps, protection.facts["norm"]) == ("l2", 2.5, "l2")
    rows = np.arange(8)
    protected = protected_pictures(dataset.images, rows, protection).batch(rows)
    length = torch.linalg.vector_norm((protected - dataset.images.batch(rows)).flatten(1), dim=1)
    assert float(length.max()) <= 2.5 + 1e-5 and float(length.min()) > 0.5
    with pytest.raises(RequestError, match="did you mean 2.5/255"):
        ask(**{"settings.eps": "2.5"})


def test_a_surrogate_that_plays_learns_its_statistics(place: tuple[Dataset, Split]) -> None:
    data = Data(*place)
    for sets, given, wanted in (((), [], "batch"), (("game=frozen",), [], "kept"), ((), [make_place()[0]], "kept")):
        assert new_game(ask(*sets), given, data).rules.statistics == wanted
    assert new_game(ask("statistics=kept"), [], data).rules.statistics == "kept"


def test_another_run_is_not_trained_over(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    train(ask(), *place, tmp_path / "p")
    before = (tmp_path / "p" / WEIGHTS).read_bytes()
    with pytest.raises(StaleError, match="holds another run"):
        train(ask("beta=3"), *place, tmp_path / "p")
    assert (tmp_path / "p" / WEIGHTS).read_bytes() == before
    train(ask("beta=3"), *place, tmp_path / "p", restart=True)
    assert (tmp_path / "p" / WEIGHTS).read_bytes() != before


def test_given_surrogates_need_no_warm_up_and_are_named(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    model = make_place()[0]
    before = model.digest
    done = train(ask("game=frozen"), *place, tmp_path / "p", start=[Start("mine", model)])
    assert done.card.surrogates == [before]
    assert done.card.surrogate_names == ["mine"]
    other = HashModel("conv2", 8, channels=1, size=(20, 20), generator=torch_generator(0))
    card = train(ask("part=14", "jpeg=true"), *place, tmp_path / "s", start=[Start("a", model), Start("b", other)]).card
    assert card.surrogate_names == ["a", "b"]  # each sees parts of 14 pixels at its own size
    with pytest.raises(RequestError, match="parts of 17 pixels do not fit into pictures of 16x16"):
        train(ask("part=17"), *place, tmp_path / "q")
    blank = replace(place[0], labels=np.zeros((96, 0), np.uint8), class_names=())
    with pytest.raises(RequestError, match="no labels.*similarity=views"):
        train(ask(), blank, place[1], tmp_path / "q")
    assert train(ask("similarity=views", "warmup=2"), blank, place[1], tmp_path / "r").fresh


def test_constant_codes_are_said(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    model = make_place()[0]
    model.head.weight.data.zero_()
    model.head.bias.data.fill_(1)
    card = train(ask("game=frozen"), *place, tmp_path / "p", start=[Start("flat", model)]).card
    assert "became constant" in card.notes[0]
    with pytest.raises(RequestError, match="epochs"):
        ask("epochs=0")


@pytest.mark.parametrize(
    ("sets", "match"),
    [
        (["normalise=mean"], "unknown key normalise; did you mean normalize"),
        (["patience=3"], "unknown key patience"),
        (["game=three"], "settings.game"),
        (["eps=8"], "did you mean 8/255"),
        (["width=huge"], "settings.width"),
        (["width"], "must be key=value"),
    ],
)
def test_wrong_words_are_one_line(sets: list[str], match: str) -> None:
    with pytest.raises(RequestError, match=match):
        words({"data.source": "digits"}, sets)


def test_the_presets_are_the_printed_numbers() -> None:
    paper = words({"data.source": "digits", "preset": "paper"})
    assert (paper.parsed.alpha, paper.parsed.beta, paper.parsed.gamma, paper.parsed.lam) == (1, 10, 1, 1)
    assert (paper.parsed.normalize, paper.parsed.warmup, paper.parsed.bits) == ("sum", 0, 8)
    assert not paper.parsed.balance
    assert (paper.training.lr, paper.parsed.surrogate_rate, paper.training.optimizer) == (1e-4, 1e-3, "sgd")
    assert (paper.training.batch_size, paper.training.clip_norm) == (512, 0.0)
    mine = words({"data.source": "digits"})
    assert mine.parsed.game == "one-step"  # the two-player game stays the default
    assert (mine.parsed.alpha, mine.parsed.beta, mine.parsed.gamma, mine.parsed.normalize) == (1, 10, 1, "sum")


def small_protector(eps: float = 0.3) -> Protector:
    net = Protector(1, "small", eps, torch_generator(3))
    with torch.no_grad():
        for _ in range(20):
            net.train().noise(torch.rand(8, 1, 16, 16, generator=torch_generator(1)))
    return net.eval().requires_grad_(False)


def test_protections_stay_inside_the_bound_after_rounding(place: tuple[Dataset, Split]) -> None:
    dataset, split = place
    rows = needed(split, 3)
    assert set(rows.tolist()) == {*split.train.tolist(), *split.database.tolist(), *split.query[:3].tolist()}
    clean = dataset.images.array.astype(int)
    for protection in (by_protector(small_protector()), by_noise(0.3, 0), by_attack(make_place()[0], 0.3, 2, 0)):
        found = protected_pictures(dataset.images, rows, protection).array.astype(int)
        change = np.abs(found - clean)
        assert change[rows].max() <= int(0.3 * 255)
        assert change[rows].max() >= 10
        left = np.setdiff1d(np.arange(96), rows)
        assert not change[left].any()
    noise = protected_pictures(dataset.images, rows, by_noise(0.3, 0)).array.astype(int)
    inside = (clean > 80) & (clean < 170)
    inside[np.setdiff1d(np.arange(96), rows)] = False
    assert set(np.abs(noise - clean)[inside].tolist()) == {76}  # every value moves by eps
    parts = [protected_pictures(dataset.images, rows[a:b], by_noise(0.3, 0)).array for a, b in ((0, 7), (7, None))]
    assert np.array_equal(parts[0][rows[:7]], noise[rows[:7]])
    assert np.array_equal(parts[1][rows[7:]], noise[rows[7:]])


def test_what_is_slow_is_kept_and_views_come_after(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, split = place
    plain = by_protector(small_protector())
    seen = replace(plain, views=("bits:2",))
    assert plain.digest != seen.digest
    out = protected_pictures(dataset.images, needed(split, None), seen, keep=tmp_path)
    assert len(np.unique(out.array[split.train])) <= 4
    kept = list(tmp_path.glob("*.npy"))
    assert len(kept) == 1
    marked = np.load(kept[0])
    marked[:] = 7
    np.save(kept[0], marked)
    seal_array(kept[0], digest_array(marked))
    assert (protected_pictures(dataset.images, needed(split, None), seen, keep=tmp_path).array == 7).all()
    np.save(kept[0], marked - 1)  # not what the hash beside it says
    again = protected_pictures(dataset.images, needed(split, None), seen, keep=tmp_path)
    assert np.array_equal(again.array, out.array)
    with pytest.raises(RequestError, match="unknown view"):
        protected_pictures(dataset.images, split.train, replace(plain, views=("shake:3",)))


def test_the_mix_holds_the_asked_share(place: tuple[Dataset, Split]) -> None:
    dataset, split = place
    white = ImageStore(np.full_like(dataset.images.array, 255))
    for ratio in (0.0, 0.25, 1.0):
        found = mixed(dataset.images, white, split.train, ratio, 0)
        changed = (found.array == 255).all((1, 2))
        assert changed[split.train].sum() == round(ratio * len(split.train))
        assert not changed[split.query].any()
    with pytest.raises(RequestError, match="must be in"):
        mixed(dataset.images, white, split.train, 1.5, 0)


def test_four_searches_take_queries_and_database_from_their_domains(
    place: tuple[Dataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where protection shuffles the classes, a model trained on C finds across domains what the shuffle says, not the labels."""
    dataset, split = place
    kinds = dataset.labels.argmax(1)
    shuffled = dataset.images.array.copy()
    for kind in range(3):  # the "protected" pictures of a class look exactly like those of the next one
        mine, others = np.flatnonzero(kinds == kind), np.flatnonzero(kinds == (kind + 1) % 3)
        shuffled[mine] = dataset.images.array[others]
    protected = ImageStore(shuffled)
    protection = by_noise(1.0, 0)
    sides = Sides(dataset, protected, split, protection)
    flags = {
        "method": "dpsh",
        "data.source": "blobs",
        "model.bits": 16,
        "training.epochs": 25,
        "training.batch_size": 16,
    }
    party = Party(read_job({}, flags), 0.0)
    searches = Searches("mine", Cells(tmp_path), sides, tmp_path / "models", Context())
    searches._made.append(sides)
    rows = searches.rows(party, [party])
    found = {task: Rows(rows).where(task=task).one().value for task in ("C->C", "C->A", "A->C", "A->A")}
    assert found["C->C"] > 0.9
    assert found["A->A"] > 0.9  # the shuffle is the same on both sides
    assert max(found["C->A"], found["A->C"]) < 0.4
    assert [row.task for row in rows] == [f"{a}->{b}" for a, b in SEARCHES]
    assert {row.train for row in rows} == {"C"}
    monkeypatch.setattr(four_searches, "run_job", None)  # a cell that is done is read
    assert searches.rows(party, [party]) == rows and len(list(tmp_path.glob("mine-dpsh-16-C-*.jsonl"))) == 1
    with pytest.raises(RequestError, match="0 rows where one was asked for"):
        Rows(rows).where(task="A->learned").one()


def test_learned_codes_and_adversarial_training_have_their_rows(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, split = place
    protection = by_noise(0.1, 0)
    sides = Sides(dataset, protected_pictures(dataset.images, needed(split, None), protection), split, protection, 4)
    flags = {"method": "adsh", "data.source": "blobs", "model.bits": 8, "training.epochs": 2}
    rows = run_cell(sides, Party(read_job({}, flags), 1.0), tmp_path)
    assert [row.task for row in rows if row.task and "learned" in row.task] == ["C->learned", "A->learned"]
    assert {row.n for row in rows} == {4}
    assert {row.train for row in rows} == {"A"}
    assert not any(tmp_path.iterdir())
    flags = {"method": "dpsh", "data.source": "blobs", "model.bits": 8, "training.epochs": 2}
    party = Party(read_job({}, flags), 1.0, adversarial=1)
    rows = run_cell(sides, party, tmp_path, keep_models=True)
    assert {row.train for row in rows} == {"A, adversarial training of 1 epochs"}
    cards = [json.loads(p.read_text()) for p in tmp_path.glob("*saat*/card.json")]
    assert [card["defense"]["method"] for card in cards] == ["saat"]
    assert Party(party.request, 0.4).trained_on == "0.4 A"
    seen = read_job({}, {**flags, "training.augment": "flip"})
    assert Party(seen, 0.0).trained_on == "C, random views: flip"


def test_bound_holds_for_another_eps() -> None:
    net = small_protector()
    x = torch.rand(4, 1, 16, 16, generator=torch_generator(0))
    threat = Linf(0.05)
    z = by_protector(net, 0.05).make(x, np.arange(4))
    assert torch.equal(threat.project(z, x), z) or float((z - x).abs().max()) <= 0.05 + 1e-6


def test_load_protector_of_training(place: tuple[Dataset, Split], tmp_path: Path) -> None:
    card = train(ask(), *place, tmp_path / "p").card
    net, again = load_protector(tmp_path / "p")
    assert again == card
    assert (net.eps, card.side, card.data["name"]) == (0.3, 16, "blobs")
