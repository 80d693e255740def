"""A request to train a protector: preset, flags and `--set` put together, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hamguard.attacks.threat import parse_eps
from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_json
from hamguard.privacy.game import Warmup
from hamguard.privacy.ppl import Rules
from hamguard.training.recipe import Recipe
from hamguard.training.request import DataSection, over_defaults, put_together, sort_words

IDLE = ("head_lr_factor", "augment", "patience", "selection", "validate_every")
"""Fields of the recipe that mean nothing for a protector; giving one is an error."""


class ProtectorSettings(Asked):
    """Generator, rules of the game, surrogate; frozen, unknown keys are errors."""

    eps: float = Field(8 / 255, gt=0, le=1, description="no value of a picture moves by more, in pixel units")
    width: Literal["small", "large"] = Field("small", description="16-32-64-128 or 64-128-256-512, both published")
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

    @field_validator("eps", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        value = parse_eps(value) if isinstance(value, str) else value
        if isinstance(value, int | float) and value > 1:
            raise ValueError(f"eps must be in (0, 1]; did you mean {value:g}/255?")
        return value

    @property
    def rules(self) -> Rules:
        """The rules of the game."""
        return Rules(
            self.alpha, self.beta, self.gamma, self.affinity, self.lam, self.normalize, self.balance, self.game
        )


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {
        "settings": {},
        "training": {"epochs": 9, "batch_size": 128, "lr": 1e-3, "schedule": "constant", "clip_norm": 1.0},
    },
    "paper": {
        "settings": {"balance": False, "warmup": 0, "surrogate_rate": 1e-3},
        "training": {
            "epochs": 50,
            "batch_size": 512,
            "lr": 1e-4,
            "optimizer": "sgd",
            "momentum": 0.0,
            "schedule": "constant",
            "clip_norm": 0.0,
        },
    },
}
"""`paper`: the printed rates, batch and 1,000 iterations of Fashion-MNIST's 10,000 pictures (50 passes of 20 batches)."""


class ProtectorRequest(Asked):
    """Everything that defines a run, but for given surrogates, which are known by their weights."""

    method: Literal["ppl"] = "ppl"
    preset: Literal["default", "paper"] = "default"
    seed: int = 0
    data: DataSection
    settings: ProtectorSettings = ProtectorSettings()
    training: Recipe = Recipe()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        preset = given.get("preset", "default") if isinstance(given, Mapping) else None
        return over_defaults(given, **PRESETS[preset]) if preset in PRESETS else given

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))

    @property
    def warmup(self) -> Warmup:
        """How the surrogate begins."""
        ask = self.settings
        return Warmup(ask.warmup, ask.warmup_rate, 128, self.seed)


def build_protector_request(flags: Mapping[str, Any], sets: Sequence[str] = ()) -> ProtectorRequest:
    """Put preset, flags and `--set` together; later ones win.

    Args:
        flags: dotted key to value, None where the flag was not given, e.g. `{"training.epochs": 4}`.
        sets: `key=value` words; the key is the name of a setting or of a recipe field.

    Raises:
        RequestError: the first fault.
    """
    given = sort_words(flags, sets, list(ProtectorSettings.model_fields), IDLE)
    check_choice("preset of ppl", str(given[""].get("preset", "default")), PRESETS)
    return put_together(ProtectorRequest, given)
