"""`Job`: everything that defines a training.

A job is the same, and has the same digest, whether it was written in Python, as words of a command or as a recipe file: defaults
belong to the method and are filled in here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from hamguard.attacks.threat import Threat
from hamguard.core.asked import Asked
from hamguard.core.checks import suggest
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry
from hamguard.data.cache import Progress as Decoded
from hamguard.data.opened import Data
from hamguard.models.backbones import default_backbone
from hamguard.models.pretrained import NONE, PRETRAINED, first_weights
from hamguard.training.recipe import Recipe

Defaults = Mapping[str, Mapping[str, Any]]
"""Values by section: `settings` and `training`."""

HEAD_FACTOR = 10.0
"""How much faster than the backbone a head learns that has not learned before."""
FINE_TUNING: Mapping[str, Any] = {
    "epochs": 3,
    "lr": 5e-4,
    "head_lr_factor": HEAD_FACTOR,
    "schedule": "cosine",
    "augment": "flip",
}
"""Recipe defaults where all of a backbone with given weights learns."""


class DataSection(Asked):
    """Which pictures."""

    source: str = Field("digits", description="data source, see `hamguard data list`")
    protocol: str | None = Field(None, description="named split; the source's own default where not given")
    split_seed: int = Field(0, description="seed of a drawn split; apart from `seed`, so that runs differ on one split")
    size: int | None = Field(None, ge=1, description="side in pixels, for sources that can be resized")
    drop_duplicates: bool = Field(False, description="leave out copies of pictures")

    def open(self, root: Path | str | None = None, progress: Decoded | None = None, size: int | None = None) -> Data:
        """Open the data.

        Args:
            root: folder of the named data sets.
            progress: called with `(done, total)` while a large set is decoded for the first time.
            size: side in pixels where the section says none.

        Raises:
            RequestError: unknown source or protocol, or data that do not agree with themselves.
            DataMissingError: the data are not on this machine.
        """
        return Data.open(
            self.source,
            root=root,
            protocol=self.protocol,
            split_seed=self.split_seed,
            size=self.size or size,
            drop_duplicates=self.drop_duplicates,
            progress=progress,
        )


class ModelSection(Asked):
    """Which network."""

    backbone: str | None = Field(None, description="backbone; by picture size where not given")
    bits: int = Field(32, ge=1, le=4096, description="code length K")
    weights: str | None = Field(
        None, description="initial weights: `pretrained`, a safetensors file, `torchvision`, or `none` for random ones"
    )
    normalization: Literal["auto", "data", "imagenet", "none"] = Field(
        "auto",
        description="data: mean and deviation of the training pictures; auto: what given weights expect, else data",
    )

    @property
    def given(self) -> bool:
        """Whether the backbone starts from given weights."""
        return self.weights not in (None, NONE)


class Words(Protocol):
    """What a job asks of its kind; `trainers.kind.Kind` has it, beside the work.

    Attributes:
        name: of the kind.
        what: what its methods are called in messages.
        default: method where none is named.
        named: whether a method's name alone tells the kind.
        own: fields of `Job` that only some kinds have, of this one.
        reach: sections that `--set` can reach; empty text for the fields of `Job` itself.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    default: ClassVar[str]
    named: ClassVar[bool]
    own: ClassVar[tuple[str, ...]]
    reach: ClassVar[tuple[str, ...]]

    def methods(self) -> Sequence[str]:
        """Names of all methods."""

    def settings_type(self, method: str) -> type[Asked]:
        """Settings of a method."""

    def preset(self, method: str, name: str | None) -> Defaults:
        """Values of a published form over the method's own defaults; None for our own form."""

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values where neither preset nor person says anything: of fields of `Job`, and of `settings` and `training`."""

    def of(self, method: str) -> str:
        """Whose key is unknown, for messages: ` of saat`."""


KINDS: Registry[type[Words]] = Registry("kind of training", "hamguard.trainers")
"""By name, filled by the files of this package."""


class Job(Asked):
    """Everything that defines a training, but for the models that it starts from, which are known by their weights.

    Attributes:
        kind: what is trained, by name; by default what the method trains.
        method: hash method, defense, `prosgan`, `ppl` or `comdefend`.
        preset: a published form of the method; None for our own.
        seed: of weights, order, views and draws.
        eps: radius that a defense is for, in pixel units; None where the kind has none.
        norm: its norm.
        data: pictures.
        model: network and code length; None where the kind has none.
        settings: of the method, complete.
        training: recipe, complete.

    Raises:
        ValueError: unknown words or values out of range (pydantic's `ValidationError`).
    """

    kind: str
    method: str
    preset: str | None = None
    seed: int = 0
    eps: float | None = Field(None, gt=0)
    norm: Literal["linf", "l2"] | None = None
    data: DataSection = DataSection()
    model: ModelSection | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    training: Recipe = Recipe()

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)  # pydantic would ask type checkers for `kind`, which `complete` fills in

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, given: Any, handler: ModelWrapValidatorHandler[Job]) -> Job:
        if not isinstance(given, Mapping):
            return handler(given)
        merged, faults = complete(given)
        if faults:
            raise ValueError("; ".join(faults))
        job, asked = handler(merged), given.get("training", {})
        fields = asked.model_fields_set if isinstance(asked, BaseModel) else asked
        job.training.model_fields_set.intersection_update(fields)  # what was asked for, see `for_images`
        return job

    @model_validator(mode="after")
    def _own_fields(self) -> Job:
        own = KINDS[self.kind].own
        for name in ("eps", "norm", "model"):
            if getattr(self, name) is not None and name not in own:
                raise ValueError(f"unknown key {name}; {self.method} has none")
        return self

    @property
    def digest(self) -> str:
        """Hash of all that the kind looks at; a checkpoint carries it."""
        names = ("method", "preset", "seed", "data", "settings", "training", *KINDS[self.kind].own)
        return digest_json(self.model_dump(mode="json", include=set(names)))

    @property
    def network(self) -> ModelSection:
        """The section `model` of a kind that has one."""
        assert self.model is not None
        return self.model

    @property
    def threat(self) -> Threat:
        """What a defense is for."""
        assert self.eps is not None and self.norm is not None
        return Threat(self.norm, self.eps)

    @property
    def parsed(self) -> Any:
        """The settings as the method takes them."""
        return KINDS[self.kind]().settings_type(self.method)(**self.settings)


def kind_of(method: Any) -> Words:
    """The kind of training that a method belongs to by its name alone; hash training where no kind knows it."""
    kinds = [kind() for kind in KINDS.values() if kind.named]
    return next((kind for kind in kinds if method in kind.methods()), KINDS["model"]())


def over_defaults(given: Mapping[str, Any], **defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Sections over the defaults of a method, so that a job is the same however it is written.

    Args:
        given: the job as it is given: mappings, or models, of which only the fields count that were set.
        defaults: key to value of each section.

    Returns:
        The job with these sections filled; what is no mapping comes back as it is, for its own check.
    """
    merged = dict(given)
    for section, base in defaults.items():
        own = merged.get(section, {})
        if isinstance(own, BaseModel):
            own = {name: getattr(own, name) for name in own.model_fields_set}
        if isinstance(own, Mapping):
            merged[section] = {**base, **own}
    return merged


def asked_for(given: Mapping[str, Any], section: str, name: str) -> Any:
    """A value of a section, which may be a mapping, a model, or something wrong; None where it is not there."""
    asked = given.get(section)
    return asked.get(name) if isinstance(asked, Mapping) else getattr(asked, name, None)


def complete(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A job with all that its method and preset say where nothing was asked for, and what is wrong with it so far.

    Returns:
        Fields of `Job`, with a harmless value in the place of a wrong one; and the faults, one line each.
    """
    merged = {key: value for key, value in given.items() if value is not None}
    faults: list[str] = []
    kind = KINDS[merged["kind"]]() if "kind" in merged else kind_of(merged.get("method", "csq"))
    method = merged.get("method", kind.default)
    merged |= {"kind": kind.name, "method": method}
    if merged.get("preset") == "default":
        del merged["preset"]
    known = kind.methods()
    if method not in known:
        listed = ", ".join(known)
        faults.append(f"unknown {kind.what} {str(method)!r}; allowed: {listed}{suggest(str(method), known)}")
        merged = {key: value for key, value in merged.items() if key not in ("preset", "settings")}
        merged["method"] = method = kind.default  # what else is wrong is looked for with it
    try:
        preset = kind.preset(method, merged.get("preset"))
    except RequestError as error:
        faults.append(str(error))
        preset = kind.preset(method, None)
        del merged["preset"]
    base = {"settings": {}, "training": {}, **kind.defaults(method, merged)}
    if "model" in kind.own:
        model = merged.setdefault("model", {})
        merged["model"] = model = _with_weights(model)
        freeze, finetune = (asked_for(merged, "training", name) for name in ("freeze", "finetune"))
        if freeze and finetune:  # the head's rate stays what it is, the backbone's is a tenth of it
            lr = base["training"].get("lr", Recipe().lr)
            base["training"] = {**base["training"], "lr": lr / HEAD_FACTOR, "head_lr_factor": HEAD_FACTOR}
        elif asked_for(merged, "model", "weights") not in (None, NONE) and not freeze:
            base["training"] = {**base["training"], **FINE_TUNING}
    sections = {name: {**base.pop(name), **preset.get(name, {})} for name in ("settings", "training")}
    merged = over_defaults({**base, **merged}, **sections)
    settings = merged["settings"]
    if not isinstance(settings, Mapping):
        faults.append(f"settings: must be a table of key = value, got {settings!r}")
        settings = {}
    try:
        merged["settings"] = kind.settings_type(method)(**settings).model_dump()
    except ValidationError as error:
        faults += explain(error, ("settings",), list(kind.settings_type(method).model_fields))
        merged["settings"] = {}  # what else is wrong is looked for without them
    return merged, faults


def _with_weights(model: Any) -> Any:
    """The section `model` with the weights of a network that is there for them; what is no section comes back as it is."""
    if isinstance(model, ModelSection):
        weights = first_weights(model.backbone, model.weights)
        return model if weights == model.weights else model.model_copy(update={"weights": weights})
    if not isinstance(model, Mapping) or not isinstance(model.get("backbone"), str | None):
        return model
    weights = first_weights(model.get("backbone"), model.get("weights"))
    return model if weights == model.get("weights") else {**model, "weights": weights}


def for_images(job: Job, size: tuple[int, int]) -> Job:
    """A job whose network suits pictures of a size where it names none: one with pretrained weights where they are large enough.

    Recipe fields that nobody asked for become those of fine-tuning, as if the network had been named.
    """
    if job.model is None or job.model.backbone is not None or job.model.weights not in (None, PRETRAINED):
        return job
    name = default_backbone(size)
    if first_weights(name, None) is None:
        return job  # `build_model` takes one that learns from scratch
    given = {field: getattr(job.training, field) for field in job.training.model_fields_set}
    model = {**job.model.model_dump(), "backbone": name}
    return Job(**{**job.model_dump(exclude={"model", "training"}), "model": model, "training": given})


SECTIONS: dict[str, type[BaseModel]] = {"data": DataSection, "model": ModelSection, "training": Recipe}


def explain(error: ValidationError, prefix: tuple[str, ...], names: Sequence[str]) -> list[str]:
    """One line a fault: key path, what was received, what is allowed, the nearest name.

    Args:
        error: what pydantic found.
        prefix: path of what was checked.
        names: its fields.
    """
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
        elif not path:
            lines.append(fault["msg"].removeprefix("Value error, "))
        else:
            got = fault.get("input")
            lines.append(f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {got!r}")
    return lines
