"""What a cross-modal run refuses: runs that are not the same, pairs that teach nothing, codes that are worth nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hamguard.codes.binary import pack, sign
from hamguard.core.errors import CollapseError, RequestError, RunError, StaleError
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.data.texts import texts_of
from hamguard.evaluation.ground import SEARCHES, Ground
from hamguard.evaluation.search.cross_modal import cross_rows
from hamguard.models.backbones import build_backbone
from hamguard.models.cross_modal import CrossModel, load_cross
from hamguard.models.hash_model import HashModel
from hamguard.models.minilm import WIDTH
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary
from hamguard.models.weight_files import read_safetensors
from hamguard.trainers.job import Job
from hamguard.trainers.pair import kept_pairs, new_pair, pair_statistics, pairs_of
from hamguard.trainers.words import read_job
from hamguard.training import features
from hamguard.training.encode import encode, text_bank
from hamguard.training.loop import fit
from hamguard.training.recipe import Recipe
from tests.models.sentences import toy_vectors, use_toy_vectors
from tests.trainers.runs import train

NAMES = ("red", "blue", "green")


def toy(texts: list[str] | None = None, n: int = 24) -> tuple[Dataset, Split]:
    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.uint8)[np.arange(n) % 3]
    words = tuple(texts if texts is not None else [f"a {NAMES[i % 3]} thing" for i in range(n)])
    images = ImageStore(rng.integers(0, 256, (n, 16, 16)).astype(np.uint8))
    dataset = Dataset("toy", images, labels, NAMES, np.array([f"p{i}" for i in range(n)]), texts=words)
    rows = np.arange(n)
    return dataset, Split(rows[:18], rows[18:20], rows[20:], rows[:20], "hand", 0, content=dataset.digest)


def ask(*sets: str, **flags: Any) -> Job:
    given = {"model.bits": 8, "training.epochs": 1, "training.batch_size": 9, "model.backbone": "conv2", **flags}
    return read_job({}, {"method": "dcmh", **given}, ["text_width=8", "augment=none", *sets])


def test_the_run_knows_the_content_of_its_first_weights(tmp_path: Path) -> None:
    dataset, split = toy()
    path = tmp_path / "w.safetensors"

    def write(seed: int) -> None:
        save_file(build_backbone("conv2", 1, (16, 16), torch_generator(seed))[0].state_dict(), path)

    request = ask(**{"model.weights": str(path)})
    request = request.model_copy(update={"model": request.network.model_copy(update={"normalization": "data"})})
    write(1)
    first = train(request, dataset, split, tmp_path / "m")
    again = train(request, dataset, split, tmp_path / "m")
    assert first.fresh and not again.fresh and again.model.digest == first.model.digest
    assert first.card.initial_weights.startswith("w.safetensors, sha256 ")
    write(2)  # the same name, other weights
    with pytest.raises(StaleError, match="holds another run"):
        train(request, dataset, split, tmp_path / "m")


def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    dataset, split = toy()
    request = ask(**{"training.epochs": 3})
    whole = train(request, dataset, split, tmp_path / "whole")

    def stop(share: float, text: str) -> None:
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(request, dataset, split, tmp_path / "cut", progress=stop)
    assert (tmp_path / "cut" / "checkpoint.pt").is_file() and not (tmp_path / "cut" / "card.json").exists()
    assert train(request, dataset, split, tmp_path / "cut").model.digest == whole.model.digest


def test_texts_and_pairs() -> None:
    dataset, split = toy()
    words = Vocabulary(("red", "blue"), 1)
    rows, told = kept_pairs(dataset, split.train, words, drop=False)
    assert rows.tolist() == [i for i in range(18) if i % 3 != 2]  # green is no known word
    assert told == {"training": 12, "without_text": 0, "unknown_words_only": 6}
    pairs = pairs_of(dataset, rows, words)
    assert pairs.bags.tolist() == [[1.0, 0.0], [0.0, 1.0]] * 6
    assert torch.equal(pairs.labels, torch.from_numpy(dataset.labels[rows]).float())
    assert torch.equal(pairs.pictures(torch.tensor([2])), dataset.images.batch([3]))
    with pytest.raises(RequestError, match="0 training pictures have a text with a known word; at least 2 are needed"):
        kept_pairs(dataset, split.train, Vocabulary(("pink",)), drop=False)
    silent, _ = toy(["", *["red"] * 23])
    with pytest.raises(RequestError, match="1 of 18 training pictures have no text, first p0"):
        kept_pairs(silent, split.train, words, drop=False)
    assert kept_pairs(silent, split.train, words, drop=True)[1]["without_text"] == 1
    with pytest.raises(RequestError, match="toy has no texts; cross-modal work needs one a picture"):
        texts_of(toy([" "] * 24)[0])


def test_a_training_part_of_one_pair(tmp_path: Path) -> None:
    dataset, split = toy()
    few = Split(split.train[:1], split.validation, split.query, split.database, "hand", 0)
    with pytest.raises(RequestError, match="training needs at least 2 pairs, the train split has 1"):
        train(ask(), dataset, few, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def trained(z: torch.Tensor, t: torch.Tensor) -> Any:
    image = HashModel("conv2", 4, channels=1, size=(16, 16))
    model = CrossModel(image, TextModel("mlp", 2, 4, width=4), Vocabulary(("red", "blue")))
    return SimpleNamespace(model=model, parts=None, image_outputs=lambda: z, text_outputs=lambda: t)


def test_codes_that_are_worth_nothing_are_told() -> None:
    good = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    same = good[:1].expand(3, -1)
    for z, t, side in ((same, good, "picture"), (good, same, "text")):
        with pytest.raises(CollapseError, match=f"the codes collapsed: every training {side} has the same code"):
            pair_statistics(trained(z, t))
    for z, t in ((good * float("nan"), good), (good, good * float("inf"))):
        with pytest.raises(RunError, match="the trained networks return NaN or infinite numbers; lower the learning"):
            pair_statistics(trained(z, t))
    found = pair_statistics(trained(good, -good))
    assert found["pairs_agreeing_bits"] == 0.0
    assert found["distinct_codes"] == found["text_distinct_codes"] == 3.0


# --- Frozen networks, sentences and features of a file ------------------------------------------------------------------


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a backbone whose features of the toy pictures differ, and a cache that keeps small sets."""
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "LEAST", 0)
    net = build_backbone("conv2", 1, (16, 16), torch_generator(4))[0]
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "first.safetensors")
    return tmp_path / "first.safetensors"


