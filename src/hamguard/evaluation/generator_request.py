"""A request to train a generator: preset, flags and `--set` put together, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hamguard.attacks.guides.supervised import PUBLISHED_PROTOTYPE, SupervisedPrototype
from hamguard.attacks.prosgan_game import GameRules
from hamguard.attacks.threat import parse_eps
from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_json
from hamguard.training.recipe import Recipe
from hamguard.training.request import DataSection, over_defaults, put_together, sort_words

IDLE = ("head_lr_factor", "augment", "patience", "selection", "validate_every")
"""Fields of the recipe that mean nothing for a generator; giving one is an error."""


class GeneratorSettings(Asked):
    """Net, rules of the game, prototype; frozen, unknown keys are errors."""

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
    margin: float = Field(0.0, ge=0, description="above 0: mean relu(margin - h z) instead of 1 - mean h tanh z")
    rounding: bool = Field(False, description="train on pictures rounded to 8 bits, hard budget only")
    widen: float = Field(1.0, ge=1, description="hard budget: eps begins this many times larger")
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


SOFT: dict[str, Any] = {
    "settings": {},
    "training": {"epochs": 4, "batch_size": 24, "lr": 5e-4, "schedule": "half-linear"},
}
HARD: dict[str, Any] = {
    "settings": {"discriminator": "none", "rounding": True, "widen": 8.0},
    "training": {"epochs": 16, "batch_size": 24, "lr": 1e-3, "schedule": "half-linear"},
}
PAPER: dict[str, Any] = {
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
"""Defaults under each preset: `default` with a soft or a hard budget, and `paper`, numbers of the authors' code."""


class GeneratorRequest(Asked):
    """Everything that defines a run, but for the victim, which is known by its weights."""

    method: Literal["prosgan"] = "prosgan"
    preset: Literal["default", "paper"] = "default"
    seed: int = 0
    data: DataSection
    settings: GeneratorSettings = GeneratorSettings()
    training: Recipe = Recipe()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        settings = given.get("settings", {})
        budget = settings.get("budget") if isinstance(settings, Mapping) else getattr(settings, "budget", None)
        base = PAPER if given.get("preset") == "paper" else HARD if budget == "hard" else SOFT
        return over_defaults(given, **base)

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))


def build_generator_request(flags: Mapping[str, Any], sets: Sequence[str] = ()) -> GeneratorRequest:
    """Put preset, flags and `--set` together; later ones win.

    Args:
        flags: dotted key to value, None where the flag was not given, e.g. `{"training.epochs": 4}`.
        sets: `key=value` words; the key is the name of a setting or of a recipe field.

    Raises:
        RequestError: the first fault.
    """
    given = sort_words(flags, sets, list(GeneratorSettings.model_fields), IDLE)
    check_choice("preset of prosgan", str(given[""].get("preset", "default")), ("default", "paper"))
    request = put_together(GeneratorRequest, given)
    _ = request.settings.rules  # the ball, and that nothing contradicts
    return request
