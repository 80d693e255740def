"""From a request to a protector folder: surrogate, game, loop, card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hamguard.core.errors import RequestError
from hamguard.core.files import write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset
from hamguard.data.opened import training_facts
from hamguard.data.split import Split
from hamguard.evaluation.protector_request import ProtectorRequest
from hamguard.models.backbones import default_backbone
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.models.protector_store import CARD, ProtectorCard, load_protector, save_protector
from hamguard.privacy.game import Game
from hamguard.training.loop import Progress, fit, forget
from hamguard.training.run_folder import is_finished
from hamguard.training.train import pixel_statistics

RUN = "protector-run.json"
ALARM = 0.5  # share of batches with one single code in the last epoch that is called a collapse


@dataclass(frozen=True)
class TrainedProtector:
    """What training left behind.

    Attributes:
        card: the protector's card.
        fresh: False where the folder held the finished run already.
    """

    card: ProtectorCard
    fresh: bool


def train_protector(
    request: ProtectorRequest,
    surrogates: Sequence[tuple[str, HashModel]],
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainedProtector:
    """Train a protector into a folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        surrogates: names and hash models to learn against, which see pictures at their own size, changed in place by a game that
            is not frozen; where none is given, one is made that learns the clean pairs first.
        dataset: pictures, and labels where similarity comes from them.
        split: its parts; only `train` is learned from.
        folder: protector folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        progress: told how far the run is.

    Raises:
        RequestError: something does not fit together.
        StaleError: the folder holds another run.
        RunError: the loss became NaN, or the disk is full.
        StoppedError: a person stopped the run; what was done is kept.
    """
    digests = [net.digest for _, net in surrogates]
    run = "-".join([request.digest, split.digest, *digests])
    others = ", or one against other surrogates" if digests else ""
    if is_finished(folder, run, run_file=RUN, card_file=CARD, or_else=others, restart=restart):
        return TrainedProtector(load_protector(folder)[1], fresh=False)
    game = new_game(request, [net for _, net in surrogates], dataset, split, device)
    write_sealed(folder / RUN, {"run": run, "request": request.model_dump(mode="json"), "surrogates": digests})
    history = fit(game, request.training, seed=request.seed, folder=folder, run=run, progress=progress)
    notes = []
    if history[-1]["constant_batches"] > ALARM:
        notes.append(
            "the surrogate's codes became constant, so this protector learned against nothing; "
            "what helps: --set warmup=400, --set surrogate_rate=3e-5, --set optimizer=adam"
        )
    card = save_protector(
        game.protector,
        folder,
        side=min(dataset.images.size),
        surrogates=sorted({*digests, *(net.digest for net in game.surrogates)}),
        surrogate_names=[name for name, _ in surrogates]
        or [f"{game.surrogates[0].name}, {request.settings.bits} bits"],
        settings=request.settings.model_dump(mode="json"),
        recipe={**request.training.model_dump(), "batch_size": request.training.batch_of(game.items)},
        seed=request.seed,
        data=training_facts(dataset, split),
        history=history,
        notes=notes,
    )
    forget(folder)
    return TrainedProtector(card, fresh=True)


def new_game(
    request: ProtectorRequest,
    surrogates: Sequence[HashModel],
    dataset: Dataset,
    split: Split,
    device: torch.device | str = "cpu",
) -> Game:
    """The game of a request at its very beginning; a given surrogate needs no warm-up.

    Raises:
        RequestError: no labels where they are needed, too few pictures, or pictures smaller than the parts.
    """
    ask, learned, images = request.settings, split.train, dataset.images
    if len(learned) < 2:
        raise RequestError(f"training needs at least 2 pictures, the train split has {len(learned)}")
    labels = None
    if ask.similarity == "labels":
        if dataset.labels.shape[1] == 0 or not dataset.labels[learned].any():
            raise RequestError(
                f"{dataset.name} has no labels; without them similarity comes from views: --set similarity=views"
            )
        labels = torch.from_numpy(dataset.labels[learned]).float()
    size = (ask.part, ask.part) if ask.part else images.size
    if ask.part > min(images.size):
        raise RequestError(f"parts of {ask.part} pixels do not fit into pictures of {images.size[0]}x{images.size[1]}")
    warmup, fresh = request.warmup, not surrogates
    if surrogates:
        warmup = type(warmup)(0)
    else:
        mean, std = pixel_statistics(images, learned)
        surrogates = [
            HashModel(
                ask.backbone or default_backbone(size),
                ask.bits,
                channels=images.channels,
                size=size,
                mean=mean,
                std=std,
                generator=torch_generator(request.seed, "surrogate"),
            )
        ]
    protector = Protector(images.channels, ask.width, ask.eps, torch_generator(request.seed, "protector"))
    nets: list[torch.nn.Module] = [protector, *surrogates]
    for module in nets:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pictures(numbers: Sequence[int]) -> Tensor:
        return images.batch(learned[np.asarray(numbers)])

    return Game(
        protector,
        surrogates,
        pictures,
        labels,
        len(learned),
        rules=ask.rules,
        warmup=warmup,
        rate=request.training.lr,
        surrogate_rate=ask.surrogate_rate,
        part=ask.part,
        jpeg=ask.jpeg,
        fresh=fresh,
    )