def frozen(first: Path | None, method: str = "dcmh", *sets: str) -> Job:
    flags = {
        "method": method,
        "model.bits": 32,
        "model.backbone": "conv2",
        "training.freeze": True,
        "model.normalization": "data",
    }
    small = ["text_width=32", "epochs=4", "batch_size=9", "lr=0.005", "schedule=constant"]
    small += ["text_net=mlp", "features=16", "label_width=32"] if method == "ssah" else []
    return read_job({}, {**flags, "model.weights": str(first) if first else None}, [*small, *sets])


@pytest.mark.parametrize("method", ["dcmh", "dsph", "ssah"])
def test_a_frozen_network_is_asked_once_and_stays_what_it_is(
    method: str, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, split = toy()
    seen: list[int] = []
    plain = HashModel.trunk_of
    monkeypatch.setattr(HashModel, "trunk_of", lambda model, x: seen.append(len(x)) or plain(model, x))
    done = train(frozen(first, method), dataset, split, tmp_path / "a")
    assert sum(seen) == 18, "of each training picture once"
    given = read_safetensors(first)
    assert all(torch.equal(value, given[name]) for name, value in done.model.image.trunk.state_dict().items())
    assert all(value.requires_grad for value in done.model.parameters()), "what comes back can be trained on"
    assert done.card.recipe["freeze"] is True and done.card.recipe["augment"] == "none"
    untrained = new_pair(frozen(first, method), Data(dataset, split)).model.image
    assert not torch.equal(done.model.image.head.weight, untrained.head.weight)
    if method == "ssah":  # the feature layer is no part of the published network
        assert not torch.equal(done.model.image.backbone[1].weight, untrained.backbone[1].weight)
    again = train(frozen(first, method), dataset, split, tmp_path / "b")
    assert sum(seen) == 18 and again.model.digest == done.model.digest
    model, _, _ = load_cross(tmp_path / "a")
    with torch.no_grad():
        whole = model.image.logits(dataset.images.batch(split.query))
    bank = encode(model.image, dataset, split, split.part("query"))
    assert np.array_equal(bank.packed, pack(sign(whole))) and sum(seen) == 18 + len(split.query)


def test_the_head_on_kept_features_is_the_one_that_learns_on_pictures(first: Path, tmp_path: Path) -> None:
    dataset, split = toy()
    kept = new_pair(frozen(first, "dsph"), Data(dataset, split))
    asked = new_pair(frozen(first, "dsph"), Data(dataset, split))
    asked.features = None  # the network is asked at every step, and its trunk takes no gradient
    for task in (kept, asked):
        fit(task, Recipe(epochs=2, batch_size=9, lr=1e-2), seed=0, folder=tmp_path / str(id(task)), run="r")
    torch.testing.assert_close(kept.model.image.head.weight, asked.model.image.head.weight, rtol=1e-4, atol=1e-5)
    assert torch.equal(asked.image_outputs() >= 0, kept.image_outputs() >= 0)


def test_a_frozen_training_goes_on_where_it_was_stopped(first: Path, tmp_path: Path) -> None:
    dataset, split = toy()
    whole = train(frozen(first, "ssah"), dataset, split, tmp_path / "whole")

    def stop(share: float, text: str) -> None:
        if 0.6 < share < 1:
            raise KeyboardInterrupt

    train(frozen(first, "dsph"), dataset, split, tmp_path / "features")  # so that the stop is inside the steps
    with pytest.raises(KeyboardInterrupt):
        train(frozen(first, "ssah"), dataset, split, tmp_path / "cut", progress=stop)
    assert (tmp_path / "cut" / "checkpoint.pt").is_file()
    assert train(frozen(first, "ssah"), dataset, split, tmp_path / "cut").model.digest == whole.model.digest


def test_what_freezing_a_pair_does_not_go_with(first: Path, tmp_path: Path) -> None:
    dataset, split = toy()
    with pytest.raises(RequestError, match="without random views; leave out augment=flip"):
        train(frozen(first, "dcmh", "augment=flip"), dataset, split, tmp_path / "m")
    with pytest.raises(RequestError, match="needs weights, and this one is drawn at random"):
        train(frozen(None), dataset, split, tmp_path / "m")
    with pytest.raises(RequestError, match="unknown key finetune"):
        frozen(first, "dcmh", "finetune=2")
    assert not (tmp_path / "m").exists()


def test_a_sentence_encoder_reads_words_that_no_training_text_has(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_toy_vectors(monkeypatch)
    dataset, split = toy()
    job = frozen(first, "dsph", "text_encoder=minilm", "epochs=8")
    done = train(job, dataset, split, tmp_path / "m")
    assert done.text_card.encoder == "minilm" and done.text_card.takes == WIDTH and done.text_card.columns == WIDTH
    assert done.text_card.words == ["blue", "green", "red"] and done.text_card.kind == "mlp"
    model, _, card = load_cross(tmp_path / "m")
    assert model.digest == done.model.digest and card == done.text_card
    bank = text_bank(model, dataset, split, split.part("query"))
    texts = [texts_of(dataset)[i] for i in split.query]
    assert np.array_equal(bank.packed, pack(model.text.code(toy_vectors(texts))))
    assert model.encoder.reads("zebra") and torch.equal(model.encoder.bag_of_query("zebra"), toy_vectors(["zebra"]))
    with pytest.raises(RequestError, match="the text to search for is empty"):
        model.encoder.bag_of_query(" ")
    by_words = train(frozen(first, "dsph"), dataset, split, tmp_path / "w")
    assert by_words.text_card.encoder == "words" and by_words.model.digest != done.model.digest


def test_a_sentence_encoder_needs_no_frequent_word_and_leaves_out_silent_texts(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_toy_vectors(monkeypatch)
    dataset, split = toy(["", *[f"thing{i}" for i in range(23)]])
    done = train(frozen(first, "dcmh", "text_encoder=minilm", "without_text=drop"), dataset, split, tmp_path / "m")
    assert done.text_card.words == [] and done.text_card.texts["training"] == 17
    assert load_cross(tmp_path / "m")[0].digest == done.model.digest
    with pytest.raises(RequestError, match="no word stands in at least 3"):
        train(frozen(first, "dcmh", "without_text=drop"), dataset, split, tmp_path / "w")


def test_ssah_reads_sentences_by_the_plain_net() -> None:
    assert frozen(None, "dcmh", "text_encoder=minilm").parsed.text_net == "mlp"
    assert read_job({}, {"method": "ssah"}, ["text_encoder=minilm"]).parsed.text_net == "mlp"
    assert read_job({}, {"method": "ssah"}, []).parsed.text_net == "multi-scale"
    assert "text_encoder" not in read_job({}, {"method": "ssah"}, []).settings, "older runs keep their hash"
    with pytest.raises(RequestError, match="settings.text_encoder: input should be 'words', 'minilm' or 'features'"):
        read_job({}, {"method": "ssah"}, ["text_encoder=clip"])


def feature_file(path: Path, *, of_texts: bool = True, texts: bool = False, n: int = 24) -> Path:
    rng = np.random.default_rng(1)
    labels = np.arange(n) % 3
    place = rng.normal(size=(3, 7)).astype(np.float32)
    arrays = {"features": place[labels] + rng.normal(scale=0.1, size=(n, 7)).astype(np.float32), "labels": labels}
    if of_texts:
        arrays["text_features"] = place[labels][:, :5] + rng.normal(scale=0.1, size=(n, 5)).astype(np.float32)
    if texts:
        arrays["texts"] = np.array([f"a {NAMES[i % 3]} thing" for i in range(n)])
    arrays["split"] = np.array([0] * 18 + [2] * 6, np.uint8)
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("method", ["dcmh", "dsph", "ssah"])
def test_pairs_of_features_are_learned_searched_and_kept_from_views(method: str, tmp_path: Path) -> None:
    data = Data.open(f"features:{feature_file(tmp_path / 'f.npz')}")
    small = ["text_width=16", "epochs=60", "batch_size=9", "lr=0.02", *(["features=6"] if method == "ssah" else [])]
    job = read_job({}, {"method": method, "model.bits": 16}, small)
    task = new_pair(job, data)
    assert job.training.augment == "flip" and task.views == "none", "a row of features has no mirror image"
    done = train(job, data.dataset, data.split, tmp_path / "m")
    assert done.text_card.encoder == "features" and done.text_card.takes == 5 and done.text_card.words == []
    ground = Ground.open(str(tmp_path / "m"), data, texts="needed", pixels=False)
    values = {row.task: row.value for row in cross_rows(ground) if row.metric == "map"}
    assert set(values) == set(SEARCHES) and min(values.values()) > 0.9
    model = load_cross(tmp_path / "m")[0]
    with pytest.raises(RequestError, match="learned on text features of a file"):
        model.encoder.bag_of_query("a dog")


def test_what_the_features_of_texts_do_not_go_with(tmp_path: Path) -> None:
    plain = Data.open(f"features:{feature_file(tmp_path / 'p.npz', of_texts=False, texts=True)}")
    both = Data.open(f"features:{feature_file(tmp_path / 'b.npz', texts=True)}")
    small = ["text_width=8", "epochs=1", "batch_size=9"]

    def task(data: Data, *sets: str) -> Any:
        return new_pair(read_job({}, {"method": "dsph", "model.bits": 8}, [*small, *sets]), data)

    assert task(plain).model.encoder.name == "words" and task(both).model.encoder.name == "features"
    assert task(both, "text_encoder=words").model.encoder.name == "words"
    with pytest.raises(RequestError, match="has no text_features; they stand in a features: file"):
        task(plain, "text_encoder=features")
    with pytest.raises(RequestError, match="n has no texts; cross-modal work needs one"):
        task(Data.open(f"features:{feature_file(tmp_path / 'n.npz', of_texts=False)}"))
    model = task(both).model
    with pytest.raises(RequestError, match="takes text features of 5 numbers, p has none"):
        text_bank(model, plain.dataset, plain.split, plain.split.part("query"))
    assert both.dataset.digest != plain.dataset.digest
