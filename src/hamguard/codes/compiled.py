"""How numba compiles our kernels, and the one instruction that it has no name for; it loads the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, types
from numba.extending import intrinsic


def _ones_of(typing: Any, word: Any) -> Any:
    """Number of set bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


ones: Any = intrinsic(_ones_of)
"""Number of set bits of a uint64, in a compiled function."""


def _ones_of_byte(typing: Any, byte: Any) -> Any:
    """Number of set bits of a uint8."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint8(types.uint8), generate


ones_of_byte: Any = intrinsic(_ones_of_byte)
"""Number of set bits of a uint8, in a compiled function: of many at once where there are vectors of bytes."""


def compiled(function: Callable[..., Any]) -> Any:
    """Compile without the global lock, with a cache on disk where one can be written."""
    # Python's division checks for zero and so cannot become vector instructions; nothing is divided by zero here.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no place for a cache file: compile in every process instead
        return njit(**options)(function)
