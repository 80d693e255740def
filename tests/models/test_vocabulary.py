"""Words of texts: phrases and terms against a literal reading, laws of bags, what a vocabulary keeps."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hamguard.core.errors import RequestError
from hamguard.models.vocabulary import LONGEST, Vocabulary, phrases, terms

INSIDE = " \t\n\r'’-_"  # what may stand between two words of one phrase
SENTENCES = st.text(alphabet="abA é'’-_,.;!?/ \n0ß", max_size=40)
COLORS = st.lists(st.sampled_from(["red", "green", "blue", "circle", "square"]), min_size=1, max_size=6)
TEXTS = st.lists(COLORS.map(" ".join), min_size=1, max_size=12)


def slow_phrases(text: str) -> list[list[str]]:
    """Letter by letter: letters and digits make words, a few signs end a word, all others end the phrase."""
    found: list[list[str]] = [[]]
    word = ""
    for letter in text.casefold() + ".":
        if letter.isalnum():
            word += letter
            continue
        if word:
            found[-1].append(word)
        word = ""
        if letter not in INSIDE:
            found.append([])
    return [phrase for phrase in found if phrase]


def slow_terms(text: str, ngrams: int) -> set[str]:
    found = set()
    for phrase in slow_phrases(text):
        for start in range(len(phrase)):
            for end in range(start + 1, min(start + ngrams, len(phrase)) + 1):
                found.add(" ".join(phrase[start:end]))
    return found


@given(SENTENCES)
def test_phrases_and_terms_agree_with_a_reading_letter_by_letter(text: str) -> None:
    assert phrases(text) == slow_phrases(text)
    for ngrams in (1, 2, 3):
        assert terms(text, ngrams) == slow_terms(text, ngrams)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ,;.! ", []),
        ("Red CIRCLE", [["red", "circle"]]),
        ("red circle, blue square.", [["red", "circle"], ["blue", "square"]]),
        ("a (small) dog", [["a"], ["small"], ["dog"]]),
        ("women's T-shirts, size 42", [["women", "s", "t", "shirts"], ["size", "42"]]),
        ("women’s red_bag", [["women", "s", "red", "bag"]]),
        ("one\ntwo", [["one", "two"]]),
        ("Straße — ÉCOLE", [["strasse"], ["école"]]),
        ("赤い 丸、青い 四角", [["赤い", "丸"], ["青い", "四角"]]),
        ("кот и пёс", [["кот", "и", "пёс"]]),
        ("🙂 cat🙂dog", [["cat"], ["dog"]]),
    ],
)
def test_phrases(text: str, expected: list[list[str]]) -> None:
    assert phrases(text) == expected


def test_bigrams_never_stand_across_a_comma() -> None:
    found = terms("red circle, blue square", 3)
    assert {"red circle", "blue square"} <= found
    assert not {"circle blue", "red circle blue", "circle blue square"} & found
    assert terms("red circle blue", 1) == {"red", "circle", "blue"}


def test_an_accent_may_be_stored_as_a_character_of_its_own() -> None:
    apart = unicodedata.normalize("NFD", "Café déjà vu")
    assert apart != "Café déjà vu" and phrases(apart) == phrases("Café déjà vu") == [["café", "déjà", "vu"]]


def test_long_texts_are_cut() -> None:
    head = "ab " * (LONGEST // 3)
    assert len(head) < LONGEST < len(head + "zebra")
    assert terms(head + "zebra", 1) == {"ab", "zebra"[: LONGEST - len(head)]}
    assert terms("x" * (LONGEST + 50), 1) == {"x" * LONGEST}


def test_a_vocabulary_of_a_few_texts() -> None:
    texts = ["a red circle", "a red square", "a blue circle", "a blue square, red"]
    found = Vocabulary.fit(texts, least=2, ngrams=2, most=0.8)
    # "a" stands in all four, so it and "a red", "a blue" are left out; equal counts stand in the order of the alphabet
    assert found.words == ("red", "blue", "circle", "square")
    assert Vocabulary.fit(texts, least=1, ngrams=2, most=0.8).words == (
        "red", "blue", "circle", "square", "blue circle", "blue square", "red circle", "red square",
    )  # fmt: skip
    assert Vocabulary.fit(texts, least=1, ngrams=2, most=1.0).words[0] == "a"
    assert Vocabulary.fit(texts, size=2, least=1, ngrams=2, most=0.8).words == ("red", "blue")
    assert Vocabulary.fit(texts, least=2, ngrams=2, most=0.5).words == ("blue", "circle", "square")
    assert len(found) == 4 and found.ngrams == 2 and repr(found) == "Vocabulary(4 terms of up to 2 words)"
    assert found.column == {"red": 0, "blue": 1, "circle": 2, "square": 3}


@given(TEXTS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_fit_agrees_with_literal_counts(texts: list[str], least: int, ngrams: int, size: int, most: float) -> None:
    counts = Counter(term for text in texts for term in slow_terms(text, ngrams))
    common = {term for term in counts if counts[term] / len(texts) > most}
    wanted = sorted(
        (term for term in counts if counts[term] >= least and not any(word in common for word in term.split())),
        key=lambda term: (-counts[term], term),
    )[:size]
    ask = {"size": size, "least": least, "ngrams": ngrams, "most": most}
    if not wanted:
        with pytest.raises(RequestError, match=r"no word stands in at least .* training texts; lower `least`"):
            Vocabulary.fit(texts, **ask)  # type: ignore[arg-type]
        return
    found = Vocabulary.fit(texts, **ask)  # type: ignore[arg-type]
    assert list(found.words) == wanted
    assert Vocabulary.fit(texts[::-1], **ask) == found  # type: ignore[arg-type]
    assert Vocabulary.fit([text.upper() for text in texts], **ask).digest == found.digest  # type: ignore[arg-type]


def test_fit_refuses_numbers_out_of_range_and_texts_without_words() -> None:
    texts = ["red circle", "red square", "blue square"]
    for ask, expected in (
        ({"size": 0}, "vocabulary size must be at least 1, got 0"),
        ({"least": 0}, "least must be at least 1, got 0"),
        ({"ngrams": 0}, "ngrams must be between 1 and 5, got 0"),
        ({"ngrams": 6}, "ngrams must be between 1 and 5, got 6"),
        ({"most": 1.5}, "most must be between 0.0 and 1.0, got 1.5"),
        ({"most": float("nan")}, "most must be between 0.0 and 1.0, got nan"),
        ({"least": 4}, "no word stands in at least 4 and at most 50% of the 3 training texts"),
    ):
        with pytest.raises(RequestError, match=expected):
            Vocabulary.fit(texts, **ask)  # type: ignore[arg-type]
    for nothing in ([], ["", " , "]):
        with pytest.raises(RequestError, match="no word stands in at least 3"):
            Vocabulary.fit(nothing)


WORDS = Vocabulary(("red", "circle", "red circle", "blue", "square"), 2)


@given(SENTENCES | COLORS.map(", ".join) | COLORS.map(" ".join))
def test_a_bag_holds_exactly_the_known_terms(text: str) -> None:
    bag = WORDS.bag([text])
    assert bag.shape == (1, 5) and bag.dtype == torch.float32 and set(bag.unique().tolist()) <= {0.0, 1.0}
    held = {word for word, value in zip(WORDS.words, bag[0].tolist(), strict=True) if value}
    assert held == slow_terms(text, 2) & set(WORDS.words) and sorted(held) == WORDS.known(text)


@given(COLORS.flatmap(lambda words: st.tuples(st.just(words), st.permutations(words))))
def test_the_order_of_words_does_not_matter_where_terms_are_words(pair: tuple[list[str], list[str]]) -> None:
    single = Vocabulary(("red", "blue", "square"), 1)
    one, other = (single.bag([" ".join(words)]) for words in pair)
    assert torch.equal(one, other)


@given(COLORS, COLORS)
def test_the_bag_of_two_phrases_is_the_union_of_their_bags(one: list[str], other: list[str]) -> None:
    first, second = " ".join(one), " ".join(other)
    alone = WORDS.bag([first, second])
    assert torch.equal(WORDS.bag([f"{first}, {second}"])[0], alone.amax(0))
    assert torch.equal(WORDS.bag([f"{first}, {first}"])[0], alone[0])  # a term counts once


def test_the_order_of_words_does_matter_for_longer_terms() -> None:
    assert WORDS.bag(["red circle"])[0, 2] == 1.0 and WORDS.bag(["circle red"])[0, 2] == 0.0
    assert WORDS.bag([]).shape == (0, 5)


def test_digests_tell_vocabularies_apart() -> None:
    kinds = [
        WORDS,
        Vocabulary(WORDS.words, 1),
        Vocabulary(WORDS.words[::-1], 2),
        Vocabulary(WORDS.words[:-1], 2),
        Vocabulary(("red",)),
    ]
    assert len({kind.digest for kind in kinds}) == len(kinds)
    assert Vocabulary(WORDS.words, 2).digest == WORDS.digest


def test_the_bag_of_a_query() -> None:
    assert torch.equal(WORDS.bag_of_query(" a RED circle! "), WORDS.bag(["red circle"]))
    for text in ("", "  \n "):
        with pytest.raises(RequestError, match="the text to search for is empty; give one or more words"):
            WORDS.bag_of_query(text)
    for text in ("zebra", "reds", "?!"):
        with pytest.raises(RequestError, match="the model knows no word of .*; it knows 5 terms such as red, circle"):
            WORDS.bag_of_query(text)
    with pytest.raises(RequestError) as caught:
        WORDS.bag_of_query("zebra\n" * 500)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
