"""Hash models: a network and a hash method, or a head that is fitted to features in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.core.checks import suggest
from hamguard.core.context import Context
from hamguard.core.errors import CollapseError, RequestError, RunError
from hamguard.data.features import holds_features
from hamguard.data.opened import Data
from hamguard.data.split import require_role
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import OBJECTIVES, UNSUPERVISED, hash_methods
from hamguard.models.cross_modal import CARD as TEXT_CARD
from hamguard.models.hash_model import HashModel
from hamguard.models.head_norm import add_head_norm
from hamguard.models.store import load_folder, make_card, save_model
from hamguard.trainers.job import KINDS, Defaults, Job, asked_for
from hamguard.trainers.kind import Done, Kind, Place, Start, Trained
from hamguard.trainers.networks import FITS, build_model, check_differ, check_frozen, check_views, kept_features, thaw
from hamguard.trainers.validation import validation_map
from hamguard.training.hash_task import HashTask, advice
from hamguard.training.statistics import code_statistics

LEARNED = "learned_codes.npz"
CLASSES = "class_codes.npz"


@dataclass
class FittedHead:
    """An unsupervised hash head at work: there is nothing to repeat, so no loop sees it.

    Attributes:
        model: the network with its fitted head.
        logits: of the training pictures, `(n, K)`.
    """

    model: HashModel
    logits: Tensor
    objective: Objective | None = None

    @property
    def items(self) -> int:
        """Training pictures."""
        return len(self.logits)

    def outputs(self, every: int = 1) -> Tensor:
        """Logits of the training pictures, `(n, K)`."""
        return self.logits


@KINDS.register("model")
class HashModelKind(Kind):
    """A hash model, by one of the hash methods."""

    name = "model"
    what = "hash method"
    default = "csq"
    own = ("model",)
    takes_features = True
    idle = ()
    reach = ("", "settings", "data", "model", "training")
    other = "a model of another run"
    leaves = (TEXT_CARD, LEARNED, CLASSES)  # a text side there would not belong to the new codes

    def methods(self) -> list[str]:
        """Supervised ones, then those that are fitted."""
        return hash_methods()

    def settings_type(self, method: str) -> type[Settings]:
        """Of the objective; fitted heads have none."""
        return Settings if method in UNSUPERVISED else OBJECTIVES[method].settings_type

    def presets(self, method: str) -> Sequence[str]:
        """Of the objective."""
        return () if method in UNSUPERVISED else list(OBJECTIVES[method].presets)

    def preset(self, method: str, name: str | None) -> Defaults:
        """Settings of a published form, and its recipe where the source says it."""
        if method in UNSUPERVISED and name is not None:
            raise RequestError(f"{method} has no presets, got {name!r}")
        if name is not None and name in self.presets(method):
            kind = OBJECTIVES[method]
            return {"settings": kind.presets[name], "training": kind.preset_training.get(name, {})}
        if name is not None:
            known = ", ".join(self.presets(method)) or "none"
            near = suggest(str(name), self.presets(method))
            raise RequestError(f"unknown preset {name!r} of {method}; allowed: {known}{near}")
        return {}

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The recipe that suits the method, and what it says of a head that learns alone."""
        if method in UNSUPERVISED:
            return {"training": {}}
        kind = OBJECTIVES[method]
        freeze, finetune = (asked_for(given, "training", name) for name in ("freeze", "finetune"))
        alone = kind.frozen if freeze is True and "preset" not in given else {}
        training = {} if finetune else alone.get("training", {})  # rates and views are those of the head alone
        return {"settings": alone.get("settings", {}), "training": {**kind.training, **training}}

    def refused(self, method: str, given: Mapping[str, Any]) -> list[str]:
        """Keys that a fitted head would not look at; its backbone is frozen whether it is asked for or not."""
        sections = ("settings", "training") if method in UNSUPERVISED else ()
        asked = {name: dict(given[name]) for name in sections if isinstance(given.get(name), Mapping)}
        if asked.get("training", {}).get("freeze") is True:
            del asked["training"]["freeze"]
        return [
            f"{method} is fitted in one pass and takes no {section} keys, got {', '.join(keys)}"
            for section, keys in asked.items()
            if keys
        ]

    def check(self, job: Job) -> None:
        """What freezing goes with.

        Raises:
            RequestError: something that it does not.
        """
        recipe = job.training
        if recipe.finetune and not recipe.freeze:
            raise RequestError("finetune are epochs after those of the head alone; give freeze=true, or epochs alone")
        if recipe.thaw < 1 and not recipe.finetune:
            raise RequestError("thaw says which weights finetune; give freeze=true and finetune=EPOCHS, too")
        check_views(recipe, of_features=True)

    def alone(self, job: Job) -> str:
        """All weights after the head, whose network is not the one that began."""
        return "finetune after freeze" if job.training.finetune else ""

    def steps(self, job: Job) -> bool:
        """Fitted heads take one pass."""
        return job.method not in UNSUPERVISED

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> HashTask | FittedHead:  # type: ignore[override]
        """A network and an objective, or a head that is fitted already."""
        selected = require_role(data.split.part(job.training.selection), "validation")  # type: ignore[arg-type]
        if job.training.patience and not len(selected):
            raise RequestError(
                f"early stopping (patience) needs a validation split, {data.dataset.name} has no pictures there"
            )
        if holds_features(data.dataset) and job.training.augment not in ("none", "drop"):
            raise RequestError(f"features have no views; leave out augment={job.training.augment}")
        if job.method not in UNSUPERVISED:
            check_frozen(job, data)
        model = build_model(job.network, job.seed, data).to(place.context.device)
        model.to(memory_format=torch.channels_last)  # convolutions on a CPU are a quarter faster so
        if job.method in UNSUPERVISED:
            return FittedHead(model, fit_head(model, job, data, place.context))
        return new_task(job, model, data, place.context)

    def score(self, job: Job, task: Any, data: Data, place: Place) -> Callable[[], float] | None:
        """MAP of the validation part, where the recipe stops early."""
        if not job.training.patience:
            return None
        return validation_map(task.model, data, place.context.device)

    def finish(self, job: Job, task: Any, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """Statistics of the codes, the method's own learned codes, and those of its classes."""
        model = task.model.requires_grad_(True)
        if isinstance(task, HashTask):
            task.finish()
        statistics = checked_statistics(task, "the trained network returns", "every training picture has")
        title = UNSUPERVISED.facts(job.method)["title"] if task.objective is None else task.objective.title
        source = done.data.dataset
        facts = {
            "fit": FITS.get(self.data_facts(done.data)["source"], "crop"),
            "method": job.method,
            "title": title,
            "initial_weights": model.initial_weights,
            "statistics": statistics,
        }
        learned = task.objective.learned_codes() if task.objective else None
        if learned is not None and done.place.context.process_group.leads:
            index = done.data.split.train
            CodeBank.of(
                learned,
                source.labels[index],
                ids=source.ids[index],
                model_hash=model.digest,
                split_hash=done.data.split.digest,
            ).save(done.place.folder / LEARNED)
        if task.objective:
            keep_class_codes(task.objective, model, done)
        return facts

    def save(self, task: Any, place: Place, facts: dict[str, Any]) -> Trained:
        """A model folder."""
        return save_hash_model(task.model, place, facts)

    def load(self, folder: Path) -> Trained:
        """A model folder."""
        return Trained(*load_folder(folder))


def keep_class_codes(objective: Objective, model: HashModel, done: Done) -> None:
    """Write the fixed codes of the classes beside a model whose method has such codes."""
    codes = objective.class_codes()
    if codes is not None and done.place.context.process_group.leads:
        own: Any = {"model_hash": model.digest, "split_hash": done.data.split.digest}
        CodeBank.of(codes, np.eye(len(codes)), **own).save(done.place.folder / CLASSES)


def save_hash_model(model: HashModel, place: Place, facts: dict[str, Any]) -> Trained:
    """Write a model folder; processes that do not lead make the card only."""
    leads = place.context.process_group.leads
    card = save_model(model, place.folder, **facts) if leads else make_card(model, **facts)
    return Trained(model, card)


def without_labels() -> list[str]:
    """Names of the methods that learn from pictures alone, as their defaults are."""
    return [*(name for name, kind in OBJECTIVES.items() if not kind.settings_type().needs_labels), *UNSUPERVISED]


def new_task(job: Job, model: HashModel, data: Data, context: Context) -> HashTask:
    """A network and a hash method on the training part; with features where the backbone stays as it is.

    Raises:
        RequestError: no labels, or labels that are all the same, for a method that learns from them; a batch norm before the code,
            and one picture a process.
        RunError: a backbone that stays as it is returns NaN, or the cache of features cannot be written.
    """
    dataset, learned = data.dataset, data.split.train
    kind, device = OBJECTIVES[job.method], next(model.parameters()).device
    labels = torch.from_numpy(dataset.labels[learned].astype(np.float32)).to(device)  # (n, C)
    if job.parsed.needs_labels:
        if labels.shape[1] == 0 or not bool(labels.any()):
            others = ", ".join(name for name in without_labels() if name != job.method)
            raise RequestError(f"{dataset.name} has no labels; {job.method} needs them, {others} do not")
        check_differ(dataset, learned, job.method)
    objective = kind(job.parsed, bits=model.bits, labels=labels, seed=job.seed)
    if objective.batch_norm:
        count = min(job.training.batch_of(len(learned)), len(learned)) // context.process_group.size
        if count < 2:
            raise RequestError(f"{job.method} has a batch norm before the code, which needs two pictures a process")
        add_head_norm(model)
    features = None
    if job.training.freeze:
        model.trunk.requires_grad_(False)
        if job.training.finetune:
            thaw(model.trunk, job.training.thaw)
        features = kept_features(model, data, data.split.train, context)
    return HashTask(
        model,
        objective,
        dataset.images,
        learned,
        head_lr_factor=job.training.head_lr_factor,
        views=job.training.augment,
        features=features,
        finetunes_from=job.training.epochs if job.training.finetune else None,
        process_group=context.process_group,
    )


@torch.no_grad()
def fit_head(model: HashModel, job: Job, data: Data, context: Context) -> Tensor:
    """Fit an unsupervised hash head (LSH, ITQ, PCA) to the features of the training pictures; returns their logits `(n, K)`."""
    features = model.neck(kept_features(model, data, data.split.train, context).to(context.device)).cpu()  # (n, D)
    head = UNSUPERVISED[job.method](features, model.bits, job.seed)
    model.head.weight.copy_(torch.as_tensor(head.weight))
    model.head.bias.copy_(torch.as_tensor(head.bias))
    return head(features)  # (n, K)


def checked_statistics(task: Any, returns: str, every: str, most: int = 10_000) -> dict[str, float]:
    """Statistics of the codes of a trained task's pictures; the model is put into evaluation mode.

    Args:
        task: a `HashTask` or `FittedHead`.
        returns: beginning of what is said of NaN: `the trained network returns`.
        every: beginning of what is said of one code: `every picture has`.
        most: pictures that are looked at, about; there is a bound, because a large set need not be encoded for a few figures.

    Raises:
        RunError: the network returns NaN.
        CollapseError: all pictures have one code.
    """
    task.model.eval()
    logits = task.outputs(every=max(1, task.items // most))
    if not bool(logits.isfinite().all()):
        raise RunError(f"{returns} NaN or infinite numbers; lower the learning rate (`lr=...`)")
    statistics = code_statistics(logits.cpu())
    if statistics["distinct_codes"] == 1:
        raise CollapseError(f"the codes collapsed: {every} the same code. {advice(task.objective)}")
    return statistics
