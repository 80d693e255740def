"""Model folders: `model.safetensors` and `card.json`, never a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hamguard import __version__
from hamguard.core.errors import RequestError
from hamguard.core.html import Shown, block_html, facts_html
from hamguard.core.papers import papers_of
from hamguard.models.folders import (
    FORMAT,
    card_of,
    check_weights,
    first_fault,
    read_card_file,
    with_weights,
    write_folder,
)
from hamguard.models.foreign import MAX_SIDE, ForeignModel, foreign_from_export, foreign_from_factory
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import FILE, panel_entry, panel_folder, panel_state
from hamguard.models.shipped import MODELS, PANEL, PREFIX, is_panel, is_shipped, model_place
from hamguard.models.weight_files import read_safetensors

AnyModel: TypeAlias = HashModel | ForeignModel

MAX_BITS = 4096
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
"""Pixels; a card that asks for more is no card of ours and would only fill the memory."""

WEIGHTS, CARD = "model.safetensors", "card.json"


class _SplitFacts(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    train: int = Field(ge=0)


class _DataFacts(BaseModel):
    """What a card says of the data that the model learned from, where it says anything."""

    model_config = ConfigDict(extra="allow", strict=True)

    source: str | None = ""
    name: str = ""
    split: _SplitFacts | None = None
    protocol: str | None = None
    split_seed: int | None = 0
    size: Side | None = None
    drop_duplicates: bool | None = False
    notes: list[str] = []
    class_names: list[str] = []


class Card(Shown, BaseModel):
    """Facts that travel with weights.

    Attributes:
        backbone: backbone name.
        bits: code length K.
        channels: channels of the pictures.
        size: height and width in pixels.
        fit: how a picture of another shape is brought to that size: crop, pad (on white) or stretch.
        mean, std: normalization inside the model.
        method: hash method; `title` names its paper.
        settings: hyper-parameters of the method.
        recipe: training recipe, complete.
        seed: seed of the run.
        data: source, protocol, split hash, notes on the data, class names.
        weights_hash: content hash of the weights.
        initial_weights: where the backbone's first weights came from; empty for random ones.
        parent: hash of the model that this one was made from; empty for none.
        defense: what hardened it: method, eps, norm, settings, seed; empty for none.
        statistics: bit balance, correlation, collisions, quantization error on the training set.
        history: file of the training history inside the folder.
        version: hamguard's version.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1, 2] = FORMAT
    backbone: str
    bits: int = Field(ge=1, le=MAX_BITS)
    channels: Literal[1, 3]
    size: tuple[Side, Side]
    fit: str = "crop"
    mean: list[float]
    std: list[float]
    method: str = ""
    title: str = ""
    settings: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    seed: int = 0
    data: dict[str, Any] = {}
    weights_hash: str = ""
    initial_weights: str = ""
    parent: str = ""
    defense: dict[str, Any] = {}
    statistics: dict[str, float] = {}
    history: str = "history.jsonl"
    version: str = __version__

    @field_validator("data")
    @classmethod
    def _check_data(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            _DataFacts(**value)
        except ValidationError as error:
            raise ValueError(first_fault(error)) from error
        return value

    @property
    def bibtex(self) -> tuple[str, ...]:
        """What to cite for the model: the papers of its hash method, and of the defense that hardened it."""
        names = (f"hash:{self.method}", f"defense:{self.defense.get('method')}")
        return tuple(paper.bibtex for paper in papers_of(names))

    @property
    def summary(self) -> dict[str, Any]:
        """What tells the model from others."""
        return {
            "method": self.method,
            "backbone": self.backbone,
            "bits": self.bits,
            "images": f"{self.channels} x {self.size[0]} x {self.size[1]}",
            "data": self.data.get("name") or self.data.get("source"),
            "training images": (self.data.get("split") or {}).get("train"),
            "hardened by": self.defense.get("title"),
            "weights": self.weights_hash,
        }

    def _repr_html_(self) -> str:
        facts = {name: value for name, value in self.summary.items() if value not in (None, "")}
        return facts_html(self.title or self.method or "hash model", facts) + "".join(map(block_html, self.bibtex))


def make_card(model: HashModel, **facts: Any) -> Card:
    """The card of a model as it is now; `facts` are further fields of `Card`."""
    return Card(
        backbone=model.name,
        bits=model.bits,
        channels=model.channels,
        size=model.size,
        mean=model.mean.flatten().tolist(),
        std=model.std.flatten().tolist(),
        weights_hash=model.digest,
        **facts,
    )


def save_model(model: HashModel, folder: Path | str, **facts: Any) -> Card:
    """Write a model folder; the card is written last, so a folder with a card is complete.

    Args:
        model: what to save.
        folder: where to; made if missing.
        facts: further fields of `Card`.

    Returns:
        The card as written.

    Raises:
        RequestError: it is no `HashModel`; foreign networks have no card.
        RunError: the folder cannot be written.
    """
    if not isinstance(model, HashModel):
        raise RequestError(f"a model folder holds a HashModel, got {type(model).__name__}")
    folder = Path(folder)
    card = make_card(model, **facts)
    write_folder(folder / WEIGHTS, model.state_dict(), folder / CARD, card)
    return card


def read_card(folder: Path | str) -> Card:
    """Read the card of a model folder, or of `shipped:NAME` or `panel:NAME`.

    Raises:
        RequestError: the folder or its card is missing, or the card is damaged.
    """
    if is_panel(folder):
        return card_of(panel_entry(str(folder)).card, Card, panel_folder() / FILE)
    place = model_place(folder)
    missing = f"{folder} is not a model folder: it has no {CARD}"
    if any(place.glob("*run.json")):  # a training claims its folder by such a file, and writes the card last
        missing = (
            f"{folder} holds a training that has not ended; the command that began it goes on where it was stopped"
        )
    return read_card_file(place / CARD, Card, missing)


def load_folder(folder: Path | str) -> tuple[HashModel, Card]:
    """Load a model folder, or `shipped:NAME` or `panel:NAME`, in evaluation mode, on the CPU.

    Raises:
        RequestError: something is missing or damaged.
        StaleError: the weights are not those that the card was written for.
    """
    card = read_card(folder)
    state = panel_state(str(folder)) if is_panel(folder) else read_safetensors(model_place(folder) / WEIGHTS)
    model = with_weights(
        lambda: HashModel(
            card.backbone,
            card.bits,
            channels=card.channels,
            size=card.size,
            mean=card.mean,
            std=card.std,
            weights=state,
        ),
        state,
        folder,
    )
    model.eval()
    try:
        model.check_size()
    except RequestError as error:
        raise RequestError(f"{folder}: weights and card do not fit: {error}") from error
    check_weights(model.digest, card.weights_hash, folder)
    model.card, model.place = card, str(folder)
    return model, card


def called(model: object) -> str:
    """What rows call a model: where it came from, else its own name, else its class."""
    return str(getattr(model, "place", "") or getattr(model, "name", "") or type(model).__name__)


def load_any(text: str | Path, device: torch.device | str = "cpu") -> tuple[AnyModel, Card | None]:
    """Load whatever names a model: a folder, `shipped:NAME`, `panel:NAME`, `package.module:factory`, or a `torch.export` file.

    Returns:
        The model in evaluation mode with frozen weights, and its card (None for foreign models).

    Raises:
        RequestError: it is none of these.
    """
    path = Path(text)
    model: AnyModel
    card = None
    if is_shipped(text):
        model, card = load_folder(text)
    elif path.is_dir():
        model, card = load_folder(path.absolute() if is_shipped(path) else path)  # ./shipped:digits is a folder
    elif path.suffix == ".pt2":
        model = foreign_from_export(path)
    elif ":" in str(text) and not path.exists():
        model = foreign_from_factory(str(text))
    else:
        raise RequestError(
            f"no model at {text}: give a model folder, package.module:factory, a torch.export file (.pt2), or one that "
            f"ships with hamguard: {', '.join(PREFIX + name for name in MODELS)}, {PANEL}NAME (hamguard panel lists them)"
        )
    model.eval()
    if isinstance(model, HashModel):
        model.to(memory_format=torch.channels_last)  # as in training: same speed, same rounding
    return model.requires_grad_(False).to(device), card
