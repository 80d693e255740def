"""Models on features: learned, encoded, searched and measured at once; attacked behind the encoder that made the features."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import hamguard as hg
from hamguard.core.errors import DataMissingError, RequestError
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.evaluation.encoder import with_encoder
from hamguard.evaluation.ground import Loaded
from hamguard.models.store import save_model
from tests.models.sentences import toy_vectors
from tests.training.conftest import make_blobs, make_split

BITS = 12


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    """The blobs as a file that has a name."""
    dataset = make_blobs(96)
    split = make_split(dataset)
    parts = np.full(96, 3)
    parts[split.train], parts[split.validation], parts[split.query] = 0, 1, 2
    np.savez(tmp_path / "blobs.npz", images=dataset.images.array, labels=dataset.labels, ids=dataset.ids, split=parts)
    return f"arrays:{tmp_path / 'blobs.npz'}"


@pytest.fixture
def encoder(tmp_path: Path, pictures: str) -> str:
    """A folder whose backbone makes features."""
    model = hg.HashModel("resnet20", 8, channels=1, size=(16, 16), mean=[0.4], std=[0.2])
    with torch.no_grad():
        for _ in range(30):  # batch norms see pictures, so that features differ
            model.train()(hg.data(pictures).train.images)
    model.eval()
    save_model(model, tmp_path / "encoder", method="csq", data={"source": pictures})
    return str(tmp_path / "encoder")


@pytest.fixture
def features(tmp_path: Path, encoder: str) -> str:
    made = hg.features(encoder, out=tmp_path / "f.npz")
    assert (made.count, made.features) == (96, 64)
    return f"features:{tmp_path / 'f.npz'}"


def test_learning_encoding_search_and_metrics_work_at_once(features: str, tmp_path: Path) -> None:
    data = hg.data(features)
    model = hg.train(data, "dpsh", bits=BITS, out=tmp_path / "m", epochs=15, lr=1e-2)
    assert (model.name, model.bits, model.card.backbone, model.card.size) == ("features", BITS, "features", (1, 64))
    scored = hg.evaluate(tmp_path / "m", metrics=("map",))
    assert scored[0].value > 0.3, "corners can be told apart by random features, chance is 0.25"
    bank = hg.encode(model, data.query)
    assert bank.digest == hg.encode(hg.load(tmp_path / "m"), data.query).digest
    hg.index(tmp_path / "m", out=tmp_path / "ix")
    found = hg.search(tmp_path / "ix", data.query)
    assert len(found) == len(data.query)
    for method in ("itq", "lsh", "pca"):
        assert hg.train(data, method, bits=8, out=tmp_path / method).card.method == method


def test_a_head_on_the_file_is_the_head_of_a_frozen_backbone(
    features: str, encoder: str, pictures: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(Path(encoder) / "model.safetensors")
    kept = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    save_file(kept, tmp_path / "w.safetensors")
    how: dict[str, Any] = {"bits": BITS, "epochs": 3}
    on_file = hg.train(features, "csq", out=tmp_path / "a", **how)
    frozen = hg.train(pictures, "csq", out=tmp_path / "b", backbone="resnet20", weights=tmp_path / "w.safetensors", freeze=True,
                      normalization="none", **how)  # fmt: skip
    plain = hg.train(hg.features(frozen, pictures, out=tmp_path / "g.npz") and f"features:{tmp_path / 'g.npz'}", "csq",
                     out=tmp_path / "c", **how)  # fmt: skip
    torch.testing.assert_close(plain.head.weight, frozen.head.weight, rtol=1e-4, atol=1e-5)
    assert not torch.equal(on_file.head.weight, plain.head.weight), "another normalization makes other features"


def test_what_needs_pixels_says_so(features: str, tmp_path: Path) -> None:
    hg.train(features, "csq", bits=BITS, out=tmp_path / "m", epochs=1)
    message = "f.npz holds features, no pictures; what changes or shows pictures needs the encoder"
    for call in (
        lambda: hg.attack(tmp_path / "m", attack="hag"),
        lambda: hg.audit(tmp_path / "m"),
        lambda: hg.measure(tmp_path / "m"),
        lambda: hg.sanity(tmp_path / "m"),
        lambda: hg.harden(tmp_path / "m", out=tmp_path / "h", epochs=1),
        lambda: hg.train(features, "comdefend", out=tmp_path / "p", epochs=1),
        lambda: hg.train(features, "ppl", out=tmp_path / "q", epochs=1),
        lambda: hg.train(None, "prosgan", victim=tmp_path / "m", out=tmp_path / "g", epochs=1),
    ):
        with pytest.raises(DataMissingError, match=message):
            call()


def test_no_picture_is_taken_for_features_nor_features_for_pictures(
    features: str, encoder: str, pictures: str, tmp_path: Path
) -> None:
    model, few = tmp_path / "m", tmp_path / "few.npz"
    hg.train(features, "csq", bits=BITS, out=model, epochs=1)
    hg.index(model, out=tmp_path / "index")
    Image.fromarray(hg.data(pictures).dataset.images.array[0]).save(tmp_path / "one.png")
    shutil.copy(tmp_path / "one.png", tmp_path / "two.png")
    for call in (
        lambda: hg.search(tmp_path / "index", tmp_path / "one.png"),
        lambda: hg.encode(hg.load(model), hg.data(pictures).query),
        lambda: hg.encode(hg.load(model), np.zeros((5, 1, 1, 64), np.uint8)),
        lambda: hg.evaluate(model, pictures),
        lambda: hg.index(model, pictures, out=tmp_path / "other"),
        lambda: hg.protect(tmp_path / "one.png", tmp_path / "p", refine=1, matchers=[model]),
        lambda: hg.protect(tmp_path / "one.png", tmp_path / "p", refine=1, matchers=[hg.load(model)]),
        lambda: hg.verify(tmp_path / "one.png", tmp_path / "two.png", matchers=[model]),
        lambda: hg.train(pictures, "features", surrogates=[model], out=tmp_path / "g", epochs=1),
    ):
        with pytest.raises(RequestError, match="the model learned on features, so it takes no pictures"):
            call()
    with pytest.raises(RequestError, match="the model takes pictures, the data hold features"):
        hg.evaluate(encoder, features)
    np.savez(few, features=np.random.default_rng(0).standard_normal((96, 5)), labels=np.arange(96) % 3)
    with pytest.raises(RequestError, match="the model takes 64 features of a picture, the data have 5"):
        hg.evaluate(model, f"features:{few}")


def test_words_that_features_do_not_go_with(features: str, encoder: str, pictures: str, tmp_path: Path) -> None:
    out = tmp_path / "m"
    for more, message in (
        ({"backbone": "resnet20"}, "f holds features already; leave out backbone=resnet20"),
        ({"weights": "w.safetensors", "augment": "none"}, "f holds features already; leave out weights=w.safetensors"),
        ({"augment": "flip"}, "features have no views; leave out augment=flip"),
    ):
        with pytest.raises(RequestError, match=message):
            hg.train(features, "csq", out=out, epochs=1, **more)
    hg.train(features, "csq", bits=BITS, out=out, epochs=1)
    with pytest.raises(RequestError, match="learned on features; give the network that made them"):
        hg.features(out, out=tmp_path / "g.npz")
    with pytest.raises(RequestError, match="features are written to an .npz file, got"):
        hg.features(encoder, out=tmp_path / "g.txt")
    with pytest.raises(RequestError, match="f holds features already"):
        hg.features(encoder, features, out=tmp_path / "g.npz")
    with pytest.raises(RequestError, match="an encoder needs the pictures that the features were made of"):
        hg.attack(out, attack="hag", encoder=encoder)
    with pytest.raises(
        RequestError, match="takes pictures itself; an encoder belongs to models that learned on features"
    ):
        hg.attack(encoder, pictures, attack="hag", encoder=encoder)


def named(pictures: str, keep: slice = slice(None)) -> Data:
    data = hg.data(pictures)
    dataset: Dataset = data.dataset
    return hg.data(dataset.images.array[keep], dataset.labels[keep], name="others")


def test_behind_its_encoder_a_model_is_attacked_on_pictures(
    features: str, encoder: str, pictures: str, tmp_path: Path
) -> None:
    model = hg.train(features, "dpsh", bits=BITS, out=tmp_path / "m", epochs=15, lr=1e-2)
    clean = hg.encode(model, hg.data(features).query)
    joined, data = with_encoder(Loaded.open(tmp_path / "m"), Loaded.open(encoder), hg.data(pictures))
    assert isinstance(joined.model, hg.HashModel) and joined.model.name == "resnet20" and joined.name.endswith("/m")
    assert np.array_equal(data.split.query, hg.data(features).split.query)
    whole = hg.encode(joined.model, data.query)
    assert float((whole.packed != clean.packed).mean()) < 0.01
    rows = hg.attack(tmp_path / "m", pictures, hg.attacks.hag(steps=3, threat=hg.Linf(0.2)), encoder=encoder, queries=8)
    assert rows.where(attack="hag") and rows.ground.dataset.images.size == (16, 16)


class Encoder(nn.Module):
    """The backbone of a folder, as somebody's own network."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.features_of(x)


