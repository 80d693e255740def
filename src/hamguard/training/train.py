"""From a request to a model folder: data, network, method, loop, card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.core.context import ProcessGroup
from hamguard.core.digests import digest_file
from hamguard.core.errors import CollapseError, RequestError, RunError, StaleError
from hamguard.core.files import sweep, write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import data_facts
from hamguard.data.split import Part, Split, require_role
from hamguard.hashing.registry import OBJECTIVES, UNSUPERVISED
from hamguard.models.backbones import IMAGENET_MEAN, IMAGENET_STD, default_backbone, load_initial
from hamguard.models.cross_modal import CARD as TEXT_CARD
from hamguard.models.hash_model import HashModel
from hamguard.models.store import CARD, Card, load_folder, make_card, save_model
from hamguard.training.distributed import join_processes, wait
from hamguard.training.hash_task import HashTask, advice
from hamguard.training.loop import Progress, fit, forget
from hamguard.training.request import ModelSection, TrainRequest
from hamguard.training.run_folder import stored_run
from hamguard.training.statistics import code_statistics

RUN, LEARNED = "run.json", "learned_codes.npz"
FITS = {"fashion-products": "pad"}  # its pictures were padded to a square on white; all others were cropped

Validate = Callable[[HashModel, Part, Part], float]
"""MAP of a model: validation part against training part."""


@dataclass(frozen=True)
class Trained:
    """What training left behind."""

    model: HashModel
    card: Card
    fresh: bool  # False where the folder held the finished run already


def pixel_statistics(images: ImageStore, index: Ints) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of the pictures of `index`, in [0, 1] units (at most 5,000 are read)."""
    step = max(1, len(index) // 5000)
    x = images.batch(index[::step]).double()  # (n, C, H, W)
    return x.mean((0, 2, 3)).tolist(), x.std((0, 2, 3)).clamp(min=1e-3).tolist()


def build_model(ask: ModelSection, seed: int, dataset: Dataset, split: Split, features: int = 0) -> HashModel:
    """The untrained network that a request asks for.

    Args:
        ask: which network.
        seed: of its weights.
        dataset: pictures that it is for.
        split: its training part gives the normalization.
        features: units of a feature layer above the backbone, 0 for none.

    Raises:
        RequestError: unknown backbone, unfit weights, or pictures too small.
    """
    images = dataset.images
    name = ask.backbone or default_backbone(images.size)
    name = f"{name}+{features}" if features else name
    kind = ask.normalization
    if kind == "auto":
        kind = "imagenet" if ask.weights else "data"
    mean, std = [0.0], [1.0]
    if kind == "imagenet":
        mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    elif kind == "data":
        mean, std = pixel_statistics(images, split.train)
    model = HashModel(
        name,
        ask.bits,
        channels=images.channels,
        size=images.size,
        mean=mean,
        std=std,
        generator=torch_generator(seed, "weights"),
    )
    if ask.weights:
        load_initial(model.backbone, name, ask.weights)
    return model


def train(
    request: TrainRequest,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    validate: Validate | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a hash model into a folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        dataset: pictures and labels.
        split: its parts; `train` is learned from, `validation` selects where early stopping is on.
        folder: model folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        validate: MAP of a model on (validation part, training part); needed for early stopping.
        progress: told how far the run is.

    Raises:
        RequestError: something does not fit together.
        StaleError: the folder holds another run or model.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: the codes became, or stayed, constant.
    """
    selected = require_role(split.part(request.training.selection), "validation")  # type: ignore[arg-type]
    process_group = join_processes()
    facts = {"request": request.model_dump(mode="json"), "split": split.digest, "processes": process_group.size}
    weights = request.model.weights
    first = digest_file(Path(weights)) if weights and Path(weights).is_file() else ""
    run = "-".join([request.digest, split.digest, str(process_group.size), first]).rstrip("-")
    done = _look_at(folder, run, restart=restart, leads=process_group.leads)
    wait(process_group)  # nobody may look at a folder that the leading process writes already
    if done:
        return done
    if len(split.train) < 2:
        raise RequestError(f"training needs at least 2 pictures, the train split has {len(split.train)}")
    model = build_model(request.model, request.seed, dataset, split).to(device)
    model.to(memory_format=torch.channels_last)  # convolutions on a CPU are a quarter faster so
    task = None if request.method in UNSUPERVISED else _task(request, model, dataset, split, process_group)
    if process_group.leads:
        write_sealed(folder / RUN, {"run": run, **facts})
    if task is None:
        title = UNSUPERVISED.facts(request.method)["title"]
        logits = fit_head(model, request, dataset.images, split.train)
    else:
        title = task.objective.title
        score = None
        if validate is not None:
            base = split.part("train")
            score = lambda: validate(model, selected, base)  # noqa: E731
        elif request.training.patience:
            raise RequestError("early stopping (patience) needs a validation split and a way to score it")
        recipe = request.training
        fit(
            task,
            recipe,
            seed=request.seed,
            folder=folder,
            run=run,
            process_group=process_group,
            validate=score,
            progress=progress,
        )
        logits = task.outputs(every=max(1, len(split.train) // 10_000))
    return _finish(
        request,
        model=model,
        task=task,
        title=title,
        logits=logits,
        dataset=dataset,
        split=split,
        folder=folder,
        leads=process_group.leads,
    )


def _look_at(folder: Path, run: str, *, restart: bool, leads: bool) -> Trained | None:
    """The finished run of a folder, if it is this one; refuse anything else that would be lost."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; --out must be a folder")
    sweep(folder)
    if restart:
        if leads:
            for name in (CARD, RUN, TEXT_CARD):  # a text side there would not belong to the new codes
                (folder / name).unlink(missing_ok=True)
            forget(folder)
        return None
    if not (folder / CARD).is_file():
        if folder.is_dir() and any(folder.iterdir()) and not (folder / RUN).is_file():
            raise RequestError(f"{folder} holds other files; --out must be a new folder or one that hamguard made")
        return None
    if stored_run(folder / RUN) != run:
        raise StaleError(f"{folder} holds a model of another run; give another --out, or --restart to train over it")
    model, card = load_folder(folder)
    return Trained(model, card, fresh=False)


def _task(
    request: TrainRequest, model: HashModel, dataset: Dataset, split: Split, process_group: ProcessGroup
) -> HashTask:
    kind = OBJECTIVES[request.method]
    device = next(model.parameters()).device
    labels = torch.from_numpy(dataset.labels[split.train].astype(np.float32)).to(device)  # (n, C)
    if labels.shape[1] == 0 or not bool(labels.any()):
        unlabeled = ", ".join(UNSUPERVISED)
        raise RequestError(f"{dataset.name} has no labels; {request.method} needs them, {unlabeled} do not")
    if bool((labels == labels[0]).all()):
        raise RequestError(
            f"all {len(labels):,} training pictures of {dataset.name} have the same labels; "
            f"{request.method} needs at least two kinds to tell apart"
        )
    settings = kind.settings_type(**request.settings)
    objective = kind(settings, bits=model.bits, labels=labels, seed=request.seed)
    recipe = request.training
    return HashTask(
        model,
        objective,
        dataset.images,
        split.train,
        head_lr_factor=recipe.head_lr_factor,
        views=recipe.augment,
        process_group=process_group,
    )


@torch.no_grad()
def fit_head(model: HashModel, request: TrainRequest, images: ImageStore, index: Ints) -> Tensor:
    """Fit an unsupervised hash head (LSH, ITQ, PCA) to the features of the training pictures; returns their logits."""
    device = next(model.parameters()).device
    model.eval()
    batches = [images.batch(index[i : i + 64]).to(device) for i in range(0, len(index), 64)]
    features = torch.cat([model.backbone(model.normalize(x)).float().cpu() for x in batches])  # (n, D)
    head = UNSUPERVISED[request.method](features, model.bits, request.seed)
    model.head.weight.copy_(torch.as_tensor(head.weight))
    model.head.bias.copy_(torch.as_tensor(head.bias))
    return head(features)  # (n, K)


def _finish(
    request: TrainRequest,
    *,
    model: HashModel,
    task: HashTask | None,
    title: str,
    logits: Tensor,
    dataset: Dataset,
    split: Split,
    folder: Path,
    leads: bool,
) -> Trained:
    model.eval()
    if not bool(logits.isfinite().all()):
        raise RunError("the trained network returns NaN or infinite numbers; lower the learning rate (--set lr=...)")
    statistics = code_statistics(logits.cpu())
    if statistics["distinct_codes"] == 1:
        hint = advice(task.objective if task else None)
        raise CollapseError(f"the codes collapsed: every training picture has the same code. {hint}")
    data = data_facts(dataset, split)
    facts = {
        "fit": FITS.get(data["source"], "crop"),
        "method": request.method,
        "title": title,
        "settings": dict(request.settings),
        "recipe": {**request.training.model_dump(), "batch_size": request.training.batch_of(task.items)}
        if task
        else {},
        "seed": request.seed,
        "initial_weights": Path(request.model.weights).name if request.model.weights else "",
        "statistics": statistics,
        "data": data,
    }
    if not leads:
        return Trained(model, make_card(model, **facts), fresh=True)
    learned = task.objective.learned_codes() if task else None
    if learned is not None:
        labels, ids = dataset.labels[split.train], dataset.ids[split.train]
        bank = CodeBank.of(learned, labels, ids=ids, model_hash=model.digest, split_hash=split.digest)
        bank.save(folder / LEARNED)
    card = save_model(model, folder, **facts)
    forget(folder)
    return Trained(model, card, fresh=True)
