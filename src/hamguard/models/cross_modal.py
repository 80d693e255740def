"""`CrossModel`: an image side and a text side whose codes lie in one Hamming space, and the folder that holds both.

The folder is an ordinary model folder (`model.safetensors`, `card.json`: the image side, for every command that takes a hash model)
with `text.safetensors` and `text.json` beside it: the text net, its vocabulary, and which encoder reads texts for it.
`parts.safetensors` keeps what only training needs (SSAH's label net and discriminators), so that a model can be trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import nn

from hamguard import __version__
from hamguard.core.asked import Grown
from hamguard.core.digests import digest_bytes
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.html import Shown
from hamguard.core.types import EncoderName
from hamguard.models.folders import FORMAT, check_weights, read_card_file, take_weights, with_weights, write_folder
from hamguard.models.hash_model import HashModel
from hamguard.models.reader import Reader
from hamguard.models.store import CARD as IMAGE_CARD
from hamguard.models.store import MAX_BITS, Card, load_folder, save_model
from hamguard.models.text_encoders import TextEncoder, text_encoder
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary
from hamguard.models.weight_files import read_safetensors

WEIGHTS, CARD, PARTS = "text.safetensors", "text.json", "parts.safetensors"
MAX_WORDS, MAX_WIDTH = 100_000, 65_536  # a card that asks for more is no card of ours and would only fill the memory


class TextCard(Grown):
    """Facts that travel with the text side.

    Attributes:
        kind: net over the bag of words.
        encoder: what makes bags of texts: a vocabulary (`words`), `minilm`, or nothing that is here (`features`).
        words: the vocabulary; where it makes the bags, one term a column.
        takes: numbers of a bag, where the vocabulary does not make it; 0 where it does.
        ngrams: longest term in words.
        bits: code length K, that of the image side.
        width: units of the wide layer.
        features: units of the feature layer, 0 for none.
        partner: content hash of the image side's weights that it learned with.
        weights_hash: content hash of the weights.
        texts: what the vocabulary was made from: number of training texts, and of those without a known word.
        version: hamguard's version.
    """

    later: ClassVar[tuple[str, ...]] = ("encoder", "takes")

    format: Literal[1, 2] = FORMAT
    kind: Literal["mlp", "multi-scale"]
    encoder: EncoderName = "words"
    words: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(max_length=MAX_WORDS)
    takes: int = Field(0, ge=0, le=MAX_WIDTH)
    ngrams: int = Field(ge=1, le=5)
    bits: int = Field(ge=1, le=MAX_BITS)
    width: int = Field(ge=1, le=MAX_WIDTH)
    features: int = Field(ge=0, le=MAX_WIDTH)
    partner: str = ""
    weights_hash: str = ""
    texts: dict[str, int] = Field(default_factory=dict)
    version: str = __version__

    @model_validator(mode="after")
    def _has_columns(self) -> TextCard:
        if not self.columns:
            raise ValueError("words: a bag of words needs one word at least")
        return self

    @property
    def columns(self) -> int:
        """Numbers of a bag, D."""
        return len(self.words) if self.encoder == "words" else self.takes


class CrossModel(Shown, nn.Module):
    """Both sides.

    Args:
        image: pixels to codes.
        text: bags to codes.
        encoder: texts to bags; a vocabulary for bags of words.

    Raises:
        RequestError: the sides have codes of different length, or the encoder gives bags of another size than the text net takes.
    """

    card: Any = None
    """The card of a pair that was trained; None for one that was built."""
    text_card: Any = None
    """That of its text side."""
    place: str = ""
    """Where a trained pair lies."""

    def __init__(self, image: HashModel, text: TextModel, encoder: TextEncoder) -> None:
        super().__init__()
        if image.bits != text.bits:
            raise RequestError(f"both sides need codes of one length, got {image.bits} and {text.bits} bits")
        if text.words != len(encoder):
            raise RequestError(f"the text net takes {text.words} terms, the vocabulary has {len(encoder)}")
        self.image, self.text, self.encoder = image, text, encoder
        self.bits = image.bits

    @property
    def digest(self) -> str:
        """Content hash of both sides and what makes the bags."""
        return digest_bytes(*(part.encode() for part in (self.image.digest, self.text.digest, self.encoder.digest)))

    @property
    def vocabulary(self) -> Vocabulary:
        """Terms of the training texts."""
        return self.encoder.vocabulary

    @property
    def reader(self) -> Reader:
        """The text side with what reads texts for it."""
        return Reader(self.text, self.encoder)

    def freeze(self) -> CrossModel:
        """Itself, in evaluation mode with frozen weights."""
        self.eval()
        self.requires_grad_(False)
        return self

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others: that of its card where it has one, and its words."""
        own = self.image.summary if self.card is None else {"place": self.place, **self.card.summary}
        return {
            **own,
            **(
                {"words": f"{len(self.vocabulary):,}"} if self.encoder.name == "words" else {"texts": self.encoder.name}
            ),
        }

    def _repr_html_(self) -> str:
        return self.image._repr_html_() if self.card is None else str(self.card._repr_html_())


