"""A cross-modal model on a split: codes of pictures and of texts, and the four searches between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import hamming_pairs, pack, sign
from hamguard.core.errors import RunError
from hamguard.core.rows import Row
from hamguard.core.types import Bytes, Ints
from hamguard.data.dataset import Dataset
from hamguard.data.split import Part, Split
from hamguard.evaluation.encode import encode
from hamguard.evaluation.search.curves import Curve, measure_curves
from hamguard.evaluation.search.model_rows import base_row
from hamguard.evaluation.search.score import EXACT, Convention, score_rows
from hamguard.models.cross_modal import CrossModel
from hamguard.models.store import Card
from hamguard.retrieval.intervals import bootstrap_interval
from hamguard.training.cross_train import texts_of

Modality: TypeAlias = Literal["image", "text"]
MODALITIES: tuple[Modality, Modality] = ("image", "text")
TASKS = ("image->text", "text->image", "image->image", "text->text")
Progress = Callable[[float, str], None]
STEP = 4096  # texts at once


def other_modality(modality: Modality) -> Modality:
    """Text for image, image for text."""
    return "text" if modality == "image" else "image"


def sides_of(task: str) -> tuple[Modality, Modality]:
    """What asks and what is searched.

    >>> sides_of("image->text")
    ('image', 'text')
    """
    asks, _, searched = task.partition("->")
    return ("image" if asks == "image" else "text"), ("image" if searched == "image" else "text")


@torch.no_grad()
def text_codes(model: CrossModel, texts: Sequence[str], device: torch.device | str = "cpu") -> Bytes:
    """Packed codes of texts, `(n, ceil(K / 8))`.

    Raises:
        RunError: the model returns NaN.
    """
    parts = []
    for start in range(0, len(texts), STEP):
        z = model.text.logits(model.vocabulary.bag(texts[start : start + STEP]).to(device))
        if not bool(z.isfinite().all()):
            raise RunError("the text side returns NaN or infinite numbers; its weights are broken")
        parts.append(pack(sign(z)))
    return np.concatenate(parts)


def text_bank(
    model: CrossModel, dataset: Dataset, split: Split, part: Part, device: torch.device | str = "cpu"
) -> CodeBank:
    """The code bank of the texts of one part.

    Raises:
        RequestError: the data set has no texts.
        RunError: the model returns NaN.
    """
    texts = texts_of(dataset)
    packed = text_codes(model, [texts[i] for i in part.index], device)
    ids = dataset.ids[part.index].astype(str)
    return CodeBank(packed, model.bits, dataset.labels[part.index], ids, model.text.digest, split.digest)


@dataclass(frozen=True)
class CrossGround:
    """A cross-modal model on its data, encoded once.

    Attributes:
        name: what rows call the model.
        model: both sides, frozen.
        card: of the image side.
        dataset: pictures and texts.
        split: their parts.
        query: codes of the queries by modality.
        database: codes of the database by modality.
        seed: seed of attacks and bootstrap.
        batch_size: items attacked at once.
        device: where to compute.
    """

    name: str
    model: CrossModel
    card: Card
    dataset: Dataset
    split: Split
    query: Mapping[Modality, CodeBank]
    database: Mapping[Modality, CodeBank]
    seed: int = 0
    batch_size: int = 128
    device: torch.device | str = "cpu"

    @cached_property
    def rows(self) -> Ints:
        """Rows of the data set that ask, `(Q,)`."""
        return self.split.query[: len(self.query["image"])]

    @cached_property
    def texts(self) -> list[str]:
        """Texts that ask."""
        texts = texts_of(self.dataset)
        return [texts[i] for i in self.rows]

    @cached_property
    def bags(self) -> Tensor:
        """Their bags, `(Q, D)`."""
        return self.model.vocabulary.bag(self.texts)

    @cached_property
    def reference(self) -> Mapping[Modality, PairBank]:
        """Codes of the training pairs, seen from either side."""
        part = self.split.part("train")
        image = encode(self.model.image, self.dataset, self.split, part, device=self.device)
        text = text_bank(self.model, self.dataset, self.split, part, self.device)
        pairs = PairBank.join(image, text)
        return {"image": pairs, "text": pairs.swapped()}

    def own_pairs(self, modality: Modality) -> PairBank:
        """Codes of the queries and of their other modality, as the published attack compares with."""
        return PairBank.join(self.query[modality], self.query[other_modality(modality)])

    def notes(self, modality: Modality) -> tuple[str, ...]:
        """What is to be said about the asking side."""
        empty = sum(not bool(row.any()) for row in self.bags) if modality == "text" else 0
        return (f"{empty} of {len(self.bags)} query texts have no known word and share one code",) if empty else ()


def open_ground(
    name: str,
    model: CrossModel,
    card: Card,
    dataset: Dataset,
    split: Split,
    *,
    queries: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> CrossGround:
    """Encode queries and database of both modalities.

    Raises:
        RequestError: no texts, or pictures that do not fit the model.
        RunError: the model returns NaN.
    """
    texts_of(dataset)
    model.freeze().to(device)
    asked, searched = split.part("query").first(queries), split.part("database")
    query = {
        "image": encode(model.image, dataset, split, asked, device=device),
        "text": text_bank(model, dataset, split, asked, device),
    }
    database = {
        "image": encode(model.image, dataset, split, searched, device=device, progress=progress),
        "text": text_bank(model, dataset, split, searched, device),
    }
    return CrossGround(name, model, card, dataset, split, query, database, seed, batch_size, device)  # type: ignore[arg-type]


def task_row(ground: CrossGround, task: str) -> Row:
    """The facts that every row of this model and task carries."""
    asks, searched = sides_of(task)
    banks = (ground.query[asks], ground.database[searched])
    row = base_row(ground.name, ground.model.image, ground.card, ground.dataset, ground.split, banks, ground.seed)
    hashes = {**row.hashes, "model": ground.model.digest}
    return replace(row, task=task, hashes=hashes, notes=(*row.notes, *ground.notes(asks)))


def cross_rows(
    ground: CrossGround,
    *,
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
    tasks: Sequence[str] = TASKS,
) -> list[Row]:
    """Clean rows of the searches, the floor of random codes beside each.

    Raises:
        RequestError: unknown metric, or an undefined combination.
    """
    rows = []
    for task in tasks:
        asks, searched = sides_of(task)
        rows += score_rows(
            ground.query[asks],
            ground.database[searched],
            metrics=metrics,
            convention=convention,
            facts=task_row(ground, task),
            seed=ground.seed,
        )
    return rows


def agreement_row(ground: CrossGround) -> Row:
    """Share of bits in which the codes of a picture and of its text agree; 0.5 for sides that know nothing of each other."""
    apart = hamming_pairs(ground.query["image"].packed, ground.query["text"].packed)
    values = 1 - apart / ground.model.bits
    base = replace(task_row(ground, "image->text"), task="pairs", metric="agreement", n=len(values))
    return replace(base, value=float(values.mean()), ci95=bootstrap_interval(values, seed=ground.seed))


def cross_curves(
    query: Mapping[Modality, CodeBank],
    database: Mapping[Modality, CodeBank],
    *,
    seed: int = 0,
    tasks: Sequence[str] = TASKS,
) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Precision over recall, and precision over N up to 1,000, of each search."""
    recall: dict[str, Curve] = {}
    at: dict[str, Curve] = {}
    for task in tasks:
        asks, searched = sides_of(task)
        found = measure_curves(query[asks], database[searched], name=task, seed=seed)
        recall[task], at[task] = found.precision_recall[task], found.precision_at[task]
    return recall, at
