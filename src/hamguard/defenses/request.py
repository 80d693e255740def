"""A request to harden a model: flags and `--set` put together, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from hamguard.attacks.threat import Threat
from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.defenses.registry import DEFENSES
from hamguard.defenses.settings import AdversarySettings, DefenseSettings
from hamguard.defenses.static import Static
from hamguard.defenses.task import Defense
from hamguard.hashing.registry import OBJECTIVES
from hamguard.training.recipe import Recipe
from hamguard.training.request import DataSection, first_fault, over_defaults, sort_words

IDLE = ("patience", "selection", "validate_every")
"""Fields of the recipe that mean nothing here: nothing is selected during a defense."""

EPOCHS, NORMAL_EPOCHS = 10, 20
"""Epochs where nothing was asked for, and epochs of a training whose card does not say."""


class HardenRequest(Asked):
    """Everything that defines a run, but for the start model, which is known by its weights.

    Attributes:
        method: name of the defense.
        seed: seed of order, views and draws.
        eps: radius that the defense is for, in pixel units.
        norm: `linf` or `l2`.
        data: pictures.
        settings: of the method, complete.
        training: recipe.
    """

    method: str = "saat"
    seed: int = 0
    eps: float = Field(8 / 255, gt=0)
    norm: Literal["linf", "l2"] = "linf"
    data: DataSection
    settings: dict[str, Any] = Field(default_factory=dict)
    training: Recipe = Recipe(epochs=EPOCHS)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("method", "saat") not in DEFENSES:
            return given
        merged: dict[str, Any] = over_defaults(given, settings={}, training={"epochs": EPOCHS})
        if isinstance(merged["settings"], Mapping):
            kind = DEFENSES[given.get("method", "saat")]
            try:
                merged["settings"] = kind.settings_type(**merged["settings"]).model_dump()
            except ValidationError as error:
                raise ValueError(str(first_fault(error))) from error
        return merged

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))

    @property
    def threat(self) -> Threat:
        """What the defense is for."""
        return Threat(self.norm, self.eps)

    @property
    def kind(self) -> type[Defense]:
        """Class of the defense."""
        return DEFENSES[self.method]

    @property
    def parsed(self) -> DefenseSettings:
        """The settings as the defense takes them."""
        return self.kind.settings_type(**self.settings)


def build_harden_request(flags: Mapping[str, Any], sets: Sequence[str] = ()) -> HardenRequest:
    """Put flags and `--set` together; later ones win.

    Args:
        flags: key to value, None where the flag was not given: `method`, `seed`, `eps`, `norm`, `training.epochs`, ...;
            `preset` is `default`, or `paper` for the recipe of the authors' code.
        sets: `key=value` words; the key is the name of a setting or of a recipe field.

    Raises:
        RequestError: the first fault.
    """
    kind = DEFENSES[str(flags.get("method") or "saat")]
    own = kind.settings_type.model_fields
    given = sort_words(flags, sets, list(own), IDLE, of=f" of {kind.name}")
    given[""].setdefault("method", kind.name)
    if check_choice("preset", given[""].pop("preset", "default"), ("default", "paper")) == "paper":
        if not kind.paper:
            raise RequestError(f"{kind.name} has no published recipe; leave out --preset paper")
        for section, mine in (("settings", True), ("training", False)):
            printed = {key: value for key, value in kind.paper.items() if (key in own) is mine}
            given[section] = {**printed, **given[section]}
    try:
        settings = kind.settings_type(**given["settings"])
        training = Recipe(**{"epochs": EPOCHS, **given["training"]})
        request = HardenRequest(
            **given[""], data=DataSection(**given["data"]), settings=settings.model_dump(), training=training
        )
    except ValidationError as error:
        raise first_fault(error) from error
    if settings.objective not in ("own", "keep"):
        check_choice("objective", settings.objective, ["own", "keep", *OBJECTIVES])
    if isinstance(settings, AdversarySettings):
        settings.attack(request.threat)  # a wrong guide, loss or radius
    else:
        _ = request.threat
    return request


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


def epochs_of_budget(budget: float, request: HardenRequest, normal_epochs: int | None) -> int:
    """Epochs, at least one, that cost `budget` times the training of the start model.

    Raises:
        RequestError: the budget is not above 0.
    """
    if not 0 < budget < float("inf"):
        raise RequestError(f"--budget must be above 0, got {budget:g}; 1 is what the training of the model cost")
    whole = budget * (normal_epochs or NORMAL_EPOCHS)
    return max(1, round(whole / epoch_cost(request.method, request.parsed)))


__all__ = ["EPOCHS", "HardenRequest", "build_harden_request", "epoch_cost", "epochs_of_budget"]
