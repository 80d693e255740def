"""Pictures without labels, and no other word: what they are hashed by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hamguard as hg
from hamguard.core.errors import RequestError

PICTURES = np.random.default_rng(0).integers(0, 256, (80, 24, 24, 3), np.uint8)
NONE = np.zeros((80, 2), np.uint8)


def train(tmp_path: Path, labels: Any = NONE, **words: Any) -> Any:
    words = {"backbone": "conv8", **words}
    return hg.train(hg.data(PICTURES, labels, name="bare"), out=tmp_path / "m", **words)


def test_without_labels_and_without_a_method_it_is_itq_of_128_bits(tmp_path: Path) -> None:
    told: list[str] = []
    card = train(tmp_path, context=hg.Context(tell=told.append)).card
    assert (card.method, card.bits) == ("itq", 128) and told == ["bare has no labels: itq, as no method is named"]
    assert hg.train(hg.data(PICTURES, NONE, name="bare"), out=tmp_path / "m", backbone="conv8").card == card, (
        "the same run"
    )


@pytest.mark.parametrize(("words", "method", "bits"), [
    ({"bits": 16}, "itq", 16), ({"method": "lsh"}, "lsh", 32), ({"method": "itq"}, "itq", 32), ({"freeze": True}, "itq", 128),
])  # fmt: skip
def test_what_is_asked_for_wins(words: dict[str, Any], method: str, bits: int, tmp_path: Path) -> None:
    card = train(tmp_path, **words).card
    assert (card.method, card.bits) == (method, bits)


def test_a_named_method_that_needs_labels_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="bare has no labels; csq needs them, "):
        train(tmp_path, method="csq")
    with pytest.raises(RequestError, match="itq is fitted in one pass and takes no training keys, got epochs"):
        train(tmp_path, epochs=3)


def test_all_pictures_are_learned_from_and_the_card_says_so(tmp_path: Path) -> None:
    data = hg.data(PICTURES, NONE, name="bare")
    model = train(tmp_path)
    split = model.card.data["split"]
    assert (split["protocol"], split["train"], split["query"], split["database"]) == ("unlabeled", 80, 14, 66)
    (said,) = [note for note in model.card.data["notes"] if "learned from" in note]
    assert said.startswith(
        "no labels, so all 80 pictures are learned from, the 14 queries among them: what is measured on"
    )
    (row,) = hg.evaluate(model, data.under("unlabeled"), views=["jpeg:80"])
    assert row.n == 14 and said in row.notes and row.train == "bare, 80 pictures"
    labeled = train(tmp_path / "labeled", np.arange(80) % 4, method="itq").card.data["split"]
    assert (labeled["protocol"], labeled["train"]) == ("seeded", 59), (
        "there, labels measure what was learned without them"
    )


def test_a_folder_is_learned_from_as_a_whole_but_where_its_owner_says_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate([*PICTURES[:30], *PICTURES[:6]]):
        Image.fromarray(picture).save(folder / f"{number:02d}.png")
    words: dict[str, Any] = {"backbone": "conv8", "bits": 8}
    model = hg.train(f"folder:{folder}", out=tmp_path / "whole", **words)
    split = model.card.data["split"]
    assert (split["train"], model.card.data["protocol"]) == (36, "unlabeled")
    assert hg.evaluate(tmp_path / "whole", views=["jpeg:80"])[0].hashes["split"] == split["digest"], (
        "opened again alike"
    )
    held = hg.train(f"folder:{folder}", out=tmp_path / "held", protocol="seeded", **words).card.data["split"]
    assert (held["protocol"], held["train"], held["query"]) == ("seeded", 27, 6)
    once = hg.train(f"folder:{folder}", out=tmp_path / "once", drop_duplicates=True, **words).card.data
    assert (once["split"]["train"], once["drop_duplicates"]) == (30, True), "each picture once, queries among them"
    assert hg.evaluate(tmp_path / "once", views=["jpeg:80"])[0].hashes["split"] == once["split"]["digest"]
    learned = hg.train(
        f"folder:{folder}", "cibhash", out=tmp_path / "learned", epochs=1, **{**words, "backbone": "resnet20"}
    ).card.data["split"]
    assert learned["train"] == 36
    views: dict[str, Any] = {"similarity": "views", "warmup": 1, "epochs": 1, "batch_size": 16, "part": 16}
    ppl = hg.train(f"folder:{folder}", "ppl", out=tmp_path / "ppl", eps=0.1, **views)
    assert ppl.card.data["train"] == 27, "what is protected is protected because it is new"


def test_a_code_is_no_longer_than_features_where_nobody_says_how_long(tmp_path: Path) -> None:
    tiny, told = hg.data(PICTURES[:, :16, :16], NONE, name="tiny"), []
    made = hg.train(tiny, out=tmp_path / "m", backbone="conv2", context=hg.Context(tell=told.append))
    assert (made.card.method, made.card.bits, made.features) == ("itq", 50, 50)
    assert told[1:] == ["50 bits: itq gives at most one a feature of the network, which has 50"]
    for words in ({"bits": 64}, {"method": "pca", "bits": 51}):
        with pytest.raises(RequestError, match="bits must be at most the 50 dimensions of the features, got "):
            hg.train(tiny, out=tmp_path / "n", backbone="conv2", **words)
    assert hg.train(tiny, "lsh", out=tmp_path / "l", backbone="conv2", bits=64).card.bits == 64
    path = tmp_path / "few.npz"
    np.savez(path, features=np.random.default_rng(1).standard_normal((40, 20)).astype(np.float32))
    for method, bits in (("hashing-baseline", 20), ("lsh", 32), (None, 20)):
        assert hg.train(f"features:{path}", method, out=tmp_path / str(method)).card.bits == bits


def test_with_labels_the_default_is_what_it_was(tmp_path: Path) -> None:
    card = train(tmp_path, np.arange(80) % 4, epochs=1, backbone="resnet20").card
    assert (card.method, card.bits) == ("csq", 32)