def test_an_own_network_may_be_the_encoder(features: str, encoder: str, pictures: str, tmp_path: Path) -> None:
    hg.train(features, "csq", bits=BITS, out=tmp_path / "m", epochs=2)
    own = hg.wrap(Encoder(hg.load(encoder)), size=(16, 16), channels=1)
    joined, data = with_encoder(Loaded.open(tmp_path / "m"), Loaded.open(own), hg.data(pictures))
    assert isinstance(joined.model, hg.ForeignModel) and joined.model.bits == BITS
    x = data.query.images[:4]
    with torch.no_grad():
        want = hg.load(tmp_path / "m").head(hg.load(encoder).features_of(x))
        torch.testing.assert_close(joined.model.logits(x), want, rtol=1e-3, atol=1e-4)
    made = hg.features(own, pictures, out=tmp_path / "own.npz")
    assert made.features == 64
    with np.load(tmp_path / "own.npz") as mine, np.load(tmp_path / "f.npz") as theirs:
        np.testing.assert_allclose(mine["features"], theirs["features"], rtol=1e-3, atol=1e-4)


def test_encoders_that_did_not_make_the_features(features: str, encoder: str, pictures: str, tmp_path: Path) -> None:
    hg.train(features, "csq", bits=BITS, out=tmp_path / "m", epochs=1)
    others = {
        r"did not make the features of f: those of blob\d+ differ": hg.HashModel(
            "resnet20", 8, channels=1, size=(16, 16), generator=torch.Generator().manual_seed(9)
        ),
        r"makes \d+ features of a picture, f has 64": hg.HashModel("conv2+30", 8, channels=1, size=(16, 16)),
        "takes pictures of 20x20 pixels, blobs has 16x16": hg.HashModel("resnet20", 8, channels=1, size=(20, 20)),
    }
    model = Loaded.open(tmp_path / "m")
    for message, other in others.items():
        with pytest.raises(RequestError, match=message):
            with_encoder(model, Loaded.open(other.eval()), hg.data(pictures))
    with pytest.raises(
        RequestError, match="others lacks 96 of 96 pictures of f, e.g. blob0; features and pictures are matched"
    ):
        with_encoder(model, Loaded.open(encoder), named(pictures))


