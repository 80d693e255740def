"""Hardened hash models: a model, a defense, and the model's own loss on clean pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.core.checks import check_choice
from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.data.opened import Data
from hamguard.defenses.keep import Keep
from hamguard.defenses.registry import DEFENSES
from hamguard.defenses.settings import AdversarySettings, DefenseSettings
from hamguard.defenses.static import Static
from hamguard.defenses.task import Defense
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.folders import from_card
from hamguard.models.hash_model import HashModel
from hamguard.models.store import Card, load_folder
from hamguard.trainers.hash_model import CLASSES, checked_statistics, keep_class_codes, save_hash_model
from hamguard.trainers.job import KINDS, Defaults, Job
from hamguard.trainers.kind import Done, Kind, Place, Start, Trained, with_card

EPOCHS, NORMAL_EPOCHS = 10, 20
"""Epochs where nothing was asked for, and epochs of a training whose card does not say."""
GENTLE = 1e-4
"""Learning rate of a network whose batch norms rest: at 4e-4 EfficientNet-Lite0's codes were those of chance after 50 steps."""
STATISTICS = 2_000
"""Training pictures that a card's statistics are made of: they go through the whole network, which on photos costs minutes."""


@KINDS.register("hardened")
class HardenedKind(Kind):
    """A hash model that one of the defenses trained on."""

    name = "hardened"
    what = "defense"
    default = "saat"
    named = False  # cross-modal models have defenses of the same names
    own = ("eps", "norm")
    starts = (1, 1, "begins from one trained model")
    follows = True
    idle = ("patience", "selection", "validate_every", "finetune", "thaw")  # nothing is selected during a defense
    verb, doing = "harden", "hardening by"
    run_file = "harden-run.json"
    leaves = (CLASSES,)
    other = "another run, or one from another model"

    def methods(self) -> list[str]:
        """Of the registry."""
        return list(DEFENSES)

    def settings_type(self, method: str) -> type[DefenseSettings]:
        """Of the defense."""
        return DEFENSES[method].settings_type

    def presets(self, method: str) -> Sequence[str]:
        """Recipes of authors' code, where known."""
        return ("default", "paper") if DEFENSES[method].paper else ("default",)

    def preset(self, method: str, name: str | None) -> Defaults:
        """Settings and recipe of the authors' code."""
        kind = DEFENSES[method]
        if name == "paper":
            if not kind.paper:
                raise RequestError(f"{method} has no published recipe; leave out `preset=paper`")
            own = kind.settings_type.model_fields
            settings = {key: value for key, value in kind.paper.items() if key in own}
            return {
                "settings": settings,
                "training": {key: value for key, value in kind.paper.items() if key not in own},
            }
        if name is not None:
            check_choice("preset", name, ("default", "paper"))
        return {}

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The usual radius, and ten epochs."""
        return {"eps": 8 / 255, "norm": "linf", "training": {"epochs": EPOCHS}}

    def of(self, method: str) -> str:
        """The defense."""
        return f" of {method}"

    def check(self, job: Job) -> None:
        """Objective, and guide, loss and radius of the inner attack."""
        settings = job.parsed
        if settings.objective not in ("own", "keep"):
            check_choice("objective", settings.objective, ["own", "keep", *OBJECTIVES])
        if isinstance(settings, AdversarySettings):
            settings.attack(job.threat)  # a wrong guide, loss or radius
        else:
            _ = job.threat

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> Defense:
        """The defense on a copy of the model."""
        begun = with_card(start)
        model = copy.deepcopy(begun.model).requires_grad_(True).to(place.context.device)
        model.backbone.requires_grad_(not job.training.freeze)
        return new_defense(job, model, begun.card, data, process_group=place.context.process_group)

    def finish(self, job: Job, task: Defense, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """The card's fields are those of the start model, but for what the defense changed."""
        task.finish()
        task.model.requires_grad_(True)
        keep_class_codes(task.objective, task.model, done)
        card: Card = start[0].card
        defense = {
            "method": job.method,
            "title": task.title,
            "eps": job.eps,
            "norm": job.norm,
            "settings": job.settings,
            "objective": task.objective.name,
            "seed": job.seed,
            **({"rest": True} if task.codes.at_rest else {}),
        }
        return {
            "fit": card.fit,
            "method": card.method,
            "title": card.title,
            "settings": card.settings,
            "seed": card.seed,
            "initial_weights": card.initial_weights,
            "parent": start[0].model.digest,
            "statistics": checked_statistics(
                task.codes, "the hardened network returns", "every picture has", most=STATISTICS
            ),
            "defense": defense,
        }

    def save(self, task: Defense, place: Place, facts: dict[str, Any]) -> Trained:
        """A model folder."""
        return save_hash_model(task.model, place, facts)

    def load(self, folder: Path) -> Trained:
        """A model folder."""
        return Trained(*load_folder(folder))


