"""Pairs of nets: pictures and texts in one Hamming space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.core.context import Context
from hamguard.core.errors import CollapseError, RequestError, RunError
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset
from hamguard.data.features import holds_features
from hamguard.data.opened import Data
from hamguard.data.texts import check_text_side, texts_of
from hamguard.hashing.objective import CrossSettings
from hamguard.hashing.registry import CROSS_METHODS
from hamguard.models.cross_modal import CARD as TEXT_CARD
from hamguard.models.cross_modal import CrossModel, load_cross, save_cross
from hamguard.models.text_encoders import GivenFeatures, Sentences, TextEncoder
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary
from hamguard.trainers.job import KINDS, Defaults, Job
from hamguard.trainers.kind import Done, Kind, Place, Start, Trained
from hamguard.trainers.networks import FITS, build_model, check_differ, check_frozen, check_views, kept_features
from hamguard.training.cross_task import ADVICE, TASKS, CrossTask, Pairs
from hamguard.training.encode import text_bags
from hamguard.training.recipe import Recipe
from hamguard.training.statistics import code_statistics

BATCH, ENOUGH = 100, 4000
"""Pairs a step on sets of that many pairs or more; smaller sets take the common rule, which keeps the number of steps up."""


def with_batch(recipe: Recipe, items: int) -> Recipe:
    """The recipe with the pairs a step that it means on a set of `items`.

    >>> with_batch(Recipe(), 5000).batch_size, with_batch(Recipe(), 1000).batch_size
    (100, 32)
    """
    size = recipe.batch_size or (BATCH if items >= ENOUGH else recipe.batch_of(items))
    return recipe.model_copy(update={"batch_size": size})


@KINDS.register("pair")
class PairKind(Kind):
    """A net for pictures and one for texts, by one of the cross-modal methods."""

    name = "pair"
    what = "cross-modal method"
    default = "dcmh"
    own = ("model",)
    takes_features = True
    idle = ("finetune", "thaw", "patience", "selection", "validate_every")  # nothing is selected during the training
    in_recipe = " in the recipe"
    items = "pairs"
    leaves = (TEXT_CARD,)

    def methods(self) -> list[str]:
        """Of the registry."""
        return list(CROSS_METHODS)

    def settings_type(self, method: str) -> type[CrossSettings]:
        """Of the method."""
        return CROSS_METHODS[method]

    def presets(self, method: str) -> Sequence[str]:
        """Of the method."""
        return ("default", *CROSS_METHODS[method].presets)

    def preset(self, method: str, name: str | None) -> Defaults:
        """Settings of a published form, and its recipe where the source says it."""
        kind = CROSS_METHODS[method]
        if name is None or name not in kind.presets:
            return super().preset(method, name)
        return {"settings": kind.presets[name], "training": kind.preset_training.get(name, {})}

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The recipe that suits the method; a frozen network sees each picture once, without random views."""
        asked = given.get("training", {})
        frozen = asked.get("freeze") if isinstance(asked, Mapping) else getattr(asked, "freeze", False)
        return {"training": {**CROSS_METHODS[method].training, **({"augment": "none"} if frozen else {})}}

    def of(self, method: str) -> str:
        """The method."""
        return f" of {method}"

    def check(self, job: Job) -> None:
        """A frozen network sees no random views."""
        check_views(job.training)

    def alone(self, job: Job) -> str:
        """Labels and discriminators of several processes would have to be gathered."""
        return job.method

    def recipe(self, job: Job, items: int) -> Recipe:
        """Larger batches than hash training takes."""
        return with_batch(job.training, items)

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> CrossTask:
        """Text encoder and both nets."""
        return new_pair(job, data, place.context)

    def finish(self, job: Job, task: CrossTask, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """Statistics of both codes, and what is known of the texts."""
        data = done.data
        drop = job.parsed.without_text == "drop"
        _, counts = kept_pairs(data.dataset, data.split.train, task.model.encoder, drop=drop)
        task.model.requires_grad_(True)
        return {
            "fit": FITS.get(self.data_facts(done.data)["source"], "crop"),
            "method": job.method,
            "title": job.parsed.title,
            "initial_weights": task.model.image.initial_weights,
            "statistics": pair_statistics(task),
            "texts": counts,
        }

    def save(self, task: CrossTask, place: Place, facts: dict[str, Any]) -> Trained:
        """A model folder with a text side."""
        card, text_card = save_cross(task.model, place.folder, parts=task.parts, **facts)
        return Trained(task.model, card, text_card=text_card)

    def load(self, folder: Path) -> Trained:
        """A model folder with a text side."""
        model, card, text_card = load_cross(folder)
        return Trained(model, card, text_card=text_card)


def new_pair(job: Job, data: Data, context: Context | None = None) -> CrossTask:
    """The task of a job at its very beginning.

    Raises:
        RequestError: no texts or no labels, pictures without text, a backbone of random weights that is to stay as it is, or
            something that does not fit together.
    """
    ask, learned, context = job.parsed, data.split.train, context or Context()
    of_features = holds_features(data.dataset)
    check_text_side(data.dataset)
    check_pair_labels(data.dataset, learned, job.method)
    check_frozen(job, data)
    encoder = new_encoder(ask, data)
    kept, _ = kept_pairs(data.dataset, learned, encoder, drop=ask.without_text == "drop")
    image = build_model(job.network, job.seed, data, features=ask.features)
    text = TextModel(ask.text_net, len(encoder), image.bits, width=ask.text_width, features=ask.features, seed=job.seed)
    model = CrossModel(image, text, encoder).to(context.device)
    model.image.to(memory_format=torch.channels_last)
    return TASKS[job.method](
        model,
        pairs_of(data.dataset, kept, encoder),
        ask,
        head_lr_factor=job.training.head_lr_factor,
        views="none" if of_features else job.training.augment,  # features have no views
        seed=job.seed,
        features=kept_features(model.image, data, kept, context) if job.training.freeze else None,
    )


def new_encoder(ask: CrossSettings, data: Data) -> TextEncoder:
    """What turns the texts of the training part into bags; a vocabulary is made of them whatever does.

    Raises:
        RequestError: no word is left for a vocabulary that is needed, or text features are asked for and the data have none.
    """
    dataset, held = data.dataset, data.dataset.text_features
    name = ask.text_encoder or ("words" if held is None else "features")
    if name == "features":
        if held is None:
            raise RequestError(f"{dataset.name} has no text_features; they stand in a features: file beside features")
        return GivenFeatures(held.shape[1])
    texts = texts_of(dataset)
    learned = [texts[i] for i in data.split.train]
    if name == "words":
        return Vocabulary.fit(learned, size=ask.words, least=ask.least, ngrams=ask.ngrams)
    try:
        return Sentences(Vocabulary.fit(learned, size=ask.words, least=ask.least, ngrams=1))
    except RequestError:  # no word is frequent enough; a sentence needs none
        return Sentences(Vocabulary(()))


def check_pair_labels(dataset: Dataset, learned: Ints, method: str) -> None:
    """Check that labels tell the training pairs apart.

    Raises:
        RequestError: there are none, or all pairs have the same.
    """
    if not dataset.labels[learned].any():
        raise RequestError(f"{dataset.name} has no labels; {method} needs them to know which pairs are similar")
    check_differ(dataset, learned, method)


def kept_pairs(dataset: Dataset, learned: Ints, encoder: TextEncoder, *, drop: bool) -> tuple[Ints, dict[str, int]]:
    """Rows of a training part whose text says something, and counts; one of unknown words only teaches nothing and is left out.

    Raises:
        RequestError: some have no text at all and are not to be dropped, or fewer than two are left.
    """
    if encoder.name == "features":
        return learned, {"training": len(learned), "without_text": 0, "unknown_words_only": 0}
    texts = texts_of(dataset)
    silent = np.array([not texts[i].strip() for i in learned], dtype=bool)
    unknown = np.array([not encoder.reads(texts[i]) for i in learned], dtype=bool)
    if silent.any() and not drop:
        first = dataset.ids[learned[int(np.flatnonzero(silent)[0])]]
        raise RequestError(
            f"{int(silent.sum()):,} of {len(learned):,} training pictures have no text, first {first}; "
            "give them texts, or leave them out by `without_text=drop`"
        )
    kept = learned[~unknown]
    if len(kept) < 2:
        raise RequestError(f"{len(kept)} training pictures have a text with a known word; at least 2 are needed")
    counts = {
        "training": len(kept),
        "without_text": int(silent.sum()),
        "unknown_words_only": int((unknown & ~silent).sum()),
    }
    return kept, counts


def pairs_of(dataset: Dataset, rows: Ints, encoder: TextEncoder) -> Pairs:
    """Pairs of some rows of a data set."""
    labels = torch.from_numpy(dataset.labels[rows].astype(np.float32))
    return Pairs(dataset.images, rows, text_bags(encoder, dataset, rows), labels)


def pair_statistics(task: CrossTask) -> dict[str, float]:
    """Statistics of the codes of both sides of a trained task; the model is put into evaluation mode.

    Raises:
        RunError: the networks return NaN.
        CollapseError: all pictures, or all texts, have one code.
    """
    task.model.eval()
    z, t = task.image_outputs().cpu(), task.text_outputs().cpu()
    if not bool(z.isfinite().all() and t.isfinite().all()):
        raise RunError("the trained networks return NaN or infinite numbers; lower the learning rate (`lr=...`)")
    statistics, words = code_statistics(z), code_statistics(t)
    for side, found in (("picture", statistics), ("text", words)):
        if found["distinct_codes"] == 1:
            raise CollapseError(f"the codes collapsed: every training {side} has the same code. {ADVICE}")
    statistics |= {f"text_{name}": value for name, value in words.items()}
    statistics["pairs_agreeing_bits"] = float(((z >= 0) == (t >= 0)).float().mean())
    return statistics