def test_models_of_images_and_texts_learn_on_features_as_well(features: str, tmp_path: Path) -> None:
    with np.load(tmp_path / "f.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name in ("features", "labels", "ids", "split")}
    kinds = arrays["labels"].argmax(1)
    texts = np.array([f"a bright corner number{kind} of four" for kind in kinds])
    np.savez(tmp_path / "pairs.npz", **arrays, texts=texts)
    source = f"features:{tmp_path / 'pairs.npz'}"
    model = hg.train(source, "dcmh", bits=BITS, out=tmp_path / "pair", epochs=8)
    assert model.image.name == "features"
    rows = hg.evaluate(tmp_path / "pair", metrics=("map",))
    found = {row.task: row.value for row in rows}
    assert {"image->text", "text->image"} <= {*found} and found["text->image"] > 0.27, "chance is 0.25"
    with pytest.raises(DataMissingError, match="pairs.npz holds features, no pictures"):
        hg.attack(tmp_path / "pair", attack="cmla", modality="image")


def test_features_of_texts_stand_beside_those_of_pictures(
    tmp_path: Path, encoder: str, pictures: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamguard.api.features.sentence_vectors", toy_vectors)
    data = hg.data(pictures)
    with pytest.raises(RequestError, match="has no texts"):
        hg.features(encoder, data, out=tmp_path / "t.npz", text_encoder="minilm")
    texts = tuple(f"blob {i % 7}" for i in range(len(data)))
    told = hg.Data(replace(data.dataset, texts=texts), data.split)
    made = hg.features(encoder, told, out=tmp_path / "t.npz", text_encoder="minilm")
    held = hg.data(f"features:{made.path}").dataset
    assert held.text_features is not None and held.texts == texts
    np.testing.assert_array_equal(held.text_features, toy_vectors(texts).numpy())
    with pytest.raises(RequestError, match="text encoder"):
        hg.features(encoder, told, out=tmp_path / "u.npz", text_encoder="words")
