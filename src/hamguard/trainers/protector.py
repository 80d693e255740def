"""Protectors of pictures: PPL, a game against surrogates that are given or made, and `features`, against given networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice, parse_eps
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.data.opened import Data, training_facts
from hamguard.models.backbones import scratch_backbone
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Norm, Protector, Width
from hamguard.models.protector_store import CARD, load_protector, save_protector
from hamguard.models.store import load_folder
from hamguard.privacy.features import FeatureTask, clean_features
from hamguard.privacy.game import Game, Material, Warmup
from hamguard.privacy.ppl import Rules
from hamguard.trainers.job import KINDS, Defaults, Job
from hamguard.trainers.kind import FROZEN, Done, Kind, Place, Start, Trained
from hamguard.trainers.networks import pixel_statistics

ALARM = 0.5  # share of batches with one single code in the last epoch that is called a collapse


class NoiseSettings(Asked):
    """Of every protector: the bound of its noise, and its width; frozen, unknown keys are errors."""

    norm: Norm = Field("linf", description="of the bound of a picture's change: linf, l2 or l1 (p of eq. 2)")
    eps: float = Field(
        8 / 255, gt=0, description="the bound, in pixel units; linf: no value of a picture moves by more"
    )
    width: Width = Field("small", description="16-32-64-128 or 64-128-256-512, both published")

    @field_validator("eps", "even", mode="before", check_fields=False)
    @classmethod
    def _parts(cls, value: Any, info: ValidationInfo) -> Any:
        value = parse_eps(value) if isinstance(value, str) else value
        if info.data.get("norm") == "linf" and isinstance(value, int | float) and value > 1:
            raise ValueError(f"{info.field_name} must be in (0, 1]; did you mean {value:g}/255?")
        return value


class FeatureSettings(NoiseSettings):
    """Of method `features`; frozen, unknown keys are errors."""

    skips: bool = Field(
        True, description="the decoder sees what each layer of the encoder found; not in PPL's generator"
    )
    even: float = Field(
        1.5 / 255, gt=0, le=1, description="bound on even grounds, where eyes find noise; from eps on there is no other"
    )
    regions: int = Field(
        16,
        ge=0,
        le=512,
        description="pixels of regions that take turns, after training, between noise of the picture, shifted, mirrored; 0: none",
    )
    alike: float = Field(0.9, gt=0, le=1, description="SSIM that protected pictures shall have")
    stripes: float = Field(
        0.12,
        gt=0,
        le=1,
        description="how far noise may be made of stripes, where a grid has 1/3; 1 for as far as it likes",
    )
    repeats: float = Field(
        1.0, gt=0, le=1, description="how far noise may repeat itself, where a grid has .6 and chance .04; 1: any"
    )
    pictures: int = Field(2000, ge=2, description="most training pictures that it learns from, drawn by the seed")


class ProtectorSettings(NoiseSettings):
    """Of method `ppl`: generator, rules of the game, surrogate; frozen, unknown keys are errors."""

    game: Literal["one-step", "two-step", "frozen"] = Field(
        "one-step", description="eq. (14), Algorithm 1, or a surrogate that does not play (not PPL, to compare with)"
    )
    alpha: float = Field(1.0, ge=0, description="weight of SMMD")
    beta: float = Field(10.0, ge=0, description="weight of the similarity loss across domains")
    gamma: float = Field(1.0, ge=0, description="weight of the matching loss")
    affinity: float = Field(1.0, ge=0, description="weight of the affinity loss inside the protected domain")
    lam: float = Field(1.0, ge=0, description="factor of the gradient reversal layer")
    normalize: Literal["mean", "sum"] = Field("sum", description="the printed sums, or means over pairs and bits")
    balance: bool = Field(True, description="similar and dissimilar pairs weigh alike in the game; false as printed")
    similarity: Literal["labels", "views"] = Field(
        "labels", description="labels, or without them: two views of one picture are similar, all else is not"
    )
    part: int = Field(
        0,
        ge=0,
        le=4096,
        description="learn from random square parts of this side, at full resolution; 0 for whole pictures",
    )
    jpeg: bool = Field(
        False,
        description="in half of the steps the surrogate sees JPEG files of quality 70 to 95, so that the effect survives",
    )
    bits: int = Field(8, ge=1, le=4096, description="code length of the surrogate")
    backbone: str | None = Field(None, description="network of the surrogate; by picture size where not given")
    warmup: int = Field(400, ge=0, description="steps in which the surrogate learns the clean pairs before the game")
    warmup_rate: float = Field(2e-3, gt=0, description="learning rate in them")
    surrogate_rate: float = Field(3e-5, gt=0, description="learning rate of the surrogate in the game")
    statistics: Literal["auto", "batch", "kept"] = Field(
        "auto",
        description="of the surrogate's batch norms in the game: of the joint batch of clean and protected pictures, or kept; "
        "auto: kept where it is frozen or given",
    )

    def rules(self, *, fresh: bool) -> Rules:
        """The rules of the game against surrogates that are made for it (`fresh`), or given."""
        plays = fresh and self.game != "frozen"
        return Rules(
            self.alpha, self.beta, self.gamma, self.affinity, self.lam, self.normalize, self.balance, self.game,
            ("batch" if plays else "kept") if self.statistics == "auto" else self.statistics,
        )  # fmt: skip


FEATURES: Defaults = {
    "settings": {},
    "training": {"epochs": 8, "batch_size": 12, "lr": 1e-3, "schedule": "cosine", "clip_norm": 1.0},
}
"""Of method `features`."""

PRESETS: dict[str, Defaults] = {
    "default": {
        "settings": {},
        "training": {"epochs": 9, "batch_size": 128, "lr": 1e-3, "schedule": "constant", "clip_norm": 1.0},
    },
    "paper": {
        "settings": {"balance": False, "warmup": 0, "surrogate_rate": 1e-3},
        "training": {
            "epochs": 1000,
            "batch_size": 512,
            "lr": 1e-4,
            "optimizer": "sgd",
            "momentum": 0.0,
            "schedule": "constant",
            "clip_norm": 0.0,
        },
    },
}
"""`paper`: the printed rates and batch of Fashion-MNIST and its t = 1,000 iterations of Algorithm 1, each of which goes over all
batches of the training pictures once: 20 of 10,000. `normalize="mean"` gives the same game without the weight of the sums."""


@KINDS.register("protector")
class ProtectorKind(Kind):
    """PPL, and generators against features."""

    name = "protector"
    what = "protector"
    default = "ppl"
    starts = (0, 100, "takes at most 100 surrogates")
    idle = (*FROZEN, "head_lr_factor", "augment", "patience", "selection", "validate_every")
    run_file, card_file = "protector-run.json", CARD
    other = "another run, or one against other surrogates"

    def methods(self) -> list[str]:
        """The published game, and ours."""
        return ["ppl", "features"]

    def settings_type(self, method: str) -> type[NoiseSettings]:
        """Generator, and what each method asks beside it."""
        return FeatureSettings if method == "features" else ProtectorSettings

    def presets(self, method: str) -> Sequence[str]:
        """Ours and the paper's."""
        return () if method == "features" else tuple(PRESETS)

    def preset(self, method: str, name: str | None) -> Defaults:
        """Settings and recipe."""
        if method == "features":
            check_choice(f"preset of {method}", name or "default", ("default",))
            return FEATURES
        return PRESETS[check_choice(f"preset of {method}", name or "default", PRESETS)]

    def alone(self, job: Job) -> str:
        """Two optimizers are at work."""
        return "a protector"

    def data_facts(self, data: Data) -> dict[str, Any]:
        """Of the training part alone."""
        return training_facts(data.dataset, data.split)

    def open_start(self, folder: Path | str, context: Context) -> Start:
        """A model folder to learn against."""
        return Start(Path(folder).name, *load_folder(folder))

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> Game | FeatureTask:
        """The game against copies of the given surrogates, or one that is made; a generator against features of given ones."""
        if job.method == "features":
            return new_features(job, [one.model for one in start], data, place.context.device)
        nets = [copy.deepcopy(one.model).requires_grad_(True) for one in start]
        return new_game(job, nets, data, place.context.device)

    def finish(self, job: Job, task: Game | FeatureTask, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """What it learned against; an alarm where that taught nothing."""
        notes = []
        if done.history[-1].get("constant_batches", 0.0) > ALARM:
            notes.append(
                "the surrogate's codes became constant, so this protector learned against nothing; "
                "what helps: --set warmup=400, --set surrogate_rate=3e-5, --set optimizer=adam"
            )
        given, names = [one.model.digest for one in start], [one.name for one in start]
        if isinstance(task, Game):
            given += [net.digest for net in task.surrogates]
            names = names or [f"{task.surrogates[0].name}, {job.parsed.bits} bits"]
        return {
            "side": min(done.data.dataset.images.size),
            "surrogates": sorted(set(given)),
            "surrogate_names": names,
            "networks": sorted({net.name for net in (task.surrogates if isinstance(task, Game) else task.networks)}),
            "history": done.history,
            "notes": notes,
        }

    def save(self, task: Game | FeatureTask, place: Place, facts: dict[str, Any]) -> Trained:
        """A protector folder."""
        return Trained(task.protector, save_protector(task.protector, place.folder, **facts))

    def load(self, folder: Path) -> Trained:
        """A protector folder."""
        return Trained(*load_protector(folder))


def new_game(job: Job, surrogates: Sequence[HashModel], data: Data, device: torch.device | str = "cpu") -> Game:
    """The game of a job at its very beginning; a given surrogate needs no warm-up.

    Raises:
        RequestError: no labels where they are needed, too few pictures, or pictures smaller than the parts.
    """
    ask: ProtectorSettings = job.parsed
    dataset, learned, images = data.dataset, data.split.train, data.dataset.images
    labels = None
    if ask.similarity == "labels":
        if dataset.labels.shape[1] == 0 or not dataset.labels[learned].any():
            raise RequestError(
                f"{dataset.name} has no labels; without them similarity comes from views: `similarity=views`"
            )
        labels = torch.from_numpy(dataset.labels[learned]).float()
    size = (ask.part, ask.part) if ask.part else images.size
    if ask.part > min(images.size):
        raise RequestError(f"parts of {ask.part} pixels do not fit into pictures of {images.size[0]}x{images.size[1]}")
    warmup, fresh = Warmup(0 if surrogates else ask.warmup, ask.warmup_rate, 128, job.seed), not surrogates
    if not surrogates:
        mean, std = pixel_statistics(images, learned)
        surrogates = [
            HashModel(
                ask.backbone or scratch_backbone(size),
                ask.bits,
                channels=images.channels,
                size=size,
                mean=mean,
                std=std,
                generator=torch_generator(job.seed, "surrogate"),
            )
        ]
    protector = Protector(images.channels, ask.width, ask.eps, torch_generator(job.seed, "protector"), ask.norm)
    nets: list[torch.nn.Module] = [protector, *surrogates]
    for module in nets:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pictures(numbers: Sequence[int]) -> Tensor:
        return images.batch(learned[np.asarray(numbers)])

    return Game(
        protector,
        surrogates,
        Material(pictures, labels, len(learned)),
        rules=ask.rules(fresh=fresh),
        warmup=warmup,
        rate=job.training.lr,
        surrogate_rate=ask.surrogate_rate,
        part=ask.part,
        jpeg=ask.jpeg,
        fresh=fresh,
    )


def new_features(
    job: Job, networks: Sequence[HashModel], data: Data, device: torch.device | str = "cpu"
) -> FeatureTask:
    """The task of method `features` at its very beginning.

    Raises:
        RequestError: no network to learn against.
    """
    ask: FeatureSettings = job.parsed
    learned, images = data.split.train, data.dataset.images
    if len(learned) > ask.pictures:
        draw = torch_generator(job.seed, "feature-pictures")
        learned = learned[torch.randperm(len(learned), generator=draw)[: ask.pictures].sort().values.numpy()]
    start = torch_generator(job.seed, "protector")
    protector = Protector(
        images.channels, ask.width, ask.eps, start, ask.norm, skips=ask.skips, even=ask.even, regions=ask.regions
    )
    models = [copy.deepcopy(net) for net in networks]
    modules: list[torch.nn.Module] = [protector, *models]
    for module in modules:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pictures(numbers: Sequence[int]) -> Tensor:
        return images.batch(learned[np.asarray(numbers)])

    clean = [clean_features(net, pictures, len(learned)) for net in models]
    patterns = {"stripes": ask.stripes, "repeats": ask.repeats}
    return FeatureTask(protector, models, pictures, clean, alike=ask.alike, patterns=patterns)
