"""Cross-modal models measured and attacked: four searches, 8-bit pictures, bags, texts read again, and the pairs of a bank."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.losses.cmla import distortion
from hamguard.attacks.methods.cmla import cmla, cmla_text, cmla_words
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.threat import Linf, Threat
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import pack, sign, unpack
from hamguard.core.context import Context, always
from hamguard.core.errors import RequestError, RunError, StoppedError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Modality
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.evaluation.attack import run as running
from hamguard.evaluation.attack.cross_modal import noise_beside, pair_rows
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.ready import make_ready
from hamguard.evaluation.attack.run import AttackedSet
from hamguard.evaluation.attack.spec import AttackSpec, parsed_options
from hamguard.evaluation.ground import SEARCHES, Ground, Loaded, modalities_of
from hamguard.evaluation.search.cross_modal import cross_curves, cross_rows
from hamguard.evaluation.search.score import Convention
from hamguard.models.cross_modal import CrossModel
from hamguard.models.hash_model import HashModel
from hamguard.models.store import Card, make_card
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary
from hamguard.report.attack_table import by_task
from hamguard.retrieval.metrics import mean_average_precision
from hamguard.training import encode
from hamguard.training.encode import text_bank, text_codes

NAMES = ("red", "green", "blue")
QUERY = slice(0, 18)  # rows that ask
N = 60


def pairs_of_colors() -> tuple[Dataset, Split]:
    """Faint gray prototypes with grain, one a color; the text names the color, and two queries say nothing that is known."""
    kinds = np.arange(N) % 3
    prototypes = np.random.default_rng(9).uniform(-60, 60, (3, 16, 16))
    noise = np.random.default_rng(1).uniform(-50, 50, (N, 16, 16))
    images = (128 + prototypes[kinds] + noise).clip(0, 255).astype(np.uint8)
    words = [f"a {NAMES[kind]} thing, {('big', 'small', 'old', 'new')[i % 4]}" for i, kind in enumerate(kinds)]
    words[4], words[9] = "nothing", ""
    labels = np.eye(3, dtype=np.uint8)[kinds]
    ids = np.array([f"pair{i}" for i in range(N)])
    dataset = Dataset("colors", ImageStore(images), labels, NAMES, ids, tuple(words), notes=("drawn",))
    rows = np.arange(N)
    split = Split(rows[18:48], rows[48:54], rows[QUERY], rows[18:], "test", 0, dataset.digest)
    return dataset, split


def ridge(head: nn.Linear, features: Tensor, codes: Tensor) -> None:
    """Fit a head in closed form, so that a test needs no training."""
    middle = features.mean(0)
    flat = features - middle
    gram = flat.T @ flat + 0.05 * flat.square().sum(1).mean() * torch.eye(flat.shape[1])
    weight = torch.linalg.solve(gram, flat.T @ (1.5 * codes))  # (F, K)
    head.weight.data, head.bias.data = weight.T.contiguous(), -(middle @ weight)


@functools.cache
def fitted() -> tuple[CrossModel, Dataset, Split]:
    """Random features, heads fitted to one code a color on the training pairs."""
    dataset, split = pairs_of_colors()
    texts = dataset.texts or ()
    vocabulary = Vocabulary.fit([texts[i] for i in split.train], ngrams=2)
    image = HashModel("conv2", 12, channels=1, size=(16, 16), mean=[0.5], std=[0.25], generator=torch_generator(3))
    text = TextModel("mlp", len(vocabulary), 12, width=24, seed=3)
    codes = sign(torch.rand(3, 12, generator=torch_generator(8)) - 0.5)[torch.from_numpy(split.train % 3)]
    with torch.no_grad():
        ridge(image.head, image.eval().features_of(dataset.images.batch(split.train)), codes)
        ridge(text.head, text.encode(vocabulary.bag([texts[i] for i in split.train])), codes)
    return CrossModel(image, text, vocabulary).freeze(), dataset, split


def new_model() -> CrossModel:
    """A copy that a test may break."""
    model = fitted()[0]
    image = HashModel("conv2", 12, channels=1, size=(16, 16), mean=[0.5], std=[0.25])
    image.load_state_dict(model.image.state_dict())
    text = TextModel("mlp", len(model.vocabulary), 12, width=24)
    text.load_state_dict(model.text.state_dict())
    return CrossModel(image, text, model.vocabulary)


def ground_of(**more: Any) -> Ground:
    model, dataset, split = fitted()
    return opened(model, dataset, split, Context(batch_size=7), make_card(model.image, method="dcmh"), **more)


def opened(
    model: CrossModel,
    dataset: Dataset,
    split: Split,
    context: Context | None = None,
    card: Card | None = None,
    **more: Any,
) -> Ground:
    """Both modalities of a model on its data."""
    loaded = Loaded.open(model, name="toy", card=card or make_card(model.image))
    return Ground.open(loaded, Data(dataset, split), texts="needed", context=context, **more)


@pytest.fixture(scope="module")
def ground() -> Ground:
    """The fitted model on its data; tests read it."""
    return ground_of()


def value(rows: list[Row], task: str, metric: str = "map") -> float:
    (found,) = [row.value for row in rows if row.task == task and row.metric == metric]
    assert found is not None
    return found


def scored(ground: Ground, asks: str, searched: str, code: Tensor | None = None) -> float:
    """MAP of one search by the metric itself, from codes that the nets give now."""
    query, database = ground.search(f"{asks}->{searched}")
    query = query if code is None else replace(query, packed=pack(code))
    return mean_average_precision(query, database).value


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def measured(ground: Ground, attack: Attack[Any], *marks: int, **more: Any) -> Measured:
    """An attack, measured in both searches of its modality."""
    return measure_attack(ground, AttackSpec(attack, across=True, marks=marks), **more)


def noise_of(ground: Ground, attack: Attack[Any], work: Path) -> AttackedSet:
    spec = AttackSpec(attack, across=True)
    return noise_beside(ground, spec, make_ready(ground, spec).own, work=work)


# The pairs of a bank


def test_a_bank_of_pairs_keeps_its_order_from_either_side() -> None:
    codes = [sign(torch.rand(6, 10, generator=torch_generator(seed)) - 0.5) for seed in (1, 2)]
    labels = torch.eye(2)[torch.arange(6) % 2]
    own, other = (CodeBank.of(code, labels, model_hash=f"m{i}") for i, code in enumerate(codes))
    pairs = PairBank.join(own, other)
    assert torch.equal(pairs.codes, codes[0]) and torch.equal(pairs.other_codes, codes[1])
    assert len(pairs) == 6 and pairs.model_hash == "m0"
    turned = pairs.swapped()
    assert torch.equal(turned.codes, codes[1]) and torch.equal(turned.other_codes, codes[0])
    assert turned.swapped().digest == pairs.digest != turned.digest != own.digest
    some = pairs.select(np.array([4, 0]))
    assert isinstance(some, PairBank) and some.ids.tolist() == ["4", "0"]
    assert torch.equal(some.codes, codes[0][[4, 0]]) and torch.equal(some.other_codes, codes[1][[4, 0]])
    masked = pairs.select(np.arange(6) % 2 == 1)
    assert torch.equal(masked.other_codes, codes[1][1::2])
    other_pairs = PairBank.join(own, CodeBank.of(-codes[1], labels))
    assert other_pairs.digest != pairs.digest, "the hash is of both sides"


def test_banks_that_are_no_pairs_are_refused() -> None:
    codes = sign(torch.rand(6, 10, generator=torch_generator(1)) - 0.5)
    bank = CodeBank.of(codes, torch.eye(6))
    wrong = "banks of pairs must hold the same items in the same order, with codes of one length"
    with pytest.raises(RequestError, match=wrong):
        PairBank.join(bank, bank.select(np.arange(6)[::-1]))
    with pytest.raises(RequestError, match=wrong):
        PairBank.join(bank, CodeBank.of(codes[:, :9], torch.eye(6)))
    with pytest.raises(RequestError, match="a bank of pairs needs two codes an item, got 6 and 5"):
        PairBank(bank.packed, 10, bank.labels, other=bank.packed[:5])
    with pytest.raises(RequestError, match="packed codes of the other modality of 10 bits must be uint8"):
        PairBank(bank.packed, 10, bank.labels)


# A model on its data


def test_the_pairs_of_a_ground_are_those_of_its_split(ground: Ground) -> None:
    model, dataset, split = fitted()
    texts = dataset.texts or ()
    image = model.image.code(dataset.images.batch(split.train))
    words = model.text.code(model.vocabulary.bag([texts[i] for i in split.train]))
    sides: tuple[tuple[Modality, Tensor, Tensor], ...] = (("image", image, words), ("text", words, image))
    for side, own, other in sides:
        bank = ground.reference_of(side)
        assert isinstance(bank, PairBank)
        assert torch.equal(bank.codes, own) and torch.equal(bank.other_codes, other)
        assert np.array_equal(bank.labels, dataset.labels[split.train])
        assert bank.ids.tolist() == [f"pair{i}" for i in split.train]
    asked = ground.codes_of_part("query")
    assert isinstance(asked, PairBank)
    asked = asked.swapped()
    assert torch.equal(asked.codes, model.text.code(ground.bags))
    assert torch.equal(asked.other_codes, model.image.code(dataset.images.batch(split.query)))
    few = ground_of(queries=5)
    assert few.rows.tolist() == [0, 1, 2, 3, 4] and len(few.codes_of_part("query")) == 5 == len(few.bags)
    assert few.texts[4] == "nothing" and len(few.text_database) == 42


def test_four_searches_with_the_floor_beside_each(ground: Ground) -> None:
    rows = cross_rows(ground, metrics=("map", "precision@5"))
    assert [(row.task, row.metric) for row in rows] == [
        (task, metric) for task in SEARCHES for metric in ("map", "precision", "random_map")
    ]
    for row in rows:
        assert row.n == 18 and row.bits == 12 and row.dataset == "colors" and "drawn" in row.notes
        silent = [note for note in row.notes if "no known word" in note]
        expected = ["2 of 18 query texts have no known word and share one code"]
        assert silent == (expected if str(row.task).startswith("text->") else [])
        if row.metric == "random_map":
            assert row.model == "random codes" and row.hashes == {} and abs(float(row.value or 0) - 1 / 3) < 0.15
        else:
            assert row.hashes["model"] == ground.both.digest and row.method == "dcmh" and row.model == "toy"
    for task in SEARCHES:
        asks, searched = modalities_of(task)
        assert value(rows, task) == scored(ground, asks, searched)
    model, dataset, split = fitted()
    texts = dataset.texts or ()
    asks = CodeBank.of(model.text.code(model.vocabulary.bag([texts[i] for i in split.query])), dataset.labels[QUERY])
    found = CodeBank.of(model.image.code(dataset.images.batch(split.database)), dataset.labels[split.database])
    assert value(rows, "text->image") == mean_average_precision(asks, found).value > 0.7
    assert {row.hashes["query_codes"] for row in rows if row.task == "text->image" and row.hashes} == {
        ground.text_query.digest
    }
    only = cross_rows(ground, tasks=("image->text",))
    assert [row.metric for row in only] == ["map", "random_map"] and only[0].value == value(rows, "image->text")


def test_wrong_metrics_are_refused(ground: Ground) -> None:
    with pytest.raises(RequestError, match="unknown metric 'mop'"):
        cross_rows(ground, metrics=("mop",))
    with pytest.raises(RequestError, match="expected.*hits|hits.*expected"):
        cross_rows(ground, metrics=("map@5",), convention=Convention(norm="hits"))


def test_curves_of_every_search(ground: Ground) -> None:
    recall, at = cross_curves(ground, tasks=("image->text", "text->text"))
    assert list(recall) == list(at) == ["image->text", "text->text"]
    _, precision = at["image->text"]
    assert 0 <= float(np.min(precision)) and float(np.max(precision)) <= 1


def test_texts_are_encoded_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, dataset, split = fitted()
    texts = list(dataset.texts or ())
    whole = text_codes(model.text, model.encoder.bag(texts))
    monkeypatch.setattr(encode, "STEP", 7)
    assert np.array_equal(text_codes(model.text, model.encoder.bag(texts)), whole)
    assert np.array_equal(unpack(whole, 12), model.text.code(model.vocabulary.bag(texts)).numpy())
    bank = text_bank(model, dataset, split, split.part("query"))
    assert np.array_equal(bank.packed, whole[QUERY]) and bank.ids.tolist() == [f"pair{i}" for i in range(18)]
    assert bank.model_hash == model.text.digest and bank.split_hash == split.digest


def test_data_that_do_not_fit_and_broken_sides_are_named() -> None:
    model, dataset, split = fitted()
    mute = replace(dataset, texts=None)
    for texts in (mute, replace(dataset, texts=("",) * N)):
        with pytest.raises(RequestError, match="colors has no texts; cross-modal work needs one a picture"):
            opened(model, texts, split)
    with pytest.raises(RequestError, match="colors has no texts"):
        text_bank(model, mute, split, split.part("query"))
    small = replace(dataset, images=ImageStore(dataset.images.array[:, :12, :12]))
    with pytest.raises(RequestError, match="the model takes pictures of 16x16 pixels, the data have 12x12"):
        opened(model, small, split)
    broken = new_model()
    broken.text.head.weight.data[0] = float("nan")
    with pytest.raises(RunError, match="the text side returns NaN or infinite numbers; its weights are broken"):
        opened(broken, dataset, split)
    with pytest.raises(RunError, match="the text side returns NaN"):
        text_bank(broken, dataset, split, split.part("query"))
    blind = new_model()
    blind.image.head.weight.data[0] = float("nan")
    with pytest.raises(RunError, match="the model returns NaN or infinite numbers"):
        opened(blind, dataset, split)


# Changed items, measured


def test_rows_come_from_8_bit_pictures_encoded_again(ground: Ground) -> None:
    model, dataset, _ = fitted()
    made = np.random.default_rng(5).integers(0, 256, (18, 16, 16)).astype(np.uint8)
    distance = np.linspace(0, 0.1, 18)
    spec = AttackSpec(cmla(steps=3, threat=Linf(0.1)), across=True)
    run = AttackedSet(made, np.full(18, 4), np.full(18, 3), 2.5, distance=distance)
    rows = pair_rows(ground, spec, run, steps=3, metrics=("map", "precision@5"))
    code = model.image.code(torch.from_numpy(made)[:, None].float() / 255)
    assert [(row.task, row.metric) for row in rows] == [
        ("image->text", "map"), ("image->text", "precision"), ("image->image", "map"), ("image->image", "precision"),
        ("image", "bits-moved"), ("image", "D"),
    ]  # fmt: skip
    for task in ("image->text", "image->image"):
        assert value(rows, task) == scored(ground, *modalities_of(task), code)
    clean = model.image.code(dataset.images.batch(np.arange(18)))
    assert value(rows, "image", "bits-moved") == pytest.approx(float((code != clean).float().sum(1).mean()))
    assert value(rows, "image", "D") == pytest.approx(0.05)
    for row in rows:
        assert row.attack == spec.facts and row.threat == spec.threat_facts and row.n == 18
        assert (row.forwards, row.backwards, row.seconds) == (4, 3, 2.5) and row.defense is None
        assert row.hashes["query_codes"] == replace(ground.query, packed=pack(code)).digest
        assert row.ci95 is not None and row.ci95[0] <= float(row.value or 0) <= row.ci95[1]
    bags = (np.random.default_rng(1).random((18, len(model.vocabulary))) < 0.3).astype(np.float32)
    texts = pair_rows(ground, AttackSpec(cmla_text()), replace(run, items=bags), steps=3)
    assert value(texts, "text->image") == scored(ground, "text", "image", model.text.code(torch.from_numpy(bags)))
    assert [row.task for row in texts] == ["text->image", "text->text", "text", "text"]
    assert any("no known word" in note for note in texts[0].notes)
    assert ground.codes_of(bags, modality="text").ids.tolist() == ground.text_query.ids.tolist()


def test_pictures_are_attacked_in_any_batches_and_looked_at_on_the_way(ground: Ground) -> None:
    model, dataset, _ = fitted()
    attack = cmla(steps=6, norm=0.0, threat=Linf(20 / 255))
    told: list[tuple[float, str]] = []
    watched = ground.context.but(stage=always(lambda *facts: told.append(facts)))
    found = measured(ground, attack, 2, 6, context=watched).made
    whole = measured(replace(ground, context=Context(batch_size=18)), attack).made
    changed = (found.items.astype(int) != whole.items.astype(int)).mean()
    assert changed < 0.01, "rounding of another batch size may turn a few values"
    short = measured(ground, replace(attack, search=replace(attack.search, steps=2))).made  # type: ignore[type-var]
    assert np.array_equal(found.at(2).items, short.items) and np.array_equal(found.at(2).distance, short.distance)
    clean = dataset.images.array[QUERY]
    for mark in (2, 6):
        made = found.at(mark).items
        assert made.dtype == np.uint8 and made.shape == (18, 16, 16)
        delta = made.astype(float) - clean
        assert np.abs(delta).max() <= 20
        assert found.at(mark).distance == pytest.approx(np.sqrt((delta**2).mean((1, 2))) / 255, abs=1e-6)
    assert found.at(2).passes == (3, 2) and found.passes == (7, 6)
    assert 0 < found.at(2).seconds == pytest.approx(found.seconds / 3)
    whole_batches = [text for _, text in told if "gradient" not in text]
    assert whole_batches == ["7 of 18 pictures", "14 of 18 pictures", "18 of 18 pictures"]
    assert told[0][1] == "0 of 18 pictures, gradient 1 of 6" and [share for share, _ in told] == sorted(
        share for share, _ in told
    )
    assert told[-1][0] == 1
    exact = attack(
        model.image, dataset.images.batch(np.arange(18)), torch.from_numpy(dataset.labels[QUERY]).float(),
        ground.reference,
    ).x_adv  # fmt: skip
    assert (np.abs(exact[:, 0].numpy() * 255 - whole.items) > 0.5).mean() < 0.01, "the folded copy is the same function"


def test_bags_are_scored_as_they_are(ground: Ground) -> None:
    attack = cmla_text(steps=4, threat=Linf(0.3))
    found = measured(ground, attack).made
    made = found.items
    assert made.dtype == np.float32 and made.shape == tuple(ground.bags.shape)
    labels = torch.from_numpy(ground.text_query.labels).float()
    exact = attack(ground.both.text, ground.bags, labels, ground.text_reference).x_adv
    assert np.allclose(made, exact.numpy(), atol=1e-6)
    assert found.distance == pytest.approx(distortion(exact, ground.bags).double().numpy(), abs=1e-6)


def test_the_published_form_compares_a_batch_with_itself(ground: Ground) -> None:
    attack = cmla(steps=5, preset="paper", norm=0.0)
    found = measured(ground, attack).made.items
    model, dataset, _ = fitted()
    labels, pairs = torch.from_numpy(dataset.labels).float(), ground.codes_of_part("query")
    by_hand = []
    for start in (0, 7, 14):
        rows = np.arange(start, min(start + 7, 18))
        one = replace(attack, guide=CrossCodes())
        by_hand.append(one(model.image, dataset.images.batch(rows), labels[rows], pairs.select(rows)).x_adv)
    assert (np.abs(torch.cat(by_hand)[:, 0].numpy() * 255 - found) > 0.5).mean() < 0.01
    grown = found.astype(int) - dataset.images.array[QUERY]
    assert grown.min() == 0 and 0 < grown.max() <= 10
    other = measured(replace(ground, context=Context(batch_size=18)), attack).made.items
    assert (found != other).mean() > 0.01, "so another batch is another attack"


def test_cmla_lowers_both_searches_across_modalities_and_noise_does_not(ground: Ground) -> None:
    clean = cross_rows(ground)
    for attack, task in (
        (cmla(steps=40, intra=0.0, threat=Linf(0.15)), "image->text"),
        (cmla_text(steps=300, intra=0.0, threat=Linf(0.4)), "text->image"),
    ):
        rows = measure_attack(ground, AttackSpec(attack, across=True, control=True)).rows
        hurt, shaken = rows.where(attack="cmla"), rows.where(attack="noise")
        assert len(hurt) == len(shaken) == 4
        assert value(hurt, task) < value(clean, task) - 0.15
        assert value(hurt, task) < value(shaken, task) - 0.1


@pytest.mark.parametrize("one_sided", [False, True])
def test_noise_has_the_size_of_the_attack(ground: Ground, one_sided: bool, tmp_path: Path) -> None:
    ball = Threat("linf", 0.2, one_sided)
    image = noise_of(ground, replace(cmla(), threat=ball), tmp_path / "image")
    delta = (image.items.astype(float) - ground.dataset.images.array[QUERY]) / 255
    assert image.items.dtype == np.uint8 and delta.max() <= 0.2 + 1e-6
    assert delta.min() >= (0 if one_sided else -0.2 - 1e-6)
    assert image.distance == pytest.approx(np.sqrt((delta**2).mean((1, 2))), abs=1e-6)
    text = noise_of(ground, replace(cmla_text(), threat=ball), tmp_path / "text")
    moved = text.items - ground.bags.numpy()
    assert np.abs(moved).max() <= 0.2 + 1e-6 and text.items.min() >= 0 and text.items.max() <= 1
    free = moved[(ground.bags == 0).numpy()]
    assert (free > 0).mean() == pytest.approx(1.0 if one_sided else 0.5, abs=0.08), (
        "bags of 0 and 1 can only grow from 0"
    )
    assert np.array_equal(text.items, noise_of(ground, replace(cmla_text(), threat=ball), tmp_path / "again").items)
    assert image.passes == text.passes == (0, 0)


def test_marks_that_mean_nothing_are_refused(ground: Ground) -> None:
    for wrong in ((0, 5), (5, 6)):
        with pytest.raises(
            RequestError, match=f"steps to look after must lie between 1 and 5, got {wrong[0]}, {wrong[1]}"
        ):
            AttackSpec(cmla(steps=5), marks=wrong)
    pgd = ATTACKS["pgd"](steps=5)
    with pytest.raises(
        RequestError, match="only a search like cmla's can be looked at on its way; ask for all 5 steps alone"
    ):
        AttackSpec(pgd, marks=(2, 5))
    rising = ATTACKS["dhta"](steps=5, preset="code")  # its slope depends on the number of steps
    with pytest.raises(RequestError, match="only a search like cmla's"):
        AttackSpec(rising, marks=(2, 5))
    found = measured(ground, pgd, 5).made
    assert found.kept == {} and found.at(5).items.shape == (18, 16, 16)


def test_what_an_attack_misses_is_said(ground: Ground) -> None:
    _, dataset, split = fitted()
    bare = replace(dataset, labels=np.zeros((N, 0), np.uint8), class_names=())
    model = fitted()[0]
    unlabeled = opened(model, bare, split)
    for attack in (cmla(steps=1), cmla_text(steps=1), cmla_words()):
        with pytest.raises(RequestError, match=f"{attack.name} needs labels, and colors has none"):
            measured(unlabeled, attack)


def test_gradients_that_are_not_finite_are_named() -> None:
    broken = new_model()

    def rooted(self: TextModel, bag: Tensor) -> Tensor:
        return bag.sqrt() @ torch.ones(self.words, self.bits)

    broken.text.logits = MethodType(rooted, broken.text)  # type: ignore[method-assign]
    _, dataset, split = fitted()
    ground = opened(broken, dataset, split)
    for attack in (cmla_text(steps=1), cmla_words()):
        with pytest.raises(RunError, match="the gradient to the text is NaN or infinite"):
            measured(ground, attack)


@pytest.mark.parametrize("attack", [cmla_text(steps=4, threat=Linf(0.3)), cmla_words(intra=0.0), cmla(steps=4)])
def test_a_run_that_was_stopped_goes_on(ground: Ground, attack: Attack[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    marks = (2, 4) if attack.name == "cmla" else ()
    whole = measured(ground, attack, *marks)
    usual, asked = running._attack_batch, []

    def batch(*facts: Any) -> Any:
        asked.append(facts[3])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return usual(*facts)

    monkeypatch.setattr(running, "_attack_batch", batch)
    what = "pictures" if attack.modality == "image" else "texts"
    with pytest.raises(StoppedError, match=f"14 of 18 {what} are attacked; the same command goes on from there"):
        measured(ground, attack, *marks)
    again = measured(ground, attack, *marks)
    assert [len(numbers) for numbers in asked] == [7, 7, 4, 4], "finished batches are not made again"
    assert np.array_equal(again.made.items, whole.made.items) and again.made.edits == whole.made.edits
    assert again.made.texts == whole.made.texts and again.made.passes == whole.made.passes
    assert [row.value for row in again.rows] == [row.value for row in whole.rows]


def test_edited_texts_are_scored_as_read_again(ground: Ground) -> None:
    done = measured(ground, cmla_words(intra=0.0))
    found, rows = done.made, done.rows
    assert np.array_equal(found.items, ground.both.vocabulary.bag(found.texts).numpy())
    assert found.distance.tolist() == [len(done) for done in found.edits] and found.distance.max() == 2
    assert found.texts[4] == "nothing" and found.texts[9] == "" and found.distance[[4, 9]].tolist() == [0, 0]
    forwards, backwards = found.passes
    assert 1 < backwards <= 2 and forwards > backwards
    code = ground.both.text.code(ground.both.vocabulary.bag(found.texts))
    assert value(rows, "text->image") == scored(ground, "text", "image", code)
    assert value(rows, "text->image") < value(cross_rows(ground), "text->image") - 0.1
    assert value(rows, "text", "edits") == found.distance.mean()
    attack, threat = done.spec.facts, done.spec.threat_facts
    assert attack["method"] == "cmla-words" and attack["values"]["loss"]["intra"] == 0.0
    assert (threat["norm"], threat["eps"], threat["grid"]) == ("words", 2, "text")


# Facts and plans


@pytest.mark.parametrize("preset", ["default", "paper", "code"])
def test_rows_say_which_form_it_was(preset: Any) -> None:
    attack = cmla(preset=preset, intra=2.0, steps=7)
    facts = AttackSpec(attack, across=True).facts
    assert (facts["method"], facts["preset"], facts["side"], facts["intra"]) == ("cmla", preset, "image", 2.0)
    assert facts["labels"] == "aware" and "made_on" not in facts and facts["values"]["fidelity_norm"] == "l1"
    other = AttackSpec(attack, across=True, sources=(Loaded("other", fitted()[0].image),)).facts
    assert other == {**facts, "made_on": ["other"]}
    threat = AttackSpec(attack, across=True).threat_after(3)
    assert (threat["one_sided"], threat["steps"], threat["grid"]) == (preset != "default", 3, "8 bit")
    assert AttackSpec(cmla_text()).threat_facts["grid"] == "bag of words, real values"
    spec = AttackSpec.read("cmla", preset=preset)
    assert spec.threat_facts.get("one_sided", False) == (preset != "default")


def test_a_method_has_its_own_eps_where_none_was_asked_for() -> None:
    assert AttackSpec.read("cmla").threat == Linf(10 / 255)
    assert AttackSpec.read("hag").threat == Linf(8 / 255)
    assert AttackSpec.read("cmla", eps=0.1).threat == Linf(0.1) == AttackSpec.read("hag", eps=0.1).threat
    assert AttackSpec.read("cmla", norm="l2").threat == Threat("l2", 8 / 255), "its own is no l2 radius"
    assert AttackSpec.read("cmla", preset="paper").threat == Threat("linf", 10 / 255, True)
    with pytest.raises(RequestError, match="cmla has no target: it leaves a code; leave out `targets`"):
        AttackSpec.read("cmla", targets="other")
    with pytest.raises(RequestError, match="unknown preset of cmla 'papr'; allowed: default, paper, code"):
        AttackSpec.read("cmla", preset="papr")
    with pytest.raises(RequestError, match="cmla takes no guide; it takes steps, intra, norm, squared, preset"):
        AttackSpec.read("cmla", guide="center")


def test_options_as_text_become_values() -> None:
    assert parsed_options("cmla", {"norm": "2", "squared": "true", "intra": "0.5"}) == {
        "norm": 2.0, "squared": True, "intra": 0.5,
    }  # fmt: skip
    assert parsed_options("cmla", {}) == {}
    with pytest.raises(
        RequestError, match="cmla has no option 'nrm'; options: intra, norm, squared; did you mean norm"
    ):
        parsed_options("cmla", {"nrm": "1"})
    with pytest.raises(RequestError, match="cmla has no option 'steps'; options: intra, norm, squared"):
        parsed_options("cmla", {"steps": "3"})
    with pytest.raises(RequestError, match="option squared of cmla: .*boolean.*, got 'perhaps'"):
        parsed_options("cmla", {"squared": "perhaps"})


def whole_ground(cross: bool = True) -> Ground:
    """The image side as `hamguard attack` sees it."""
    return replace(ground_of(), context=Context(), cross=fitted()[0] if cross else None)


def test_an_image_attack_on_a_cross_modal_model_is_measured_in_both_searches() -> None:
    ground, pairs = whole_ground(), ground_of()
    assert ground.searches == SEARCHES and ground.search("image->image") == (ground.query, ground.database)
    assert ground.search("image->text")[1].digest == pairs.text_database.digest
    assert isinstance(ground.reference, PairBank) and ground.reference.digest == pairs.reference.digest
    assert ground.codes_of_part("query").digest == PairBank.join(pairs.query, pairs.text_query).digest
    spec = AttackSpec.read("cmla", eps=0.1, steps=8, options={"norm": "0.01"})
    rows = measure_attack(ground, spec).rows
    attacked = {row.task: row for row in rows if row.metric == "map" and row.attack and row.attack["method"] == "cmla"}
    clean = {row.task: row.value for row in rows if row.metric == "map" and row.attack is None}
    assert clean == {task: value(cross_rows(pairs), task) for task in ("image->image", "image->text")}
    again = measured(replace(pairs, context=Context()), spec.attack).rows
    for task in ("image->image", "image->text"):
        assert attacked[task].value == value(again, task), "two roads to one number"
    tasks = by_task(rows)
    assert [task for task, _ in tasks] == ["image->image", "image->text"]
    for task, part in tasks:
        assert {row.task for row in part} == {task, "query"} and "bits-moved" in {row.metric for row in part}
        assert {row.metric for row in part if row.task == task} == {"map", "random_map", "gain"}
    found = measure_attack(ground, AttackSpec.read("mainstay", eps=0.1, steps=4)).rows
    assert {row.task for row in found if row.metric == "map"} == {"image->image", "image->text"}


def test_without_a_text_side_there_is_one_search_and_no_cmla() -> None:
    ground = whole_ground(cross=False)
    assert ground.searches == ("",) and not isinstance(ground.reference, PairBank)
    for preset in ("default", "paper"):
        with pytest.raises(RequestError, match="cmla needs codes of pictures and of texts; give a cross-modal model"):
            measure_attack(ground, AttackSpec.read("cmla", steps=1, preset=preset))
    rows = measure_attack(ground, AttackSpec.read("hag", eps=0.1, steps=2)).rows
    assert by_task(rows) == [("", rows)] and {row.task for row in rows} == {"query->database", "query"}
