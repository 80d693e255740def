"""A model on its data, encoded once for everything that is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import pack
from hamguard.core.context import Context
from hamguard.core.errors import DataMissingError, RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Array, Ints, Modality
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.features import holds_features
from hamguard.data.opened import Data
from hamguard.data.split import Role, Split
from hamguard.data.texts import check_text_side, has_text_side, texts_of
from hamguard.evaluation.indexed import Indexed, code_notes, read_indexed
from hamguard.evaluation.model_data import open_for_model
from hamguard.evaluation.originals import note_of, searched_part
from hamguard.images.quantize import as_pixels
from hamguard.models.cross_modal import CrossModel, has_texts, load_cross
from hamguard.models.foreign import check_face
from hamguard.models.store import AnyModel, Card, called, load_any
from hamguard.models.trial import notes_of
from hamguard.training.encode import encode, packed_codes, text_bags, text_bank

SEARCHES = ("image->text", "text->image", "image->image", "text->text")
"""Searches of a cross-modal model; any other model has one, without a name."""
ACROSS: Mapping[Modality, str] = {"image": "image->text", "text": "text->image"}
"""The search across modalities of what asks."""
Texts: TypeAlias = Literal["none", "any", "needed"]
"""Whether the text side of a cross-modal model is left alone, used where model and data have one, or needed."""
ENCODED = 256  # images that are encoded at once
PIXELS = 16 * 224 * 224
"""Of a batch that is attacked, at most: a gradient keeps 100 MB a photo of 224 pixels, and more photos at once are not faster."""


def other_modality(modality: Modality) -> Modality:
    """Text for image, image for text."""
    return "text" if modality == "image" else "image"


def modalities_of(search: str) -> tuple[Modality, Modality]:
    """What asks and what is searched.

    >>> modalities_of("image->text"), modalities_of("")
    (('image', 'text'), ('image', 'image'))
    """
    asks, _, searched = search.partition("->")
    return ("text" if asks == "text" else "image"), ("text" if searched == "text" else "image")


@dataclass(frozen=True)
class Loaded:
    """A model as rows name it.

    Attributes:
        name: what rows call it.
        model: the network; of a cross-modal model its image side.
        card: its card, None for foreign models.
        cross: both sides of a cross-modal model.
    """

    name: str
    model: AnyModel
    card: Card | None = None
    cross: CrossModel | None = None

    @classmethod
    def open(
        cls,
        model: str | Path | AnyModel | CrossModel | Loaded,
        *,
        name: str = "",
        card: Card | None = None,
        texts: Texts = "none",
        device: torch.device | str = "cpu",
    ) -> Loaded:
        """Load whatever names a model, or give a model a name.

        Args:
            model: as `load_any` takes it, or a model.
            name: what rows call it; by default the path, or what the model calls itself.
            card: of a model that is given.
            texts: whether to load the text side of a folder, too.
            device: where to put what is loaded; a model that is given stays where it is.

        Raises:
            RequestError: no such model, a bare module, or no text side where one is needed.
        """
        if isinstance(model, Loaded):
            return model
        if isinstance(model, CrossModel):
            return cls(name or "model", model.image, card, model.freeze())
        if not isinstance(model, (str, Path)):
            check_face(model)
            return cls(name or called(model), model, card or getattr(model, "card", None))
        if texts == "needed" or (texts == "any" and has_texts(model)):
            cross, own_card, _ = load_cross(model)
            cross.freeze().to(device)
            cross.image.to(memory_format=torch.channels_last)  # as in training: same speed, same rounding
            return cls(name or str(model), cross.image, own_card, cross)
        return cls(name or str(model), *load_any(model, device))


@dataclass(frozen=True)
class Ground:
    """A model on its data, encoded once for all that is asked of it.

    Attributes:
        name: what rows call the model.
        model: the network; of a cross-modal model its image side.
        card: its card, None for foreign models.
        data: images, texts where there are any, and their parts.
        query: codes of the clean queries.
        database: codes of the database; without a label those of all images, so that a query has its original to find.
        context: device, seed, batch size, and how progress is shown.
        cross: both sides of a cross-modal model whose texts ask and are searched, too; else None.
        indexed: the index that `database` was read from, where it was not encoded.
    """

    name: str
    model: AnyModel
    card: Card | None
    data: Data
    query: CodeBank
    database: CodeBank
    context: Context = field(default_factory=Context)
    cross: CrossModel | None = None
    indexed: Indexed | None = None
    _noisy: dict[Threat, CodeBank] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        model: str | Path | AnyModel | CrossModel | Loaded,
        data: str | Data | None = None,
        *,
        protocol: str | None = None,
        root: Path | str | None = None,
        queries: int | None = None,
        texts: Texts = "none",
        pixels: bool = True,
        index: Path | str | None = None,
        batch_size: int = ENCODED,
        context: Context | None = None,
    ) -> Ground:
        """Load a model, open its data, encode queries and database.

        Args:
            model: path, `package.module:factory`, a model, or what `Loaded.open` gave.
            data: source, or opened data; None for what the model's card says it was trained on.
            protocol: named split of a source; None for the model's own.
            root: folder of the named data sets.
            queries: the first so many of the query split; None for all.
            texts: whether texts ask and are searched, too.
            pixels: refuse data that have features in the place of pictures, which nothing can be changed in.
            index: folder or address of an index of the database, which is then read and not encoded.
            batch_size: images encoded at once.
            context: where to compute, seed, batch size of attacks.

        Raises:
            RequestError: no such model, data or index, images that do not fit the model, or no texts where they are needed.
            DataMissingError: features, where pixels are needed.
            StaleError: the index is of another model or split.
            RunError: the model returns NaN, or the data base of the index fails.
        """
        context = context or Context()
        loaded = Loaded.open(model, texts=texts, device=context.device)
        if data is None or isinstance(data, str):
            data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
        dataset, split = data.dataset, data.split
        if pixels and holds_features(dataset):
            raise DataMissingError(dataset.images.missing)
        if texts == "needed":
            check_text_side(dataset)
        cross = loaded.cross if has_text_side(dataset) else None
        indexed = None if index is None else read_indexed(index, loaded, data)
        asked, held = split.part("query").first(queries), searched_part(data)
        at: dict[str, Any] = {"batch_size": batch_size, "device": context.device}
        with context.stage(f"encoding with {loaded.name}") as progress:
            query = encode(loaded.model, dataset, split, asked, **at)
            database = indexed.bank if indexed else encode(loaded.model, dataset, split, held, progress=progress, **at)
        ground = cls(loaded.name, loaded.model, loaded.card, data, query, database, context, cross, indexed)
        if texts == "needed":
            _ = ground.text_query, ground.text_database
        return ground

    def __repr__(self) -> str:
        return f"Ground({self.name} on {self.dataset.name}: {len(self.query):,} queries, {len(self.database):,} items)"

    @property
    def loaded(self) -> Loaded:
        """The model alone."""
        return Loaded(self.name, self.model, self.card, self.cross)

    @property
    def dataset(self) -> Dataset:
        """Images, and texts where there are any."""
        return self.data.dataset

    @property
    def split(self) -> Split:
        """Their parts."""
        return self.data.split

    @property
    def seed(self) -> int:
        """Seed of attacks, targets and bootstrap."""
        return self.context.seed

    @property
    def batch_size(self) -> int:
        """Images attacked at once: as the context says, fewer of large ones."""
        height, width = self.dataset.images.size
        return min(self.context.batch_size, max(1, PIXELS // (height * width)))

    @property
    def device(self) -> torch.device | str:
        """Where to compute."""
        return self.context.device

    @property
    def labeled(self) -> bool:
        """Whether queries and database have labels, so that something can be relevant."""
        return bool(self.query.labels.any() and self.database.labels.any())

    @cached_property
    def rows(self) -> Ints:
        """Rows of the data set that are asked for, `(Q,)`."""
        return self.split.query[: len(self.query)]

    @cached_property
    def base(self) -> Row:
        """The facts that every row of this model on this split carries."""
        trained, card = None, self.card
        if card and (known := card.data.get("split")):
            trained = f"{card.data.get('name') or card.data.get('source')}, {known['train']:,} pictures"
        return Row(
            protocol=self.split.protocol,
            dataset=self.dataset.title,
            split=self.split.digest,
            train=trained,
            model=self.name,
            method=card.method if card else None,
            backbone=card.backbone if card else None,
            bits=self.model.bits,
            defense=card.defense or None if card else None,
            seed=self.seed,
            hashes={
                "model": self.model.digest,
                "split": self.split.digest,
                "query_codes": self.query.digest,
                "database_codes": self.database.digest,
            },
            notes=(
                *self.dataset.notes,
                *self.split.notes,
                *note_of(self.data),
                *notes_of(self.model),
                *code_notes(self),
            ),
        )

    def first(self, n: int) -> Ground:
        """The same asked with the first `n` queries alone."""
        return replace(self, query=self.query.select(np.arange(min(n, len(self.query)))))

    @cached_property
    def texts(self) -> list[str]:
        """Texts that ask.

        Raises:
            RequestError: the data have none.
        """
        texts = texts_of(self.dataset)
        return [texts[i] for i in self.rows]

    @cached_property
    def bags(self) -> Tensor:
        """What the text side takes of them, `(Q, D)`."""
        return text_bags(self.both.encoder, self.dataset, self.rows)

    @property
    def both(self) -> CrossModel:
        """Both sides of a cross-modal model.

        Raises:
            RequestError: it is none, or its data have no texts.
        """
        if self.cross is None:
            raise RequestError(f"{self.name} is asked for images alone: it has no text side, or the data no texts")
        return self.cross

    @cached_property
    def text_query(self) -> CodeBank:
        """Codes of the texts that ask."""
        part = self.split.part("query").first(len(self.query))
        return text_bank(self.both, self.dataset, self.split, part, self.device)

    @cached_property
    def text_database(self) -> CodeBank:
        """Codes of the texts that are searched."""
        return text_bank(self.both, self.dataset, self.split, searched_part(self.data), self.device)

    def query_of(self, modality: Modality) -> CodeBank:
        """Codes of what asks."""
        return self.query if modality == "image" else self.text_query

    def database_of(self, modality: Modality) -> CodeBank:
        """Codes of what is searched."""
        return self.database if modality == "image" else self.text_database

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of the searches; the only one of a model without texts is the empty name."""
        return SEARCHES if self.cross else ("",)

    def search(self, name: str = "") -> tuple[CodeBank, CodeBank]:
        """Codes that ask and codes that are searched."""
        asks, searched = modalities_of(name)
        return self.query_of(asks), self.database_of(searched)

    @cached_property
    def reference(self) -> CodeBank:
        """Codes of the training part, which guides vote over, with those of the texts beside them where there are any."""
        return self.codes_of_part("train")

    @cached_property
    def text_reference(self) -> PairBank:
        """The same seen from the text side."""
        found = self.reference
        assert isinstance(found, PairBank), "both() has refused others"
        return found.swapped()

    def reference_of(self, modality: Modality) -> CodeBank:
        """Codes of the training part as guides of one modality take them."""
        return self.reference if modality == "image" else self.text_reference

    def codes_of_part(self, role: Role, by: Loaded | AnyModel | None = None) -> CodeBank:
        """Codes of the images of a part by any model, with those of the texts beside them where it has a text side.

        Args:
            role: of the part; of the queries those that are asked.
            by: the model; this one where not given.
        """
        part = self.split.part(role)
        part = part.first(len(self.query)) if role == "query" else part
        loaded = self.loaded if by is None else Loaded.open(by)
        own = encode(loaded.model, self.dataset, self.split, part, device=self.device)
        if loaded.cross is None or not has_text_side(self.dataset):
            return own
        return PairBank.join(own, text_bank(loaded.cross, self.dataset, self.split, part, self.device))

    def items(self, modality: Modality, numbers: Ints) -> Tensor | list[str]:
        """Some of what asks: images `(n, C, H, W)` in [0, 1] where the model is, or texts."""
        if modality == "text":
            return [self.texts[number] for number in numbers]
        return self.dataset.images.batch(self.rows[numbers]).to(self.device)

    def codes_of(self, items: Array, numbers: Ints | None = None, modality: Modality = "image") -> CodeBank:
        """Codes of changed queries by this model, which may be another than the one that they were made on.

        Args:
            items: images, `(n, H, W)` or `(n, H, W, 3)` uint8, or bags of words, `(n, V)`.
            numbers: which queries they are; all of them by default.
            modality: what they are.
        """
        if modality == "image":
            packed = packed_codes(self.model, ImageStore(items), np.arange(len(items)), device=self.device)
        else:
            with torch.no_grad():
                packed = pack(self.both.text.code(torch.from_numpy(items).to(self.device)))
        clean = self.query_of(modality)
        return replace(clean if numbers is None else clean.select(numbers), packed=packed)

    def noisy(self, threat: Threat) -> CodeBank:
        """Codes of the queries under noise of a threat; attacks on one ground share it."""
        if threat not in self._noisy:
            noise, parts = ATTACKS["noise"](threat=threat), []
            for start in range(0, len(self.query), self.batch_size):
                numbers = range(start, min(start + self.batch_size, len(self.query)))
                x = self.dataset.images.batch(self.rows[numbers.start : numbers.stop]).to(self.device)
                parts.append(as_pixels(noise(self.model, x, index=numbers, seed=self.seed).x_adv))
            self._noisy[threat] = self.codes_of(np.concatenate(parts))
        return self._noisy[threat]
