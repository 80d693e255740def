"""Limits of figures, as a file of an engineer's own CI holds them: which rows, and what their figure must keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from hamguard.core.asked import Asked, first_fault
from hamguard.core.checks import parse_eps, suggest
from hamguard.core.errors import RequestError
from hamguard.core.files import read_toml

WITHOUT = "none"
"""What a limit says for rows without an attack, a defense or a cut, because TOML has no null."""
Interval = Literal["ignore", "whole", "part"]


class Limit(Asked):
    """Rows by their facts, and the bounds of their figure; several rows must all keep them."""

    metric: str = Field(description="name of the metric; `map@100` is `map` with `at = 100`")
    model: str | None = Field(None, description="path or name of the model")
    attack: str | None = Field(None, description="method of the attack, `audit`, `noise`, ...; `none`: clean pictures")
    defense: str | None = Field(None, description="method of the defense; `none`: no defense")
    eps: float | None = Field(None, gt=0, description='radius, `"8/255"` or a number')
    norm: str | None = Field(None, description="norm of the radius")
    steps: int | None = Field(None, ge=0, description="gradients of the attack")
    guide: str | None = Field(None, description="guide of the attack")
    labels: str | None = Field(None, description="what the attacker knows of labels, `aware` or `free`")
    toward: bool | None = Field(None, description="whether the attack approaches a target")
    check: str | None = Field(None, description="name of a check of an audit or of sanity")
    stage: str | None = Field(None, description="stage of an audit")
    view: str | None = Field(None, description="change of the copies that asked")
    dataset: str | None = Field(None, description="data set, as rows call it")
    protocol: str | None = Field(None, description="named split")
    method: str | None = Field(None, description="hash method")
    backbone: str | None = Field(None, description="network")
    bits: int | None = Field(None, ge=1, description="code length")
    task: str | None = Field(None, description="`query->database`, `image->text`, ...")
    at: int | Literal["none"] | None = Field(None, description="rank or radius of the cut; `none`: no cut")
    ties: str | None = Field(None, description="order of equal distances")
    seed: int | None = Field(None, description="seed of the run")

    at_least: float | None = Field(None, description="the figure may not be below")
    at_most: float | None = Field(None, description="the figure may not be above")
    fall: float | None = Field(None, ge=0, description="how far it may fall below the baseline")
    rise: float | None = Field(None, ge=0, description="how far it may rise above the baseline")
    passes: Literal[True] | None = Field(None, description="`true`: the check must have passed")
    interval: Interval = Field(
        "ignore",
        description="`ignore`: the figure decides; `whole`: the whole 95% interval must keep the limit; `part`: it is broken "
        "only where the whole interval lies beyond it",
    )

    BOUNDS: ClassVar[tuple[str, ...]] = ("at_least", "at_most", "fall", "rise", "passes")

    @field_validator("eps", mode="before")
    @classmethod
    def _radius(cls, value: Any) -> Any:
        return parse_eps(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _bounded(self) -> Limit:
        if not self.bounds:
            raise ValueError(f"says no limit; give one of {', '.join(self.BOUNDS)}")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}, which no figure keeps")
        if self.interval != "ignore" and [*self.bounds] == ["passes"]:
            raise ValueError("a check that passes has no interval; leave `interval` out")
        return self

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are given, by their name."""
        given = {name: getattr(self, name) for name in self.BOUNDS}
        return {name: float(value) for name, value in given.items() if value is not None}

    @property
    def facts(self) -> dict[str, Any]:
        """What rows are chosen by, as `Rows.where` takes it."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        found = {
            name: None if value == WITHOUT and name in ("attack", "defense", "at") else value
            for name, value in given.items()
            if value is not None and name not in (*self.BOUNDS, "interval")
        }
        name, at, rank = self.metric.rpartition("@")
        if at and rank.isdigit():
            found |= {"metric": name, "at": int(rank)}
        return found


class Limits(Asked):
    """All limits by their names, and the rows file of the baseline that falls and rises are measured from."""

    baseline: str | None = Field(
        None, description="rows file, or folder that holds `rows.jsonl`, beside the limits file"
    )
    limits: dict[str, Limit] = Field(min_length=1, description="limits by name")


def parse_limits(content: Mapping[str, Any], where: str) -> Limits:
    """Limits of a file's content.

    Args:
        content: its tables.
        where: the file, for messages.

    Raises:
        RequestError: an unknown key, a wrong value, no limit, or a limit without a bound; the first fault is named.
    """
    if not content.get("limits"):
        near = next((suggest(key, ["limits"]) for key in content if key != "limits" and suggest(key, ["limits"])), "")
        raise RequestError(f"{where} holds no limit; one is a table such as [limits.clean]{near}")
    try:
        return Limits(**content)
    except ValidationError as error:
        faults = error.errors()
        fault = next(
            (one for one in faults if one["type"] == "extra_forbidden"), faults[0]
        )  # a misspelled key is missing, too
        words = [str(word) for word in fault["loc"]]
        if fault["type"] == "extra_forbidden":
            known = [*(Limits if len(words) == 1 else Limit).model_fields]
            near = suggest(words[-1], known) or f"; allowed: {', '.join(known)}"
            raise RequestError(f"{where}: unknown key {'.'.join(words)}{near}") from error
        if fault["type"] == "missing":
            raise RequestError(f"{where}: {'.'.join(words[:-1])} says no {words[-1]}") from error
        if fault["type"] == "value_error":
            raise RequestError(f"{where}: {'.'.join(words)}: {fault['ctx']['error']}") from error
        if fault["type"] in ("model_type", "dict_type"):
            raise RequestError(f"{where}: {'.'.join(words)}: must be a table, got {fault['input']!r}") from error
        raise RequestError(f"{where}: {first_fault(error)}") from error


def read_limits(path: Path | str) -> Limits:
    """Limits of a TOML file; its baseline is a path from the working folder on.

    Raises:
        RequestError: a missing or broken file, or as `parse_limits`.
    """
    limits = parse_limits(read_toml(path, "file of limits"), str(path))
    if limits.baseline is None:
        return limits
    return limits.model_copy(update={"baseline": str(Path(path).parent / limits.baseline)})
