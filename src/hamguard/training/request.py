"""A training request: recipe file, flags and `--set` put together, checked as a whole, every fault named at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from hamguard.core.asked import Asked
from hamguard.core.checks import suggest
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.files import read_text
from hamguard.data.cache import Progress as Decoded
from hamguard.data.dataset import Dataset
from hamguard.data.sources import open_source
from hamguard.data.split import Split
from hamguard.hashing.registry import OBJECTIVES, UNSUPERVISED, hash_methods
from hamguard.training.recipe import Recipe

AnyRequest = TypeVar("AnyRequest", bound=BaseModel)

FINE_TUNING: Mapping[str, Any] = {
    "epochs": 3,
    "lr": 5e-4,
    "head_lr_factor": 10.0,
    "schedule": "cosine",
    "augment": "flip",
}
"""Recipe defaults where the backbone starts from given weights: a fresh head learns ten times faster than the rest."""


class DataSection(Asked):
    """Which pictures."""

    source: str = Field("digits", description="data source, see `hamguard data list`")
    protocol: str | None = Field(None, description="named split; the source's own default where not given")
    split_seed: int = Field(0, description="seed of a drawn split; apart from `seed`, so that runs differ on one split")
    size: int | None = Field(None, ge=1, description="side in pixels, for sources that can be resized")
    drop_duplicates: bool = Field(False, description="leave out copies of pictures")

    def open(self, root: Path | None = None, progress: Decoded | None = None) -> tuple[Dataset, Split]:
        """Open the data set and its split.

        Args:
            root: folder of the named data sets.
            progress: called with `(done, total)` while a large set is decoded for the first time.

        Raises:
            RequestError: unknown source or protocol, or data that do not agree with themselves.
            DataMissingError: the data are not on this machine.
        """
        return open_source(
            self.source,
            root=root,
            seed=self.split_seed,
            protocol=self.protocol,
            drop_duplicates=self.drop_duplicates,
            size=self.size,
            progress=progress,
        )


class ModelSection(Asked):
    """Which network."""

    backbone: str | None = Field(None, description="backbone; by picture size where not given")
    bits: int = Field(32, ge=1, le=4096, description="code length K")
    weights: str | None = Field(None, description="initial weights: a safetensors file or `torchvision`")
    normalization: Literal["auto", "data", "imagenet", "none"] = Field(
        "auto", description="data: mean and deviation of the training pictures; auto: imagenet where weights are given"
    )


def over_defaults(given: Any, **defaults: Mapping[str, Any]) -> Any:
    """Sections of a request over the defaults of its method, so that a request is the same however it is written.

    Args:
        given: the request as it is given: mappings, or models, of which only the fields count that were set.
        defaults: key to value of each section.

    Returns:
        The request with these sections filled; what is no mapping comes back as it is, for its own check.
    """
    merged = dict(given)
    for section, base in defaults.items():
        own = merged.get(section, {})
        if isinstance(own, BaseModel):
            own = {name: getattr(own, name) for name in own.model_fields_set}
        if isinstance(own, Mapping):
            merged[section] = {**base, **own}
    return merged


class TrainRequest(Asked):
    """Everything that defines a training run; what is not given is the method's own, as in the command."""

    method: str = "csq"
    preset: str | None = None
    seed: int = 0
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    settings: dict[str, Any] = Field(default_factory=dict)
    training: Recipe = Recipe()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        method, preset, model = given.get("method", "csq"), given.get("preset"), given.get("model")
        kind = OBJECTIVES.get(method)
        weights = model.get("weights") if isinstance(model, Mapping) else getattr(model, "weights", None)
        tuned = FINE_TUNING if weights else {}
        if kind is None:
            return over_defaults(given, training=tuned)
        if preset is not None and preset not in kind.presets:
            raise ValueError(f"unknown preset {preset!r} of {method}; allowed: {', '.join(kind.presets) or 'none'}")
        chosen = kind.presets[preset] if preset is not None else {}
        merged: dict[str, Any] = over_defaults(given, settings=chosen, training={**kind.training, **tuned})
        if isinstance(merged["settings"], Mapping):
            try:
                merged["settings"] = kind.settings_type(**merged["settings"]).model_dump()
            except ValidationError as error:
                raise ValueError(
                    "; ".join(_explain(error, ("settings",), list(kind.settings_type.model_fields)))
                ) from error
        return merged

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))


SECTIONS: dict[str, type[BaseModel]] = {"data": DataSection, "model": ModelSection, "training": Recipe}


def read_recipe(path: Path | str) -> dict[str, Any]:
    """Read a TOML recipe.

    Raises:
        RequestError: missing, not an ordinary file, or no TOML; the message has line and column.
    """
    try:
        return tomllib.loads(read_text(path, "recipe"))
    except RecursionError as error:
        raise RequestError(f"{path} is no readable recipe: it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path} is no readable recipe: {error}") from error


