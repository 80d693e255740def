"""What all recipes of studies share: tables that refuse unknown keys, eps written as 8/255, one value or a list of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from hamguard.core.asked import Asked, first_fault
from hamguard.core.checks import parse_eps, suggest
from hamguard.core.errors import RequestError

NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
"""What a model, attack or defense may be called: it becomes part of file names."""

AnySection = TypeVar("AnySection", bound=BaseModel)


Eps = Annotated[float, Field(gt=0, le=1)]
T = TypeVar("T")


def listed(value: Any) -> Any:
    """One value as a list of one; a list as it is."""
    return value if isinstance(value, list | tuple) else [value]


Bits = Annotated[int, Field(ge=1, le=4096)]
Many = Annotated[tuple[T, ...], BeforeValidator(listed), Field(min_length=1)]
"""One value, or a list of them: the study has a cell for each."""


class Section(Asked):
    """A table of a recipe; unknown keys are errors."""

    @field_validator("eps", "text_eps", mode="before", check_fields=False)
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return [_radius(one) for one in value] if isinstance(value, list) else _radius(value)


def _radius(value: Any) -> Any:
    """`8/255` as a number, `own` as it is; 8 is no radius of pixels in [0, 1]."""
    if isinstance(value, str):
        return value if value == "own" else parse_eps(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        raise RequestError(f'eps must be in (0, 1], got {value}; did you mean "{value}/255"?')
    return value


class TrainingPart(Section):
    """How something is trained; `set` takes every further setting of its method."""

    preset: str | None = Field(None, description="published form of the method, see its card")
    epochs: int | None = Field(None, ge=1, description="epochs; the method's own where not given")
    batch_size: int | None = Field(None, ge=1, description="pictures a step; the method's own where not given")
    set: dict[str, Any] = Field(default_factory=dict, description="further settings, as `--set` takes them")


class NetPart(TrainingPart):
    """Models to train, one for each combination of the lists."""

    method: str | None = Field(None, description="hash method; the name of the table where not given")
    bits: Many[Bits] = Field((32,), description="code length")
    backbone: Many[str | None] = Field((None,), description="network; by picture size where not given")
    weights: str | None = Field(
        None, description="initial weights of the backbone: `pretrained`, `none`, `torchvision` or a file"
    )
    data: Many[str] | None = Field(None, description="names of data tables; all of them where not given")


def parse_study(
    kind: type[AnySection], content: Mapping[str, Any], path: Path | str, sections: Mapping[str, type[BaseModel]]
) -> AnySection:
    """A recipe of a file's content.

    Args:
        kind: class of the recipe.
        content: of the file.
        path: the file, for the message.
        sections: table name to its class, for the nearest key; a table inside `[attacks.NAME]` is `attacks.KEY`.

    Raises:
        RequestError: a wrong key or value; the first fault is named.
    """
    try:
        return kind(**content)
    except ValidationError as error:
        found = error.errors()[0]
        if found["type"] == "extra_forbidden":
            words = [str(word) for word in found["loc"] if word]  # data that stand alone have no name
            inner = f"{words[0]}.{words[2]}" if len(words) > 3 else words[0]
            known = (kind if len(words) == 1 else sections.get(inner, sections.get(words[0], kind))).model_fields
            near = suggest(str(found["loc"][-1]), known) or f"; allowed: {', '.join(known)}"
            raise RequestError(f"{path}: unknown key {'.'.join(words)}{near}") from error
        raise RequestError(f"{path}: {_fault(error)}") from error


def _fault(error: ValidationError) -> str:
    """The first fault in the words of a recipe."""
    found = error.errors()[0]
    where = ".".join(str(word) for word in found["loc"] if word not in ("[key]", ""))
    if found["type"] == "value_error":  # it says already what was received and what is allowed
        return f"{where}: {found['ctx']['error']}"
    if found["type"] in ("model_type", "dict_type"):
        return f"{where}: must be a table, got {found['input']!r}"
    if found["type"] == "string_pattern_mismatch":
        return f"{where}: a name is at most 40 of a-z, 0-9, _ and -, and begins with a letter or number"
    if found["type"] in ("tuple_type", "list_type"):
        return f"{where}: must be a list, got {found['input']!r}"
    return str(first_fault(error))
