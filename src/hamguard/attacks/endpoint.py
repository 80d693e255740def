"""Asking a search from outside: pictures in, ids and perhaps distances out; failed calls are tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hamguard.core.checks import check_range
from hamguard.core.errors import RunError, StoppedError
from hamguard.core.types import Bytes, Floats, Ints

LONGEST = 200
"""Characters of a failed search's own words that are shown."""


@dataclass(frozen=True)
class Answers:
    """What a search says to B pictures.

    Attributes:
        ids: database positions, nearest first, `(B, k)` int64; -1 fills the places behind the last answer.
        distances: their distances in the same order, `(B, k)`, smaller is nearer, at least 0; None where the search hides
            them. What stands beside a -1 does not matter.
    """

    ids: Ints
    distances: Ints | Floats | None = None


class Ask(Protocol):
    """One call of a search; all that an attack from outside may use."""

    def __call__(self, pixels: Bytes, k: int) -> Answers:
        """The k nearest items of each picture, `(B, H, W)` or `(B, H, W, 3)` uint8 as files hold them."""


@dataclass
class Endpoint:
    """A search that counts what it was asked and is asked again when it fails.

    Attributes:
        ask: the search.
        tries: calls for the same pictures before the endpoint gives up.
        pause: seconds before the second try; doubled before each further one.
        sleep: waits; a test gives another.
        asked: pictures answered so far; pictures of a failed call count once, when they are answered.
        failures: failed calls so far.
    """

    ask: Ask
    tries: int = 3
    pause: float = 0.5
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)
    asked: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        check_range("tries", self.tries, 1)
        check_range("pause", self.pause, 0.0)

    def __call__(self, pixels: Bytes, k: int) -> Answers:
        """The k nearest items of each picture.

        Args:
            pixels: `(B, H, W)` or `(B, H, W, 3)` uint8.
            k: answers wanted for each.

        Returns:
            Answers of shape `(B, k)`; ids int64, distances int64 or float64.

        Raises:
            RunError: the search failed `tries` times in a row, or its answer has the wrong form, which is not tried again.
            StoppedError: a person stopped the search.
        """
        found = checked(self._answered(pixels, k), (len(pixels), k))
        self.asked += len(pixels)
        return found

    def _answered(self, pixels: Bytes, k: int) -> object:
        """What the search returns, whatever it is."""
        for turn in range(self.tries):
            if turn:
                self.sleep(self.pause * 2 ** (turn - 1))
            try:
                return self.ask(pixels, k)
            except StoppedError:
                raise
            except Exception as error:  # a foreign search may raise anything
                self.failures += 1
                last = error
        said = " ".join(str(last).split())[:LONGEST] or type(last).__name__
        times = "once" if self.tries == 1 else f"{self.tries} times in a row"
        raise RunError(
            f"the search failed {times}, at last with: {said}; {self.asked:,} pictures had been answered"
        ) from last


def checked(found: object, shape: tuple[int, int]) -> Answers:
    """The answers with ids as int64 and distances as int64 or float64.

    Raises:
        RunError: not `Answers`, ids or distances of another shape or kind than promised, or distances that are not finite,
            below 0 or smaller at the end than at the start.
    """
    if not isinstance(found, Answers):
        raise RunError(f"the search must return Answers, got {type(found).__name__}")
    ids = _numbers("ids", found.ids, shape, "iu", "integers").astype(np.int64)
    if found.distances is None:
        return Answers(ids)
    distances = _numbers("distances", found.distances, shape, "iuf", "numbers")
    there = ids >= 0
    if not bool(np.isfinite(distances[there]).all()):
        raise RunError("the distances of the search's answers must be finite, got NaN or infinity")
    if bool((distances[there] < 0).any()):
        raise RunError(f"the distances of the search's answers must be at least 0, got {distances[there].min():g}")
    wide = distances.astype(np.float64 if distances.dtype.kind == "f" else np.int64)
    for row, present in zip(wide, there, strict=True):
        own = row[present]
        if len(own) and own[0] > own[-1]:  # the ends only: rounding may swap neighbors
            ends = f"{own[0]:g} first and {own[-1]:g} last"
            raise RunError(f"the search's answers must come nearest first, got distance {ends}; are they similarities?")
    return Answers(ids, wide)


def _numbers(name: str, values: Any, shape: tuple[int, int], kinds: str, words: str) -> Any:
    """An array of the promised shape and kind."""
    array = np.asarray(values)
    if array.shape != shape:
        raise RunError(f"the {name} of the search's answers must have shape {shape}, got {array.shape}")
    if array.dtype.kind not in kinds:
        raise RunError(f"the {name} of the search's answers must be {words}, got {array.dtype}")
    return array
