"""ProS-GAN's generators, which attack pictures: a game against one frozen model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from hamguard.attacks.guides.supervised import PUBLISHED_PROTOTYPE, SupervisedPrototype, distinct_labels
from hamguard.attacks.prosgan_game import Game, GameRules, new_nets
from hamguard.codes.binary import pack, sign
from hamguard.core.asked import Grown
from hamguard.core.checks import parse_eps
from hamguard.core.context import Context
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.data.opened import Data, training_facts
from hamguard.models.folding import folded
from hamguard.models.generator_store import CARD, load_generator, save_generator
from hamguard.models.prosgan import PrototypeNet
from hamguard.models.store import AnyModel, load_any
from hamguard.models.trial import NO_GRADIENT, ZERO_GRADIENT, gradient_kind
from hamguard.trainers.job import KINDS, Defaults, Job
from hamguard.trainers.kind import FROZEN, Done, Kind, Place, Start, Trained
from hamguard.training.encode import encode, fits
from hamguard.training.schedules import factor


class GeneratorSettings(Grown):
    """Net, rules of the game, prototype; frozen, unknown keys are errors."""

    later: ClassVar[tuple[str, ...]] = ("start",)

    width: int = Field(16, ge=8, le=1024, multiple_of=8, description="channels of the first convolution; 64 published")
    budget: Literal["soft", "hard"] = Field("soft", description="soft: squared error as published; hard: a ball")
    eps: float = Field(8 / 255, gt=0, description="radius of the ball of a hard budget")
    norm: Literal["linf", "l2"] = Field("linf", description="norm of the ball")
    hamming: float = Field(5.0, ge=0, description="weight of the distance to the prototype code; 0 is the ablation GAN")
    reconstruction: float = Field(50.0, ge=0, description="weight of the squared error, soft budget only")
    adversarial: float = Field(1.0, ge=0, description="weight of the discriminator's answer")
    discriminator: Literal["classes", "real", "none"] = Field(
        "classes", description="what it tells: classes and real, real alone (ProS-GAN-1), or none at all"
    )
    scores: Literal["linear", "sigmoid"] = Field(
        "linear", description="how the discriminator ends: linear as in the authors' code, sigmoid as printed"
    )
    margin: float = Field(0.0, ge=0, description="above 0: mean relu(margin - h z) instead of 1 - mean h tanh z")
    rounding: bool = Field(False, description="train on pictures rounded to 8 bits, hard budget only")
    widen: float = Field(1.0, ge=1, description="hard budget: eps begins this many times larger")
    start: Literal["random", "picture"] = Field(
        "random",
        description="first weights: random as published; or such that it begins with the picture (soft budget)",
    )
    targets: Literal["distinct", "no-overlap"] = Field(
        "no-overlap", description="distinct: of the database, as published; no-overlap: of the training part"
    )
    prototype_steps: int = Field(400, ge=1, description="training steps of the prototype net")
    prototype_rate: float = Field(2e-3, gt=0, description="its learning rate")
    prototype_batch: int = Field(32, ge=1, description="its label vectors a step; 64 published")
    prototype_codes: int | None = Field(5000, ge=1, description="codes a step; none for all")
    prototype_balance: bool = Field(True, description="similar and dissimilar pairs weigh alike; false is published")

    @field_validator("eps", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return parse_eps(value) if isinstance(value, str) else value

    @field_validator("prototype_codes", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return None if value in ("none", "all") else value

    @property
    def rules(self) -> GameRules:
        """The rules of the game.

        Raises:
            RequestError: the ball of a hard budget is none.
        """
        return GameRules(
            self.hamming,
            self.reconstruction,
            self.adversarial,
            self.discriminator,
            self.budget,
            self.eps,
            self.norm,
            self.margin,
            self.rounding,
            self.widen,
            overlap=self.targets == "distinct",
            scores=self.scores,
        )

    @property
    def prototype(self) -> SupervisedPrototype:
        """How the prototype is trained."""
        return SupervisedPrototype(
            self.prototype_steps,
            self.prototype_rate,
            self.prototype_batch,
            codes_per_step=self.prototype_codes,
            balance=self.prototype_balance,
        )


SOFT: Defaults = {
    "settings": {},
    "training": {"epochs": 4, "batch_size": 24, "lr": 5e-4, "schedule": "half-linear"},
}
HARD: Defaults = {
    "settings": {"discriminator": "none", "rounding": True, "widen": 8.0},
    "training": {"epochs": 16, "batch_size": 24, "lr": 1e-3, "schedule": "half-linear"},
}
CODE: Defaults = {
    "settings": {
        "width": 64,
        "targets": "distinct",
        "prototype_steps": PUBLISHED_PROTOTYPE.steps,
        "prototype_rate": PUBLISHED_PROTOTYPE.rate,
        "prototype_batch": PUBLISHED_PROTOTYPE.batch_size,
        "prototype_codes": None,
        "prototype_balance": False,
    },
    "training": {"epochs": 100, "batch_size": 24, "lr": 1e-4, "schedule": "half-linear"},
}
PAPER: Defaults = {**CODE, "settings": {**CODE["settings"], "scores": "sigmoid"}}
PUBLISHED = {"paper": PAPER, "code": CODE}
"""Published forms: the authors' code, and the same with the discriminator of the text; what the text leaves out is of the code.
SOFT and HARD are ours."""


@KINDS.register("generator")
class GeneratorKind(Kind):
    """ProS-GAN against a model."""

    name = "generator"
    what = "generator"
    default = "prosgan"
    starts = (1, 1, "is trained against one model")
    follows = True
    idle = (*FROZEN, "head_lr_factor", "augment", "patience", "selection", "validate_every")
    run_file, card_file = "generator-run.json", CARD
    other = "another run, or one against another model"

    def methods(self) -> list[str]:
        """There is one."""
        return ["prosgan"]

    def settings_type(self, method: str) -> type[GeneratorSettings]:
        """Net, rules of the game, prototype."""
        return GeneratorSettings

    def presets(self, method: str) -> Sequence[str]:
        """Ours, for a soft and a hard budget, and the published forms."""
        return ("default", *PUBLISHED)

    def preset(self, method: str, name: str | None) -> Defaults:
        """A published form."""
        return PUBLISHED[name] if name in PUBLISHED else super().preset(method, name)

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of a soft or a hard budget; a published form has its own."""
        settings = given.get("settings", {})
        budget = settings.get("budget") if isinstance(settings, Mapping) else getattr(settings, "budget", None)
        return {} if given.get("preset") in PUBLISHED else HARD if budget == "hard" else SOFT

    def check(self, job: Job) -> None:
        """The ball, and that nothing contradicts."""
        settings: GeneratorSettings = job.parsed
        _ = settings.rules
        if settings.start == "picture" and settings.budget == "hard":
            raise RequestError(
                "start=picture is of a soft budget; inside a ball every generator begins with the picture"
            )

    def alone(self, job: Job) -> str:
        """Two optimizers are at work."""
        return "a generator"

    def data_facts(self, data: Data) -> dict[str, Any]:
        """Of the training part alone."""
        return training_facts(data.dataset, data.split)

    def open_start(self, folder: Path | str, context: Context) -> Start:
        """Any model that can be loaded, frozen, on the device."""
        return Start(str(folder), *load_any(folder, context.device))

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> Game:
        """The game against the one model that is given."""
        (victim,) = start
        return new_game(job, victim.model, data, place.context.device)

    def finish(self, job: Job, task: Game, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """What it was made against, within what, and the history."""
        ask: GeneratorSettings = job.parsed
        threat = ask.rules.threat
        return {
            "class_names": list(done.data.dataset.class_names),
            "victim": start[0].model.digest,
            "victim_name": start[0].name,
            "budget": ask.budget,
            "norm": threat.norm if threat else None,
            "eps": threat.eps if threat else None,
            "prototypes": prototype_digest(task.prototype),
            "history": done.history,
        }

    def save(self, task: Game, place: Place, facts: dict[str, Any]) -> Trained:
        """A generator folder."""
        return Trained(task.generator, save_generator(task.generator, task.prototype, place.folder, **facts))

    def load(self, folder: Path) -> Trained:
        """A generator folder."""
        generator, _, card = load_generator(folder)
        return Trained(generator, card)


def new_game(job: Job, victim: AnyModel, data: Data, device: torch.device | str = "cpu") -> Game:
    """The game of a job at its very beginning; the victim is frozen, in evaluation mode, on the device.

    Raises:
        RequestError: a victim without a gradient, no labels, too few pictures, or a width or size that the nets cannot have.
    """
    settings: GeneratorSettings = job.parsed
    rules, dataset, split, learned = settings.rules, data.dataset, data.split, data.split.train
    if not fits(victim, dataset.images):
        have, want = dataset.images.size, tuple(victim.size)
        raise RequestError(f"the model takes pictures of {want[0]}x{want[1]} pixels, the data have {have[0]}x{have[1]}")
    if gradient_kind(victim) != "flows":
        why = NO_GRADIENT if gradient_kind(victim) == "none" else f"teaches nothing: {ZERO_GRADIENT}"
        raise RequestError(f"prosgan learns from the gradient of its victim, and {victim.name} {why}")
    classes = dataset.labels.shape[1]
    if classes == 0 or not dataset.labels[learned].any():
        raise RequestError(f"{dataset.name} has no labels; prosgan needs them")
    generator, discriminator = new_nets(
        dataset.images.channels, dataset.images.size, classes, settings.width, rules, job.seed
    )
    if settings.start == "picture":
        generator.begin_with_picture()
    for net in (generator, discriminator):
        if net is not None:
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    part = split.database if settings.targets == "distinct" else learned

    def pictures(numbers: Sequence[int]) -> Tensor:
        return dataset.images.batch(learned[np.asarray(numbers)]).to(device)

    def prototype() -> PrototypeNet:
        bank = encode(victim, dataset, split, split.part("train"), device=device)
        return settings.prototype.fit(bank, job.seed)

    return Game(
        generator,
        discriminator,
        folded(victim),
        pictures,
        torch.from_numpy(dataset.labels[learned]).float(),
        distinct_labels(dataset.labels[part]),
        prototype=prototype,
        blank=PrototypeNet(classes, victim.bits, torch_generator(job.seed, "blank")),
        rules=rules,
        rate=decay(job.training.lr, job.training.schedule),
    )


def decay(rate: float, schedule: str) -> Callable[[float], float]:
    """Learning rate over the run, as the training loop gives it to the generator."""
    return lambda progress: rate * factor(schedule, progress)


def prototype_digest(net: PrototypeNet) -> str:
    """Content hash of the prototype codes of the single labels."""
    with torch.no_grad():
        return digest_array(pack(sign(net(torch.eye(net.classes)))))
