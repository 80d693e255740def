"""Which radius keeps false matches rare: rows of a recommended radius, and of the false matches within each radius."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Array
from hamguard.retrieval.false_matches import FalseMatches, count_pairs, false_matches, sampled

FALSE, RECALL, RADIUS = "false-matches", "recall", "radius"
"""Metrics: of the rows of false matches, of copies that are found, and of the radius that is recommended."""
BEYOND = 100  # radii are told of up to so many times the false matches that are allowed


@dataclass(frozen=True)
class Allowed:
    """What is asked for.

    Attributes:
        items: items that are searched.
        most: false matches a search that are allowed, expected number.
    """

    items: int
    most: float

    @property
    def text(self) -> str:
        """As rows say it."""
        return f"a search among {self.items:,} items; limit {self.most:g} false matches, which the upper end of the interval keeps"


@dataclass(frozen=True)
class RadiusFound:
    """What was found of the radii.

    Attributes:
        allowed: what was asked for.
        tail: shares of items within each radius.
        radius: the largest that is allowed; None where none is.
        rows: of the radius, then of false matches within each radius that is told of.
        moved: by view, the bits that each copy lies away from its original, `(n,)`.
    """

    allowed: Allowed
    tail: FalseMatches
    radius: int | None
    rows: Rows
    moved: dict[str, Array] = field(default_factory=dict)

    @property
    def told(self) -> range:
        """Radii that are told of."""
        expected = self.tail.expected(self.allowed.items)[0]
        last = int(np.count_nonzero(expected <= BEYOND * self.allowed.most))
        return range(min(max(last, (self.radius or 0) + 2), self.tail.bits + 1))


def find_radius(bank: CodeBank, allowed: Allowed, *, sample: int, seed: int, facts: Row) -> RadiusFound:
    """The radius that is allowed, from a sample of codes.

    Args:
        bank: the codes.
        allowed: items, and false matches.
        sample: items that are drawn and compared with each other.
        seed: of the sample.
        facts: facts that every row carries.

    Raises:
        RequestError: too few codes, or numbers out of range.
    """
    started = time.perf_counter()
    tail = false_matches(count_pairs(sampled(bank, sample, seed), bank.bits))
    radius = tail.radius(allowed.items, allowed.most)
    window = f"{tail.window:g} of the pairs" if tail.window else "no window: rare distances are bounded, not fitted"
    notes = (
        *facts.notes,
        allowed.text,
        f"{tail.items:,} items compared with each other, on {tail.distinct:,} different codes; tail fitted to {window}",
    )
    base = replace(facts, bits=bank.bits, task="query->database", n=tail.items, seed=seed, notes=notes)
    base = replace(base, seconds=round(time.perf_counter() - started, 3))
    found = RadiusFound(allowed, tail, radius, Rows([replace(base, metric=RADIUS, value=radius)]))
    value, low, high = tail.expected(allowed.items)
    for at in found.told:
        ends = float(low[at]), float(high[at])
        found.rows.append(replace(base, metric=FALSE, at=at, value=float(value[at]), ci95=ends))
    return found


def views_moved(found: RadiusFound, radii: Sequence[int]) -> dict[str, Array]:
    """Share of the copies of each view within each radius, `(r,)`."""
    return {view: np.array([(moved <= at).mean() for at in radii]) for view, moved in found.moved.items()}
