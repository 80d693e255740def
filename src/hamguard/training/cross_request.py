"""A request to train a cross-modal model: recipe file, flags and `--set` put together, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, model_validator

from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice, suggest
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.hashing.cross_modal import CrossSettings
from hamguard.hashing.registry import CROSS_METHODS
from hamguard.training.recipe import Recipe
from hamguard.training.request import FINE_TUNING, DataSection, ModelSection, first_fault, over_defaults, sort_words

IDLE = ("patience", "selection", "validate_every")
"""Fields of the recipe that mean nothing here: nothing is selected during the training."""


BATCH, ENOUGH = 100, 4000
"""Pairs a step on sets of that many pairs or more; smaller sets take the common rule, which keeps the number of steps up."""


def with_batch(recipe: Recipe, items: int) -> Recipe:
    """The recipe with the pairs a step that it means on a set of `items`.

    >>> with_batch(Recipe(), 5000).batch_size, with_batch(Recipe(), 1000).batch_size
    (100, 32)
    """
    size = recipe.batch_size or (BATCH if items >= ENOUGH else recipe.batch_of(items))
    return recipe.model_copy(update={"batch_size": size})


class CrossRequest(Asked):
    """Everything that defines a run.

    Attributes:
        method: dcmh or ssah.
        preset: `default`, or `paper`.
        seed: of weights, order and views.
        data: pictures and texts.
        model: image net and code length.
        settings: of the method, complete.
        training: recipe.
    """

    method: str
    preset: str = "default"
    seed: int = 0
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    settings: dict[str, Any] = Field(default_factory=dict)
    training: Recipe = Recipe()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "method" not in given:
            return given
        kind = CROSS_METHODS[given["method"]]
        preset, model = given.get("preset", "default"), given.get("model")
        if preset != "default" and preset not in kind.presets:
            raise ValueError(
                f"unknown preset {preset!r} of {given['method']}; allowed: {', '.join(('default', *kind.presets))}"
            )
        weights = model.get("weights") if isinstance(model, Mapping) else getattr(model, "weights", None)
        tuned = FINE_TUNING if weights else {}
        merged: dict[str, Any] = over_defaults(
            given, settings=kind.presets.get(preset, {}), training={**kind.training, **tuned}
        )
        if isinstance(merged["settings"], Mapping):
            try:
                merged["settings"] = kind(**merged["settings"]).model_dump()
            except ValidationError as error:
                raise ValueError(str(first_fault(error))) from error
        return merged

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))

    @property
    def parsed(self) -> CrossSettings:
        """The settings as the method takes them."""
        return CROSS_METHODS[self.method](**self.settings)


def build_cross_request(
    method: str, recipe: Mapping[str, Any], flags: Mapping[str, Any], sets: Sequence[str] = ()
) -> CrossRequest:
    """Put recipe, flags and `--set` together; later ones win.

    Args:
        method: name of the method.
        recipe: content of a recipe file with the tables `data`, `model`, `settings`, `training`, or empty.
        flags: dotted key to value, None where the flag was not given, e.g. `{"model.bits": 16}`.
        sets: `key=value` words; the key is the name of a setting or of a recipe field.

    Raises:
        RequestError: the first fault.
    """
    kind = CROSS_METHODS[method]
    own = {key.removeprefix("model."): value for key, value in flags.items() if key.startswith("model.")}
    rest = {key: value for key, value in flags.items() if not key.startswith("model.")}
    given = sort_words(rest, sets, list(kind.model_fields), IDLE, of=f" of {method}")
    _check_recipe(recipe, list(kind.model_fields))
    preset = check_choice(
        f"preset of {method}",
        str(given[""].get("preset") or recipe.get("preset", "default")),
        ("default", *kind.presets),
    )
    model = {**recipe.get("model", {}), **{key: value for key, value in own.items() if value is not None}}
    try:
        settings = kind(**{**kind.presets.get(preset, {}), **recipe.get("settings", {}), **given["settings"]})
        return CrossRequest(
            method=method,
            preset=preset,
            seed=given[""].get("seed", recipe.get("seed", 0)),
            data=DataSection(**{**recipe.get("data", {}), **given["data"]}),
            model=ModelSection(**model),
            settings=settings.model_dump(),
            training={**recipe.get("training", {}), **given["training"]},  # filled and checked by the request
        )
    except ValidationError as error:
        raise first_fault(error) from error


def _check_recipe(recipe: Mapping[str, Any], settings: Sequence[str]) -> None:
    """Refuse keys of a recipe file that nobody would read."""
    recipe_fields = [name for name in Recipe.model_fields if name not in IDLE]
    tables = {
        "data": list(DataSection.model_fields),
        "model": list(ModelSection.model_fields),
        "settings": settings,
        "training": recipe_fields,
    }
    _check_keys("", recipe, ["method", "preset", "seed", *tables])
    for table, known in tables.items():
        given = recipe.get(table, {})
        if not isinstance(given, Mapping):
            raise RequestError(f"{table}: must be a table of key = value, got {given!r}")
        _check_keys(f"{table}.", given, known)


def _check_keys(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            hint = suggest(key, known) or f"; allowed: {', '.join(known)}"
            raise RequestError(f"unknown key {where}{key} in the recipe{hint}")
