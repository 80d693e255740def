"""From a request and a victim to a generator folder: prototype, game, loop, card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.guides.supervised import distinct_labels
from hamguard.attacks.prosgan_game import Game, new_nets
from hamguard.codes.binary import pack, sign
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError
from hamguard.core.files import write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset
from hamguard.data.opened import training_facts
from hamguard.data.split import Split
from hamguard.evaluation.encode import encode, fits
from hamguard.evaluation.generator_request import GeneratorRequest
from hamguard.models.folding import folded
from hamguard.models.generator_store import CARD, GeneratorCard, load_generator, save_generator
from hamguard.models.prosgan import PrototypeNet
from hamguard.models.store import AnyModel
from hamguard.models.trial import NO_GRADIENT, ZERO_GRADIENT, gradient_kind
from hamguard.training.loop import Progress, fit, forget
from hamguard.training.run_folder import is_finished
from hamguard.training.schedules import factor

RUN = "generator-run.json"


@dataclass(frozen=True)
class TrainedGenerator:
    """What training left behind.

    Attributes:
        card: the generator's card.
        fresh: False where the folder held the finished run already.
    """

    card: GeneratorCard
    fresh: bool


def train_generator(
    request: GeneratorRequest,
    victim: AnyModel,
    name: str,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainedGenerator:
    """Train a generator against a model into a folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        victim: the model, frozen, in evaluation mode, on the device.
        name: what the card calls it.
        dataset: pictures and labels.
        split: its parts; only `train` is learned from, and label vectors of `database` are targets where the request says so.
        folder: generator folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        progress: told how far the run is.

    Raises:
        RequestError: something does not fit together.
        StaleError: the folder holds another run, or one against another model.
        RunError: the loss became NaN, or the disk is full.
        StoppedError: a person stopped the run; what was done is kept.
    """
    run = "-".join([request.digest, split.digest, victim.digest])
    others = ", or one against another model"
    if is_finished(folder, run, run_file=RUN, card_file=CARD, or_else=others, restart=restart):
        return TrainedGenerator(load_generator(folder)[2], fresh=False)
    if not fits(victim, dataset.images):
        have, want = dataset.images.size, tuple(victim.size)
        raise RequestError(f"the model takes pictures of {want[0]}x{want[1]} pixels, the data have {have[0]}x{have[1]}")
    task = new_task(request, victim, dataset, split, device)
    write_sealed(folder / RUN, {"run": run, "request": request.model_dump(mode="json"), "victim": victim.digest})
    history = fit(task, request.training, seed=request.seed, folder=folder, run=run, progress=progress)
    settings = request.settings
    threat = settings.rules.threat
    card = save_generator(
        task.generator,
        task.prototype,
        folder,
        class_names=list(dataset.class_names),
        victim=victim.digest,
        victim_name=name,
        budget=settings.budget,
        norm=threat.norm if threat else None,
        eps=threat.eps if threat else None,
        settings=settings.model_dump(mode="json"),
        recipe={**request.training.model_dump(), "batch_size": request.training.batch_of(task.items)},
        seed=request.seed,
        data=training_facts(dataset, split),
        prototypes=prototype_digest(task.prototype),
        history=history,
    )
    forget(folder)
    return TrainedGenerator(card, fresh=True)


def new_task(
    request: GeneratorRequest, victim: AnyModel, dataset: Dataset, split: Split, device: torch.device | str = "cpu"
) -> Game:
    """The game of a request at its very beginning.

    Raises:
        RequestError: a victim without a gradient, no labels, too few pictures, or a width or size that the nets cannot have.
    """
    settings, rules, learned = request.settings, request.settings.rules, split.train
    if gradient_kind(victim) != "flows":
        why = NO_GRADIENT if gradient_kind(victim) == "none" else f"teaches nothing: {ZERO_GRADIENT}"
        raise RequestError(f"prosgan learns from the gradient of its victim, and {victim.name} {why}")
    if len(learned) < 2:
        raise RequestError(f"training needs at least 2 pictures, the train split has {len(learned)}")
    classes = dataset.labels.shape[1]
    if classes == 0 or not dataset.labels[learned].any():
        raise RequestError(f"{dataset.name} has no labels; prosgan needs them")
    generator, discriminator = new_nets(
        dataset.images.channels, dataset.images.size, classes, settings.width, rules, request.seed
    )
    for net in (generator, discriminator):
        if net is not None:
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    part = split.database if settings.targets == "distinct" else learned

    def pictures(numbers: Sequence[int]) -> Tensor:
        return dataset.images.batch(learned[np.asarray(numbers)]).to(device)

    def prototype() -> PrototypeNet:
        bank = encode(victim, dataset, split, split.part("train"), device=device)
        return settings.prototype.fit(bank, request.seed)

    return Game(
        generator,
        discriminator,
        folded(victim),
        pictures,
        torch.from_numpy(dataset.labels[learned]).float(),
        distinct_labels(dataset.labels[part]),
        prototype=prototype,
        blank=PrototypeNet(classes, victim.bits, torch_generator(request.seed, "blank")),
        rules=rules,
        rate=decay(request.training.lr, request.training.schedule),
    )


def decay(rate: float, schedule: str) -> Callable[[float], float]:
    """Learning rate over the run, as the training loop gives it to the generator."""
    return lambda progress: rate * factor(schedule, progress)


def prototype_digest(net: PrototypeNet) -> str:
    """Content hash of the prototype codes of the single labels."""
    with torch.no_grad():
        return digest_array(pack(sign(net(torch.eye(net.classes)))))
