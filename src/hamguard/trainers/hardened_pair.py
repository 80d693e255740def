"""Hardened pairs of nets: a cross-modal model that goes on learning with adversaries beside it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.core.archives import read_npz
from hamguard.core.errors import RequestError
from hamguard.core.files import write_npz
from hamguard.core.types import Array
from hamguard.data.opened import Data
from hamguard.defenses.cross_modal import (
    CROSS_DEFENSES,
    CrossDefenseSettings,
    distances,
    in_front,
    inner_cross,
    static_adversaries,
)
from hamguard.hashing.registry import CROSS_METHODS
from hamguard.models.cross_modal import CARD as TEXT_CARD
from hamguard.models.cross_modal import CrossModel, load_cross, load_parts, save_cross
from hamguard.models.folders import from_card
from hamguard.models.store import Card
from hamguard.trainers.job import KINDS, Job
from hamguard.trainers.kind import Done, Kind, Place, Start, Trained, with_card
from hamguard.trainers.networks import check_views
from hamguard.trainers.pair import check_pair_labels, kept_pairs, pair_statistics, pairs_of, with_batch
from hamguard.training.cross_task import TASKS, CrossTask, Pairs
from hamguard.training.features import frozen_features
from hamguard.training.recipe import Recipe

MADE = "adversaries.npz"


@KINDS.register("hardened-pair")
class HardenedPairKind(Kind):
    """A cross-modal model that one of three defenses trained on."""

    name = "hardened-pair"
    what = "defense of a cross-modal model"
    default = "static"
    named = False  # hash models have defenses of the same names
    own = ("eps", "norm")
    starts = (1, 1, "begins from one trained model")
    follows = True
    idle = ("finetune", "thaw", "patience", "selection", "validate_every")  # nothing is selected during a defense
    verb, doing = "harden", "hardening by"
    items = "pairs"
    run_file = "harden-run.json"
    other = "another run, or one from another model"
    leaves = (TEXT_CARD, MADE)

    def methods(self) -> list[str]:
        """There are three."""
        return list(CROSS_DEFENSES)

    def settings_type(self, method: str) -> type[CrossDefenseSettings]:
        """Of all three."""
        return CrossDefenseSettings

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The published radius; five epochs, as published; a frozen network sees each picture once, without random views."""
        asked = given.get("training", {})
        frozen = asked.get("freeze") if isinstance(asked, Mapping) else getattr(asked, "freeze", False)
        training = {"epochs": 5, "lr": 5e-4, "schedule": "cosine", "augment": "none" if frozen else "flip"}
        return {"eps": 10 / 255, "norm": "linf", "training": training}

    def of(self, method: str) -> str:
        """All three have the same settings."""
        return " of a cross-modal defense"

    def check(self, job: Job) -> None:
        """Pictures move within a ball of the maximum norm; a frozen network sees no random views and no new pictures."""
        if job.norm != "linf":
            raise RequestError(f"norm: cross-modal models are hardened for linf, got {job.norm!r}")
        if job.eps is not None and job.eps > 1:
            raise RequestError(f"eps: input should be less than or equal to 1, got {job.eps!r}")
        check_views(job.training)
        if job.training.freeze and job.method == "minmax":
            raise RequestError(
                "minmax makes new pictures in every step, whose features cannot be kept; leave out freeze"
            )

    def alone(self, job: Job) -> str:
        """As the training of such a model."""
        return "a cross-modal model"

    def recipe(self, job: Job, items: int) -> Recipe:
        """As in the training of such a model."""
        return with_batch(job.training, items)

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> CrossTask:
        """The model's own task on a copy of it, over clean pairs and adversaries."""
        begun = with_card(start)
        card: Card = begun.card
        model: CrossModel = copy.deepcopy(begun.model).requires_grad_(True)
        if model.encoder.name != "words":
            raise RequestError(
                f"{begun.name} reads texts by {model.encoder.name}; the defenses attack bags of words, whose values lie in [0, 1]"
            )
        kept, _ = kept_pairs(data.dataset, data.split.train, model.encoder, drop=True)
        check_pair_labels(data.dataset, kept, card.method)
        model.to(place.context.device)
        model.image.to(memory_format=torch.channels_last)
        pairs = pairs_of(data.dataset, kept, model.encoder)
        if job.method != "minmax":
            pairs = in_front(pairs, *_first(job, model, pairs, place))
        task = TASKS[card.method](
            model,
            pairs,
            from_card(CROSS_METHODS[card.method], card.settings),
            head_lr_factor=job.training.head_lr_factor,
            views=job.training.augment,
            seed=card.seed,
            features=frozen_features(model.image, pairs.images, pairs.index) if job.training.freeze else None,
        )
        if task.parts is not None:
            if begun.folder is None:
                raise RequestError(f"the discriminators of {begun.name} lie in its folder; give the folder to harden")
            load_parts(task.parts, begun.folder)
        if job.method == "minmax":
            task.adversaries = inner_cross(task, job.parsed, job.threat.eps, job.seed)
        return task

    def finish(self, job: Job, task: CrossTask, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """The card's fields are those of the start model, but for what the defense changed."""
        (begun,) = start
        card: Card = begun.card
        task.model.requires_grad_(True)
        defense = {
            "method": job.method,
            "title": CROSS_DEFENSES[job.method],
            "eps": job.eps,
            "norm": job.norm,
            "settings": job.settings,
            "objective": card.method,
            "seed": job.seed,
        }
        if job.method == "static":
            clean = len(kept_pairs(done.data.dataset, done.data.split.train, task.model.encoder, drop=True)[0])
            defense["adversaries"] = distances(task.pairs, clean)
        return {
            "fit": card.fit,
            "method": card.method,
            "title": card.title,
            "settings": card.settings,
            "seed": card.seed,
            "initial_weights": card.initial_weights,
            "parent": begun.model.digest,
            "defense": defense,
            "statistics": pair_statistics(task),
            "texts": dict(begun.text_card.texts),
        }

    def save(self, task: CrossTask, place: Place, facts: dict[str, Any]) -> Trained:
        """A model folder with a text side."""
        card, text_card = save_cross(task.model, place.folder, parts=task.parts, **facts)
        (place.folder / MADE).unlink(missing_ok=True)
        return Trained(task.model, card, text_card=text_card)

    def load(self, folder: Path) -> Trained:
        """A model folder with a text side."""
        model, card, text_card = load_cross(folder)
        return Trained(model, card, text_card=text_card)


def _first(job: Job, model: CrossModel, pairs: Pairs, place: Place) -> tuple[Array, Array]:
    """Pictures and bags of the first pairs: clean (`control`), or attacked (`static`) and kept for a run that goes on."""
    ask: CrossDefenseSettings = job.parsed
    m = max(1, int(ask.share * len(pairs)))
    if job.method == "control":
        return pairs.images.pixels(pairs.index[:m]), pairs.bags[:m].numpy()
    path = place.folder / MADE
    if path.is_file():
        arrays = read_npz(path, "adversaries", sealed=True)
        if str(arrays.get("run")) == place.run:
            return arrays["pixels"], arrays["bags"]
    place.claim()
    pixels, bags = static_adversaries(model, pairs, m, ask, job.threat.eps, job.seed)
    write_npz(path, {"pixels": pixels, "bags": bags, "run": np.array(place.run)})
    return pixels, bags
