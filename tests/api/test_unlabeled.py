"""Pictures without labels, and no other word: what they are hashed by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamguard as hg
from hamguard.core.errors import RequestError

PICTURES = np.random.default_rng(0).integers(0, 256, (80, 24, 24, 3), np.uint8)
NONE = np.zeros((80, 2), np.uint8)


def train(tmp_path: Path, labels: Any = NONE, **words: Any) -> Any:
    return hg.train(hg.data(PICTURES, labels, name="bare"), out=tmp_path / "m", backbone="resnet20", **words)


def test_without_labels_and_without_a_method_it_is_itq_of_64_bits(tmp_path: Path) -> None:
    told: list[str] = []
    card = train(tmp_path, context=hg.Context(tell=told.append)).card
    assert (card.method, card.bits) == ("itq", 64) and told == ["bare has no labels: itq, as no method is named"]
    assert hg.train(hg.data(PICTURES, NONE, name="bare"), out=tmp_path / "m", backbone="resnet20").card == card, (
        "the same run"
    )


@pytest.mark.parametrize(("words", "method", "bits"), [
    ({"bits": 16}, "itq", 16), ({"method": "lsh"}, "lsh", 32), ({"method": "itq"}, "itq", 32), ({"freeze": True}, "itq", 64),
])  # fmt: skip
def test_what_is_asked_for_wins(words: dict[str, Any], method: str, bits: int, tmp_path: Path) -> None:
    card = train(tmp_path, **words).card
    assert (card.method, card.bits) == (method, bits)


def test_a_named_method_that_needs_labels_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="bare has no labels; csq needs them, "):
        train(tmp_path, method="csq")
    with pytest.raises(RequestError, match="itq is fitted in one pass and takes no training keys, got epochs"):
        train(tmp_path, epochs=3)


def test_with_labels_the_default_is_what_it_was(tmp_path: Path) -> None:
    card = train(tmp_path, np.arange(80) % 4, epochs=1).card
    assert (card.method, card.bits) == ("csq", 32)
