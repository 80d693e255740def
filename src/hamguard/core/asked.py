"""What people ask for as values: the base of all recipes, requests and settings."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from hamguard.core.errors import RequestError


class Asked(BaseModel):
    """Frozen values: an unknown key is an error, a truth value is no number, and neither is NaN or infinity.

    Text that spells a number stays one, because words of a command line are text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        if kinds & {int, float} and not kinds & {bool, Any} and _holds_truth(value):
            raise PydanticCustomError("no_truth", "must be a number, not true or false")
        return value


class Grown(Asked):
    """Values that got further ones after models were trained with them."""

    later: ClassVar[tuple[str, ...]] = ()
    """Fields younger than trained models: they are written only where they are not at their default, so that hashes stay."""

    @model_serializer(mode="wrap")
    def _without_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known, found = type(self).model_fields, write(self)
        later = {
            name for kind in type(self).__mro__ for name in vars(kind).get("later", ())
        }  # those of every base, too
        return {key: value for key, value in found.items() if key not in later or value != known[key].default}


def first_fault(error: ValidationError) -> RequestError:
    """The first fault of a request as one line."""
    fault = error.errors()[0]
    text = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
    return RequestError(f"{'.'.join(map(str, fault['loc']))}: {text}, got {fault.get('input')!r}")


def _kinds(annotation: Any) -> set[Any]:
    """Plain types that a value of a field may be made of."""
    if get_origin(annotation) is Literal:
        return {type(one) for one in get_args(annotation)}
    inner = get_args(annotation)
    return set().union(*map(_kinds, inner)) if inner else {annotation} if _is_kind(annotation) else set()


def _is_kind(annotation: Any) -> bool:
    return annotation in (int, float, bool, Any)


def _holds_truth(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return isinstance(value, bool) or any(map(_holds_truth, inner))
