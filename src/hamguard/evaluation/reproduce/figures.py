"""A figure: what was measured once, or with several seeds, with the value of every query where a study kept it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean
from typing import Any

import numpy as np

from hamguard.core.noted import has_measured_radius, is_tradeoff
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.retrieval.intervals import bootstrap_interval

SEED = 0  # of the bootstrap of figures over seeds, and of relations
_HASH = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12,64}\b")
_OF_ONE_RUN = {"seconds", "forwards", "backwards", "value", "ci95", "seed", "version", "notes", "hashes"}

Values = Callable[[Row], Floats | None]
"""What each of a row's queries had, `(Q,)`; None where that was not kept."""


def none_kept(row: Row) -> Floats | None:
    """What rows are asked where no values are kept."""
    return None


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure over seeds; of one seed it is its row.

    Attributes:
        rows: one a seed, each with a value.
        load: gives what the queries of each row had, `(Q,)` or None, when it is needed.
    """

    rows: tuple[Row, ...]
    load: Callable[[], Sequence[Floats | None]] = lambda: ()

    @property
    def row(self) -> Row:
        """The first row, for the facts that all share."""
        return self.rows[0]

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """Seeds of the rows."""
        return tuple(row.seed for row in self.rows)

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return mean(_value(row) for row in self.rows)

    @property
    def n(self) -> int | None:
        """Number of queries."""
        return self.row.n

    @cached_property
    def values(self) -> Floats | None:
        """Values of the queries, `(S, Q)`, NaN for one that is not in the mean; None where they were not kept for all seeds."""
        kept = [each for each in self.load() if each is not None]
        if len(kept) < len(self.rows) or len({each.shape for each in kept}) > 1:
            return None
        return np.stack(kept)

    @cached_property
    def ci95(self) -> tuple[float, float] | None:
        """Interval over queries; of several seeds that of the bootstrap over seeds, then queries."""
        if len(self.rows) == 1:
            return self.row.ci95
        whole = None if self.values is None else self.values[:, np.isfinite(self.values).all(axis=0)]
        return None if whole is None or not whole.size else bootstrap_interval(whole, seed=SEED)

    def of_seeds(self, seeds: Sequence[int | None]) -> Figure:
        """The figure over some of its seeds."""
        places = [place for place, row in enumerate(self.rows) if row.seed in seeds]
        return Figure(tuple(self.rows[place] for place in places), lambda: _some(self.load(), places))

    def scaled(self, factor: float) -> Figure:
        """The figure times a number above 0: x 100 for one in hundredths, x 0.9 for what may be lost of it."""

        def row(old: Row) -> Row:
            ends = None if old.ci95 is None else (old.ci95[0] * factor, old.ci95[1] * factor)
            return replace(old, value=_value(old) * factor, ci95=ends)

        return Figure(tuple(map(row, self.rows)), lambda: [None if v is None else v * factor for v in self.load()])

    @property
    def per_query_seconds(self) -> Figure | None:
        """Seconds a query that the figure's attack took; None where that is not known."""
        spent = [replace(row, value=row.seconds / row.n, ci95=None) for row in self.rows if row.seconds and row.n]
        return Figure(tuple(spent)) if len(spent) == len(self.rows) else None


def _value(row: Row) -> float:
    return float(row.value or 0.0)


def _some(found: Sequence[Floats | None], places: Sequence[int]) -> list[Floats | None]:
    return [found[place] for place in places] if found else []


def figures_of(rows: Iterable[Row], values: Values = none_kept) -> list[Figure]:
    """Rows with a value as figures, in the order of their first rows: those that are equal but for the seed are one.

    Args:
        rows: models in them are called alike in every seed.
        values: gives the values of a row's queries.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.value is None:
            continue
        key, number = _key(row), 0
        while same := next((one for one in groups.get(f"{key} {number}", ()) if one.seed == row.seed), None):
            if (same.value, same.ci95) == (row.value, row.ci95):
                break  # measured twice
            number += 1  # two of one seed that differ in nothing that is looked at are two figures
        if same is None:
            groups.setdefault(f"{key} {number}", []).append(row)
    return [figure_of(group, values) for group in groups.values()]


def figure_of(rows: Sequence[Row], values: Values = none_kept) -> Figure:
    """One figure of rows that differ in their seed."""
    kept = tuple(rows)
    return Figure(kept, lambda: [values(row) for row in kept])


def mean_of(figures: Sequence[Figure]) -> Figure:
    """Mean of figures over the same seeds and queries, such as the points of a curve; of one seed without an interval."""
    rows = [
        replace(first, value=mean(_value(one.rows[place]) for one in figures), ci95=None, at=None)
        for place, first in enumerate(figures[0].rows)
    ]

    def load() -> list[Floats | None]:
        parts = [one.values for one in figures]
        kept = [part for part in parts if part is not None]
        return list(np.mean(kept, axis=0)) if len(kept) == len(parts) else []

    return Figure(tuple(rows), load)


def _key(row: Row) -> str:
    """What two rows of different seeds share."""
    facts = {name: _plain(getattr(row, name), row.seed) for name in Row.__slots__ if name not in _OF_ONE_RUN}
    if has_measured_radius(row):
        facts |= {"threat": "measured", "attack": (row.attack or {}).get("method")}
    return repr((facts, is_tradeoff(row)))


def _plain(value: Any, seed: int | None) -> Any:
    """A fact without what is another with every seed: hashes of what was trained, and where it lies."""
    if isinstance(value, Mapping):
        return {key: _plain(one, seed) for key, one in value.items() if key != "seed"}
    if isinstance(value, (list, tuple)):
        return [_plain(one, seed) for one in value]
    return _HASH.sub("HASH", without_seed(value, seed)) if isinstance(value, str) else value


def without_seed(name: str, seed: int | None) -> str:
    """Name of a model of a study of several seeds, as in a study of one.

    >>> without_seed("dph-32-seed2+saat", 2), without_seed("dph-seed20", 2)
    ('dph-32+saat', 'dph-seed20')
    """
    return re.sub(rf"-seed{seed}(?=[+-]|$)", "", name)


def named_alike(row: Row) -> Row:
    """A row that calls models as a study of one seed does."""
    attack, model = row.attack, row.model
    if model and (plain := without_seed(model, row.seed)) != model:
        row = replace(row, model=plain)
    made_on = (attack or {}).get("made_on")
    if attack and isinstance(made_on, (list, tuple)):
        names = [without_seed(str(name), row.seed) for name in made_on]
        row = row if names == list(made_on) else replace(row, attack={**attack, "made_on": names})
    return row
