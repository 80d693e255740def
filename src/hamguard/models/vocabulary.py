"""Words of texts: how a text becomes a bag of words, and the vocabulary that is saved with a cross-modal model.

A text is parted into phrases at punctuation, a phrase into words; a term is a word, or up to `ngrams` words in a row inside a
phrase, so that "red circle" differs from "red square, blue circle". A vocabulary is made from the training texts only.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from hamguard.core.checks import check_range
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError

LONGEST = 10_000  # characters of a text that are read; names and captions have less than 500
_BREAK = re.compile(r"[^\w\s'’-]+")
_WORD = re.compile(r"[^\W_]+")


def phrases(text: str) -> list[list[str]]:
    """The words of a text in lower case, by phrase; letters with accents are one character, however they are stored.

    >>> phrases("A red circle, and T-shirts")
    [['a', 'red', 'circle'], ['and', 't', 'shirts']]
    """
    plain = unicodedata.normalize("NFC", text[:LONGEST]).casefold()
    parts = (_WORD.findall(part) for part in _BREAK.split(plain))
    return [part for part in parts if part]


def terms(text: str, ngrams: int) -> set[str]:
    """All terms of a text: words, and up to `ngrams` words in a row.

    >>> sorted(terms("red circle", 2))
    ['circle', 'red', 'red circle']
    """
    return {
        " ".join(part[start : start + length])
        for part in phrases(text)
        for length in range(1, ngrams + 1)
        for start in range(len(part) - length + 1)
    }


@dataclass(frozen=True)
class Vocabulary:
    """The terms that a text net knows.

    Attributes:
        words: one term a column, most frequent first.
        ngrams: longest term, in words.
    """

    words: tuple[str, ...]
    ngrams: int = 1

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} terms of up to {self.ngrams} words)"

    @property
    def name(self) -> Literal["words"]:
        """What settings and cards call a text encoder that makes bags of words."""
        return "words"

    @property
    def vocabulary(self) -> Vocabulary:
        """Itself, as the vocabulary of a text encoder."""
        return self

    @cached_property
    def column(self) -> dict[str, int]:
        """Column of each term."""
        return {word: number for number, word in enumerate(self.words)}

    @property
    def digest(self) -> str:
        """Content hash; bags of another vocabulary mean something else."""
        return digest_json([self.ngrams, *self.words])

    @classmethod
    def fit(
        cls, texts: Sequence[str], *, size: int = 1000, least: int = 3, ngrams: int = 2, most: float = 0.5
    ) -> Vocabulary:
        """The vocabulary of training texts.

        Args:
            texts: one a picture.
            size: most terms kept, the frequent ones first.
            least: texts that a term must stand in.
            ngrams: longest term, in words.
            most: share of the texts above which a term says nothing ("a", "on"); it and all longer terms with it are left out.

        Raises:
            RequestError: no term is left, or a number is out of range.
        """
        check_range("vocabulary size", size, 1)
        check_range("least", least, 1)
        check_range("ngrams", ngrams, 1, 5)
        check_range("most", most, 0.0, 1.0)
        counts = Counter(term for text in texts for term in terms(text, ngrams))
        common = {term for term, n in counts.items() if n > most * len(texts)}
        kept = [
            (-n, term) for term, n in counts.items() if n >= least and not common.intersection([term, *term.split()])
        ]
        if not kept:
            raise RequestError(
                f"no word stands in at least {least} and at most {most:.0%} of the {len(texts):,} training texts; "
                "lower `least`, or give texts"
            )
        return cls(tuple(term for _, term in sorted(kept)[:size]), ngrams)

    def known(self, text: str) -> list[str]:
        """The terms of a text that stand in the vocabulary, sorted."""
        return sorted(term for term in terms(text, self.ngrams) if term in self.column)

    def reads(self, text: str) -> bool:
        """Whether a text holds a known term."""
        return bool(self.known(text))

    def bag(self, texts: Sequence[str]) -> Tensor:
        """Bags of words, `(n, D)` float32 in {0, 1}: 1 where the text holds the term."""
        out = torch.zeros(len(texts), len(self))
        for row, text in enumerate(texts):
            found = [self.column[term] for term in terms(text, self.ngrams) if term in self.column]
            out[row, found] = 1.0
        return out  # (n, D)

    def bag_of_query(self, text: str) -> Tensor:
        """The bag of a text that somebody asks with, `(1, D)`.

        Raises:
            RequestError: the text is empty, or none of its words is known.
        """
        if not text.strip():
            raise RequestError("the text to search for is empty; give one or more words")
        bag = self.bag([text])
        if not bool(bag.any()):
            shown = ", ".join(self.words[:5])
            raise RequestError(
                f"the model knows no word of {text[:80]!r}; it knows {len(self):,} terms such as {shown}"
            )
        return bag
