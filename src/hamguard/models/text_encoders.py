"""What turns texts into the numbers that a text net takes: a vocabulary (bags of words), a sentence encoder, or a file of features.

The row of one text is its *bag*, whatever made it: ones where a bag of words holds a term, or the vector of a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from hamguard.core.digests import digest_bytes
from hamguard.core.errors import RequestError
from hamguard.core.types import EncoderName
from hamguard.models.minilm import WIDTH, minilm_digest, sentence_vectors
from hamguard.models.vocabulary import Vocabulary


class TextEncoder(Protocol):
    """Texts to bags, `(n, D)`; `len` is D."""

    @property
    def name(self) -> EncoderName:
        """What settings and cards call it."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Terms of the training texts."""

    @property
    def digest(self) -> str:
        """Content hash; bags of another encoder mean something else."""

    def __len__(self) -> int: ...

    def reads(self, text: str) -> bool:
        """Whether a text says anything to it."""

    def bag(self, texts: Sequence[str]) -> Tensor:
        """Bags of texts, `(n, D)` float32."""

    def bag_of_query(self, text: str) -> Tensor:
        """The bag of a text that somebody asks with, `(1, D)`.

        Raises:
            RequestError: it says nothing to it.
        """


@dataclass(frozen=True)
class Sentences:
    """The sentence encoder all-MiniLM-L6-v2, which stays as it is; it knows words that no training text has.

    Attributes:
        vocabulary: terms of the training texts, which edits of whole words may add; no bag depends on them.
    """

    vocabulary: Vocabulary

    @property
    def name(self) -> EncoderName:
        """What settings and cards call it."""
        return "minilm"

    def __len__(self) -> int:
        return WIDTH

    @property
    def digest(self) -> str:
        """Of its weights and of the vocabulary."""
        return digest_bytes(minilm_digest().encode(), self.vocabulary.digest.encode())

    def reads(self, text: str) -> bool:
        """Any text but an empty one."""
        return bool(text.strip())

    def bag(self, texts: Sequence[str]) -> Tensor:
        """Vectors of unit length, `(n, 384)`.

        Raises:
            MissingFileError: the package with its weights is not installed.
        """
        return sentence_vectors(texts)

    def bag_of_query(self, text: str) -> Tensor:
        """The vector of a text, `(1, 384)`.

        Raises:
            RequestError: the text is empty.
            MissingFileError: the package with the weights is not installed.
        """
        if not text.strip():
            raise RequestError("the text to search for is empty; give one or more words")
        return self.bag([text])


@dataclass(frozen=True)
class GivenFeatures:
    """Features of texts that lie in a file beside those of pictures; what made them is not here, so no text can be read.

    Attributes:
        width: features of a text, D.
    """

    width: int

    @property
    def name(self) -> EncoderName:
        """What settings and cards call it."""
        return "features"

    def __len__(self) -> int:
        return self.width

    @property
    def vocabulary(self) -> Vocabulary:
        """None of its own."""
        return Vocabulary(())

    @property
    def digest(self) -> str:
        """Of what is known of them."""
        return digest_bytes(self.name.encode(), str(self.width).encode())

    def reads(self, text: str) -> bool:
        """No text is read."""
        return True

    def bag(self, texts: Sequence[str]) -> Tensor:
        """Never.

        Raises:
            RequestError: always.
        """
        raise RequestError(
            "the text side learned on text features of a file, and what made them is not here; it is asked with rows of such "
            "a file (query:N of an index of texts), not with words"
        )

    def bag_of_query(self, text: str) -> Tensor:
        """Never.

        Raises:
            RequestError: always.
        """
        return self.bag([text])


def text_encoder(name: EncoderName, vocabulary: Vocabulary, width: int) -> TextEncoder:
    """The encoder of a card.

    Args:
        name: which.
        vocabulary: terms of the training texts.
        width: numbers that the text net takes.

    Raises:
        RequestError: the text net takes bags of another width.
    """
    made: dict[EncoderName, TextEncoder] = {
        "words": vocabulary,
        "minilm": Sentences(vocabulary),
        "features": GivenFeatures(width),
    }
    if len(made[name]) != width:
        raise RequestError(f"the text encoder {name} gives {len(made[name])} numbers, the text net takes {width}")
    return made[name]