def parse_value(text: str) -> Any:
    """The value of `--set key=value`: TOML where it is TOML, else the text itself.

    >>> parse_value("0.1"), parse_value("true"), parse_value("bank")
    (0.1, True, 'bank')
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def sort_words(
    flags: Mapping[str, Any], sets: Sequence[str], own: Sequence[str], idle: Sequence[str], of: str = ""
) -> dict[str, dict[str, Any]]:
    """Flags and `--set` of a run that is not hash training, by section; later ones win.

    Args:
        flags: dotted key to value, None where the flag was not given, e.g. `{"training.epochs": 4}`.
        sets: `key=value` words; the key is the name of a setting or of a recipe field.
        own: names of the settings.
        idle: recipe fields that mean nothing for the run; giving one is an error.
        of: what the settings are of, for the message.

    Raises:
        RequestError: the first fault.
    """
    given: dict[str, dict[str, Any]] = {"": {}, "data": {}, "settings": {}, "training": {}}
    for key, value in flags.items():
        if value is not None:
            section, _, name = key.rpartition(".")
            given[section][name] = value
    known = [*own, *(name for name in Recipe.model_fields if name not in idle)]
    for word in sets:
        key, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not key or not text:
            raise RequestError(f"--set {word}: must be key=value")
        name = key.removeprefix("settings.").removeprefix("training.")
        if name not in known:
            raise RequestError(f"unknown key {key}{of}{suggest(name, known) or '; allowed: ' + ', '.join(known)}")
        given["settings" if name in own else "training"][name] = parse_value(text)
    return given


def first_fault(error: ValidationError) -> RequestError:
    """The first fault of a request as one line."""
    fault = error.errors()[0]
    text = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
    return RequestError(f"{'.'.join(map(str, fault['loc']))}: {text}, got {fault.get('input')!r}")


def put_together(kind: type[AnyRequest], given: Mapping[str, Mapping[str, Any]]) -> AnyRequest:
    """A request of the words of `sort_words`.

    Args:
        kind: class of the request; it fills in the defaults of its preset.
        given: words by section.

    Raises:
        RequestError: the first fault.
    """
    try:
        return kind(**given[""], **{section: given[section] for section in ("settings", "training", "data")})
    except ValidationError as error:
        raise first_fault(error) from error


def build_request(recipe: Mapping[str, Any], flags: Mapping[str, Any], sets: Sequence[str] = ()) -> TrainRequest:
    """Put recipe, flags and `--set` together; later ones win. Defaults of the method lie below all three.

    Args:
        recipe: content of a recipe file, or empty.
        flags: dotted key to value, None where the flag was not given, e.g. `{"model.bits": 16}`.
        sets: `key=value` words; the key is dotted, or the bare name of a setting or recipe field.

    Raises:
        RequestError: one or more faults; all of them are named.
    """
    faults: list[str] = []
    merged: dict[str, Any] = {}
    for key, value in recipe.items():
        merged[key] = dict(value) if isinstance(value, Mapping) else value
    for key, value in flags.items():
        if value is not None:
            _put(merged, key, value)
    words = []
    for word in sets:
        key, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not key or not text:
            faults.append(f"--set {word}: must be key=value")
        elif key == "method":  # it decides which other keys there are
            merged["method"] = parse_value(text)
        else:
            words.append((key, parse_value(text)))
    method = str(merged.get("method", "csq"))
    kind = None
    if method in hash_methods():
        kind = OBJECTIVES.get(method)
    else:
        faults.append(
            f"unknown hash method {method!r}; allowed: {', '.join(hash_methods())}{suggest(method, hash_methods())}"
        )
    own = list(kind.settings_type.model_fields) if kind else []
    for key, value in words:
        _put(merged, _full_key(key, own), value)

    preset = merged.get("preset")
    settings = merged.get("settings", {})
    if not isinstance(settings, Mapping):
        faults.append(f"settings: must be a table of key = value, got {settings!r}")
        settings = {}
    if preset is not None and kind:
        if preset not in kind.presets:
            known = ", ".join(kind.presets) or "none"
            faults.append(
                f"unknown preset {preset!r} of {method}; allowed: {known}{suggest(str(preset), kind.presets)}"
            )
            merged["preset"] = None
        else:
            settings = {**kind.presets[preset], **settings}
    if kind:
        try:
            settings = kind.settings_type(**settings).model_dump()
        except ValidationError as error:
            faults += _explain(error, ("settings",), own)
            settings = {}  # what else is wrong is looked for without them
    elif method in UNSUPERVISED:
        for section in ("settings", "training"):
            if isinstance(given := merged.get(section), Mapping) and given:
                faults.append(f"{method} is fitted in one pass and takes no {section} keys, got {', '.join(given)}")
        if preset is not None:
            faults.append(f"{method} has no presets, got {preset!r}")
    try:
        request = TrainRequest(**{**merged, "method": method, "settings": settings})
    except ValidationError as error:
        faults += _explain(error, (), list(TrainRequest.model_fields))
    if faults:
        raise RequestError(faults[0] if len(faults) == 1 else f"{len(faults)} faults: {' | '.join(faults)}")
    return request


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    head, _, tail = key.partition(".")
    if not tail:
        target[head] = value
    else:
        inner = target.setdefault(head, {})
        if isinstance(inner, dict):
            inner[tail] = value


def _full_key(key: str, own: Sequence[str]) -> str:
    """`lr` to `training.lr`, `eta` to `settings.eta`; a dotted or unknown key stays as it is."""
    if "." in key or key in TrainRequest.model_fields:
        return key
    if key in own:
        return f"settings.{key}"
    for section, kind in SECTIONS.items():
        if key in kind.model_fields:
            return f"{section}.{key}"
    return key


def _explain(error: ValidationError, prefix: tuple[str, ...], names: Sequence[str]) -> list[str]:
    """One line a fault: key path, what was received, what is allowed, the nearest name."""
    lines = []
    for fault in error.errors():
        path = [*prefix, *map(str, fault["loc"])]
        key = ".".join(path)
        if fault["type"] == "extra_forbidden":
            section = SECTIONS.get(path[0]) if len(path) > 1 else None
            allowed = list(section.model_fields) if section else list(names)
            near = suggest(path[-1], allowed)
            if not section and len(path) == 1:  # a bare key may belong to a section
                allowed = [*allowed, *(field for kind in SECTIONS.values() for field in kind.model_fields)]
                near = suggest(path[-1], allowed)
            lines.append(f"unknown key {key}{near or '; allowed: ' + ', '.join(allowed)}")
        else:
            got = fault.get("input")
            lines.append(f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {got!r}")
    return lines