def image_side(model: Any) -> Any:
    """What turns images into codes: the image side of a model of images and texts, any other model itself."""
    return model.image if isinstance(model, CrossModel) else model


def save_cross(
    model: CrossModel,
    folder: Path | str,
    *,
    parts: nn.Module | None = None,
    texts: dict[str, int] | None = None,
    **facts: Any,
) -> tuple[Card, TextCard]:
    """Write a cross-modal model folder; the image side's card is written last, so a folder with a card is complete.

    Args:
        model: both sides.
        folder: where to; made if missing.
        parts: networks that only training needs.
        texts: facts about the training texts.
        facts: further fields of the image side's `Card`.

    Raises:
        RunError: the folder cannot be written.
    """
    folder, text = Path(folder), model.text
    for earlier in (folder / IMAGE_CARD, folder / PARTS):
        if earlier.is_file():
            earlier.unlink()
    card = TextCard(
        kind=text.kind, encoder=model.encoder.name, words=list(model.vocabulary.words), ngrams=model.vocabulary.ngrams,
        takes=0 if model.encoder.name == "words" else len(model.encoder), bits=text.bits, width=text.width,
        features=text.features, partner=model.image.digest, weights_hash=text.digest, texts=texts or {},
    )  # fmt: skip
    if parts is not None:
        write_folder(folder / PARTS, parts.state_dict(), folder / CARD, card)
    write_folder(folder / WEIGHTS, text.state_dict(), folder / CARD, card)
    return save_model(model.image, folder, **facts), card


def has_texts(folder: Path | str) -> bool:
    """Whether a model folder has a text side."""
    return (Path(folder) / CARD).is_file() and (Path(folder) / IMAGE_CARD).is_file()


def load_cross(folder: Path | str) -> tuple[CrossModel, Card, TextCard]:
    """Load a cross-modal model folder, in evaluation mode, on the CPU.

    Raises:
        RequestError: there is no text side, or something is damaged.
        StaleError: weights are not those that a card was written for, or the two sides did not learn together.
    """
    folder = Path(folder)
    image, card = load_folder(folder)
    missing = f"{folder} has no text side; cross-modal models: hamguard train --method dcmh (or ssah)"
    facts = read_card_file(folder / CARD, TextCard, missing)
    text = with_weights(
        lambda: TextModel(facts.kind, facts.columns, facts.bits, width=facts.width, features=facts.features),
        read_safetensors(folder / WEIGHTS),
        folder,
    )
    check_weights(text.digest, facts.weights_hash, folder)
    if facts.partner and facts.partner != image.digest:
        raise StaleError(
            f"{folder}: the text side learned with image weights {facts.partner}, the folder holds {image.digest}; "
            "their codes do not compare"
        )
    vocabulary = Vocabulary(tuple(facts.words), facts.ngrams)
    model = CrossModel(image, text, text_encoder(facts.encoder, vocabulary, facts.columns))
    return model.eval(), card, facts


def load_parts(parts: nn.Module, folder: Path | str) -> None:
    """Give the networks that only training needs their weights.

    Raises:
        RequestError: they are missing or do not fit.
    """
    take_weights(parts, read_safetensors(Path(folder) / PARTS), folder)
