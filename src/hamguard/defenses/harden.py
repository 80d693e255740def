"""From a request and a model folder to the folder of a hardened model: data, objective, defense, loop, card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hamguard.core.context import ProcessGroup
from hamguard.core.errors import CollapseError, DamagedError, RequestError, RunError
from hamguard.core.files import read_text, write_sealed
from hamguard.data.dataset import Dataset
from hamguard.data.opened import data_facts
from hamguard.data.split import Split
from hamguard.defenses.keep import Keep
from hamguard.defenses.request import HardenRequest
from hamguard.defenses.task import Defense
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.folders import from_card
from hamguard.models.hash_model import HashModel
from hamguard.models.store import CARD, Card, load_folder, make_card, save_model
from hamguard.training.distributed import join_processes, wait
from hamguard.training.hash_task import advice
from hamguard.training.loop import Progress, fit, forget
from hamguard.training.run_folder import is_finished
from hamguard.training.statistics import code_statistics

RUN, HISTORY = "harden-run.json", "history.jsonl"


@dataclass(frozen=True)
class Hardened:
    """What a defense left behind.

    Attributes:
        model: the hardened model, in evaluation mode.
        card: its card.
        history: facts of each epoch.
        fresh: False where the folder held the finished run already.
    """

    model: HashModel
    card: Card
    history: tuple[dict[str, float], ...]
    fresh: bool

    @property
    def seconds(self) -> float:
        """Time that the steps took; each epoch's facts hold the sum so far."""
        return self.history[-1]["seconds"]

    @property
    def overfitted(self) -> int:
        """Epochs in which the alarm of one-step attacks went off."""
        return sum(int(row.get("overfitted", 0)) for row in self.history)


def harden(
    request: HardenRequest,
    start: Path,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> Hardened:
    """Harden a model into a folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        start: model folder to begin from.
        dataset: pictures and labels.
        split: its parts; only `train` is learned from.
        folder: model folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        progress: told how far the run is.

    Raises:
        RequestError: something does not fit together.
        StaleError: the folder holds another run, or one from another model.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: the codes became constant.
        StoppedError: a person stopped the run; what was done is kept.
    """
    process_group = join_processes()
    model, card = load_folder(start)
    if folder.resolve() == Path(start).resolve():
        raise RequestError(f"{folder} is the model to harden; --out must be another folder")
    parent = model.digest
    run = "-".join([request.digest, split.digest, parent, str(process_group.size)])
    done = is_finished(
        folder,
        run,
        run_file=RUN,
        card_file=CARD,
        or_else=", or one from another model",
        restart=restart,
        leads=process_group.leads,
    )
    wait(process_group)  # nobody may look at a folder that the leading process writes already
    if done:
        return _read(folder)
    task = new_defense(request, model.to(device), card, dataset, split, process_group=process_group)
    if process_group.leads:
        told = {"request": request.model_dump(mode="json"), "parent": parent, "processes": process_group.size}
        write_sealed(folder / RUN, {"run": run, **told})
    history = fit(
        task,
        request.training,
        seed=request.seed,
        folder=folder,
        run=run,
        process_group=process_group,
        progress=progress,
    )
    task.finish()
    facts = _facts(request, task, card, parent, dataset, split)
    model.eval()
    made = save_model(model, folder, **facts) if process_group.leads else make_card(model, **facts)
    if process_group.leads:
        forget(folder)
    return Hardened(model, made, tuple(history), fresh=True)


def new_defense(
    request: HardenRequest,
    model: HashModel,
    card: Card,
    dataset: Dataset,
    split: Split,
    *,
    process_group: ProcessGroup | None = None,
) -> Defense:
    """The defense of a request at its very beginning.

    Raises:
        RequestError: too few pictures, pictures of another size, or labels that are needed and missing.
    """
    images, learned = dataset.images, split.train
    if len(learned) < 2:
        raise RequestError(f"training needs at least 2 pictures, the train split has {len(learned)}")
    if tuple(images.size) != tuple(model.size):
        (height, width), (h, w) = model.size, images.size
        raise RequestError(f"the model takes pictures of {height}x{width} pixels, the data have {h}x{w}")
    model.to(memory_format=torch.channels_last)  # as in training
    objective = new_objective(request, model, card, dataset, split)
    recipe = request.training
    return request.kind(
        model, objective, images, learned, request.parsed, request.threat, seed=request.seed,
        head_lr_factor=recipe.head_lr_factor, views=recipe.augment, process_group=process_group,
    )  # fmt: skip


def new_objective(request: HardenRequest, model: HashModel, card: Card, dataset: Dataset, split: Split) -> Objective:
    """The loss on clean pictures: by default that of the model's own method, with its settings, seed and centers.

    Where the model has no training objective (a fitted head) or the pictures have no labels, its codes are kept.

    Raises:
        RequestError: an objective that needs labels was asked for, and there are none.
    """
    device = next(model.parameters()).device
    labels = torch.from_numpy(dataset.labels[split.train].astype(np.float32)).to(device)  # (n, C)
    name, labeled = request.parsed.objective, bool(labels.any())
    if name == "own":
        name = card.method if card.method in OBJECTIVES and labeled else "keep"
    if name == "keep":
        return Keep(Settings(), bits=model.bits, labels=labels, seed=card.seed)
    if not labeled:
        raise RequestError(f"{dataset.name} has no labels; objective {name} needs them, keep does not")
    kind = OBJECTIVES[name]
    settings = from_card(kind.settings_type, card.settings) if name == card.method else kind.settings_type()
    return kind(settings, bits=model.bits, labels=labels, seed=card.seed)


def _facts(
    request: HardenRequest, task: Defense, card: Card, parent: str, dataset: Dataset, split: Split
) -> dict[str, object]:
    """The card's fields: of the start model, but for what the defense changed."""
    logits = task.codes.outputs(every=max(1, task.items // 10_000))
    if not bool(logits.isfinite().all()):
        raise RunError("the hardened network returns NaN or infinite numbers; lower the learning rate (--set lr=...)")
    statistics = code_statistics(logits.cpu())
    if statistics["distinct_codes"] == 1:
        raise CollapseError(f"the codes collapsed: every picture has the same code. {advice(task.objective)}")
    recipe = {**request.training.model_dump(), "batch_size": request.training.batch_of(task.items)}
    defense = {
        "method": request.method,
        "title": task.title,
        "eps": request.eps,
        "norm": request.norm,
        "settings": request.settings,
        "objective": task.objective.name,
    }
    return {
        "fit": card.fit, "method": card.method, "title": card.title, "settings": card.settings, "recipe": recipe,
        "seed": card.seed, "initial_weights": card.initial_weights, "parent": parent, "statistics": statistics,
        "data": data_facts(dataset, split), "defense": {**defense, "seed": request.seed},
    }  # fmt: skip


def _read(folder: Path) -> Hardened:
    """What a finished run left."""
    model, card = load_folder(folder)
    try:
        history = tuple(json.loads(line) for line in read_text(folder / HISTORY, "history").splitlines())
    except ValueError as error:
        raise DamagedError(folder / HISTORY, "a line of it is no JSON object") from error
    return Hardened(model, card, history, fresh=False)
