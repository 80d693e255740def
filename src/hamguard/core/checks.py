"""Argument checks that explain themselves: name, value received, values allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real
from os import PathLike
from typing import Any, TypeVar

from hamguard.core.errors import RequestError

Number = TypeVar("Number", int, float)


def received(value: Any) -> str:
    """A value in a few words: texts and numbers as they are, arrays by their shape, everything else by its class."""
    if value is None or isinstance(value, (str, bool, int, float, PathLike)):
        return repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}..."
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    what = f"{type(value).__name__} of shape {tuple(shape)}" if isinstance(shape, tuple) else type(value).__name__
    return f"{'an' if what[0] in 'AEIOUaeiou' else 'a'} {what}"


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Return `"; did you mean X?"` for the nearest allowed word, or an empty string."""
    words = list(allowed)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6) or [
        one for one in words if one.lower() == word.lower()
    ]
    return f"; did you mean {near[0]}?" if near else ""


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`.

    Raises:
        RequestError: it is not; the message lists what is allowed and the nearest word.
    """
    allowed = list(allowed)
    if not isinstance(value, str):
        raise RequestError(f"{name} must be one of {', '.join(allowed)}, got {received(value)}")
    if value not in allowed:
        raise RequestError(f"unknown {name} {value!r}; allowed: {', '.join(allowed)}{suggest(value, allowed)}")
    return value


def check_range(name: str, value: Number, low: Number, high: Number | None = None) -> Number:
    """Return `value` if `low <= value` (and `value <= high` where given).

    Raises:
        RequestError: it is not, or it is not a number at all.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise RequestError(f"{name} must be a number, got {received(value)}")
    if not (low <= value and (high is None or value <= high)):
        allowed = f"at least {low}" if high is None else f"between {low} and {high}"
        raise RequestError(f"{name} must be {allowed}, got {value}")
    return value


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int | str, ...]) -> None:
    """Check a shape against a pattern such as `("B", 3, "H", "W")`; a string matches any size.

    Raises:
        RequestError: the number of dimensions or a fixed size differs.
    """
    fits = len(shape) == len(expected) and all(
        isinstance(e, str) or s == e for s, e in zip(shape, expected, strict=True)
    )
    if not fits:
        pattern = "(" + ", ".join(str(e) for e in expected) + ("," if len(expected) == 1 else "") + ")"
        raise RequestError(f"{name} must have shape {pattern}, got {tuple(shape)}")


def parse_eps(text: str) -> float:
    """`8/255` or `0.03` as a number.

    Raises:
        RequestError: neither.

    >>> round(parse_eps("8/255"), 5), parse_eps("0.1")
    (0.03137, 0.1)
    """
    top, slash, bottom = text.partition("/")
    try:
        eps = float(top) / (float(bottom) if slash else 1.0)
    except (ValueError, ZeroDivisionError) as error:
        raise RequestError(f"eps must be a number such as 0.03 or 8/255, got {text!r}") from error
    if not (math.isfinite(eps) and math.isfinite(float(bottom or 1))):
        raise RequestError(f"eps must be a finite number such as 0.03 or 8/255, got {text!r}")
    return eps