def new_defense(
    job: Job, model: HashModel, card: Card, data: Data, *, process_group: ProcessGroup | None = None
) -> Defense:
    """The defense of a job at its very beginning.

    Raises:
        RequestError: pictures of another size, or labels that are needed and missing.
    """
    images = data.dataset.images
    if tuple(images.size) != tuple(model.size):
        (height, width), (h, w) = model.size, images.size
        raise RequestError(f"the model takes pictures of {height}x{width} pixels, the data have {h}x{w}")
    model.to(memory_format=torch.channels_last)  # as in training
    task = DEFENSES[job.method](
        model,
        new_objective(job, model, card, data),
        images,
        data.split.train,
        job.parsed,
        job.threat,
        seed=job.seed,
        head_lr_factor=job.training.head_lr_factor,
        views=job.training.augment,
        process_group=process_group,
    )
    task.codes.at_rest |= rests(job, card)
    return task


def rests(job: Job, card: Card) -> bool:
    """Whether batch norms keep their statistics: as asked, else as in the training of the start model."""
    asked: bool | None = job.parsed.rest
    return bool(card.recipe.get("freeze") or card.defense.get("rest")) if asked is None else asked


def learns_gently(job: Job, card: Card) -> bool:
    """Whether all weights learn, with batch norms at rest, and nobody said at which rate: then `GENTLE` is the one to take."""
    usual = "lr" not in job.training.model_fields_set and job.preset in (None, "default")
    return usual and not job.training.freeze and rests(job, card)


def new_objective(job: Job, model: HashModel, card: Card, data: Data) -> Objective:
    """The loss on clean pictures: by default that of the model's own method, with its settings, seed and centers.

    Where the model has no training objective (a fitted head), or one that looks at features or views, or the pictures have no
    labels, its codes are kept.

    Raises:
        RequestError: an objective that needs labels was asked for, and there are none; or one that looks at features or views.
    """
    device = next(model.parameters()).device
    labels = torch.from_numpy(data.dataset.labels[data.split.train].astype(np.float32)).to(device)  # (n, C)
    name, labeled = job.parsed.objective, bool(labels.any())
    if name == "own":
        name = card.method if card.method in OBJECTIVES and labeled else "keep"
    if name == "keep":
        return Keep(Settings(), bits=model.bits, labels=labels, seed=card.seed)
    if not labeled:
        raise RequestError(f"{data.dataset.name} has no labels; objective {name} needs them, keep does not")
    kind = OBJECTIVES[name]
    settings = from_card(kind.settings_type, card.settings) if name == card.method else kind.settings_type()
    objective = kind(settings, bits=model.bits, labels=labels, seed=card.seed)
    if not objective.needs_features and objective.needs_views == 1:
        return objective
    if job.parsed.objective == "own":
        return Keep(Settings(), bits=model.bits, labels=labels, seed=card.seed)
    looks = "features" if objective.needs_features else "several views"
    raise RequestError(f"objective {name} looks at {looks}, which no defense hands over; keep does not")


def epoch_cost(method: str, settings: DefenseSettings) -> float:
    """Passes through the network, forward and back, of one picture in an epoch of a defense; normal training has 1.

    >>> from hamguard.defenses.saat import SAATSettings
    >>> epoch_cost("saat", SAATSettings()), epoch_cost("control", DefenseSettings())
    (9.0, 1.0)
    """
    kind = DEFENSES[method]
    outer = 2.0 if kind.doubles else 1.0
    if not isinstance(settings, AdversarySettings) or issubclass(kind, Static):
        return outer  # static pictures are made once
    return outer + (1 if settings.fast else settings.steps)


def epochs_of_budget(budget: float, job: Job, normal_epochs: int | None) -> int:
    """Epochs, at least one, that cost `budget` times the training of the start model.

    Raises:
        RequestError: the budget is not above 0, or an epoch has some of the training pictures only.
    """
    if not 0 < budget < float("inf"):
        raise RequestError(f"`cost` must be above 0, got {budget:g}; 1 is what the training of the model cost")
    if job.parsed.pictures:
        raise RequestError("`cost` counts epochs over all training pictures; with pictures=... give epochs")
    whole = budget * (normal_epochs or NORMAL_EPOCHS)
    return max(1, round(whole / epoch_cost(job.method, job.parsed)))
