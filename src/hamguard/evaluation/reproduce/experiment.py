"""A published experiment: its recipes, its figures beside ours, and what the paper says of them, judged on our rows.

A relation is a sentence of the paper. It holds where every pair that it speaks of stands in the printed order; it does not hold
where one stands the other way; where rows are missing, or the difference is within the intervals of both figures, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean
from typing import Any, Literal, TypeVar

from hamguard.core.registry import Registry
from hamguard.core.rows import Row, Rows

Scale = Literal["small", "paper"]
Verdict = Literal["holds", "does not hold", "not testable at this scale"]


@dataclass(frozen=True)
class Line:
    """A published figure beside ours.

    Attributes:
        setting: what both are of.
        published: the printed figure; None where the paper shows a plot, or nothing.
        ours: our row; None where it was not run.
        digits: decimals that are printed.
    """

    setting: str
    published: float | None
    ours: Row | None
    digits: int = 3

    @property
    def difference(self) -> float | None:
        """Ours minus the printed figure."""
        if self.published is None or self.ours is None or self.ours.value is None:
            return None
        return self.ours.value - self.published


@dataclass(frozen=True)
class Relation:
    """What a paper says, judged.

    Attributes:
        claim: the sentence.
        verdict: whether it holds here.
        figures: the numbers that it rests on.
    """

    claim: str
    verdict: Verdict
    figures: str


@dataclass(frozen=True)
class Comparison:
    """An experiment, run and judged."""

    lines: Sequence[Line]
    relations: Sequence[Relation]


@dataclass(frozen=True)
class Experiment:
    """One table or figure of a paper.

    Attributes:
        name: as the command line writes it.
        source: the paper.
        what: its table or figure, in words.
        small: how the small form differs, in a sentence.
        minutes: what the small form takes on two cores, measured.
        judge: puts rows beside the printed figures.
        recipe: name of its recipe files; that of another experiment where they share one.
    """

    name: str
    source: str
    what: str
    small: str
    minutes: int
    judge: Callable[[Found, Scale], Comparison]
    recipe: str = ""


Judge = TypeVar("Judge", bound="Callable[[Found, Scale], Comparison]")
EXPERIMENTS: Registry[Experiment] = Registry("experiment", "hamguard.evaluation.reproduce", decorator="experiment")


def experiment(
    name: str, *, paper: str, what: str, small: str, minutes: int, recipe: str = ""
) -> Callable[[Judge], Judge]:
    """Decorator of the function that puts rows beside printed figures: enter its experiment; arguments as its attributes.

    Raises:
        RequestError: the name is taken by another one.
    """

    def enter(judge: Judge) -> Judge:
        EXPERIMENTS.enter(name, Experiment(name, paper, what, small, minutes, judge, recipe), judge)
        return judge

    return enter


CURVES = {"curve-precision-at-recall": "precision over recall", "curve-precision": "precision@N"}


class Found:
    """Rows to be asked.

    Args:
        rows: all rows.
        cells: rows of each attack of a grid, by model and attack.
    """

    def __init__(self, rows: Sequence[Row], cells: Mapping[tuple[str, str], Sequence[Row]] | None = None) -> None:
        self.rows = rows
        self.cells = cells or {}

    def of(self, model: str, attack: str) -> Found:
        """Rows of one attack on one model of a grid; none where it was not run."""
        return Found(self.cells.get((model, attack), ()))

    @property
    def models(self) -> list[str]:
        """Models of the grid that were attacked, in their order."""
        return list(dict.fromkeys(model for model, _ in self.cells))

    def first(self, model: str) -> Row:
        """Any row of an attacked model, for its data and bits."""
        return next(row for (name, _), rows in self.cells.items() if name == model for row in rows)

    def curves(self, model: str, attack: str, method: str) -> dict[str, Row]:
        """Mean of the points of each curve of one attack, by the name of the curve; empty where none was kept."""
        means = {}
        for metric, what in CURVES.items():
            points = self.of(model, attack).all(attack=method, metric=metric)
            if points:
                value = mean(float(one.value or 0) for one in points)
                means[what] = replace(points[0], at=None, value=value, ci95=None)
        return means

    def all(self, **want: Any) -> list[Row]:
        """Rows that fit and have a value.

        Args:
            want: fields of a row, where None means none; `attack`, `guide`, `toward`, `made_on` and `defense` ask inside attack and
                defense, `eps` and `steps` inside the threat.
        """
        inside = {key: want.pop(key) for key in ("eps", "made_on", "name") if key in want}
        found = Rows(self.rows).where(**want)
        return [
            row
            for row in found
            if row.value is not None and all(_inside(row, key) == value for key, value in inside.items())
        ]

    def one(self, **want: Any) -> Row | None:
        """The first row that fits; None where there is none."""
        found = self.all(**want)
        return found[0] if found else None


def _inside(row: Row, key: str) -> Any:
    """A radius as recipes write it, or all models that pictures were made on, or the name of a cell."""
    if key == "eps":
        eps = (row.threat or {}).get("eps")
        return None if eps is None else round(float(eps), 4)
    return (row.attack or {}).get(key)


def above(claim: str, pairs: Sequence[tuple[Row | None, Row | None]], *, names: str = "") -> Relation:
    """A relation that says that the first of each pair is larger.

    Args:
        claim: the sentence.
        pairs: rows that are compared.
        names: what the figures are, in front of them.
    """
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return Relation(claim, "not testable at this scale", "no figures")
    right = [(a.value or 0.0) > (b.value or 0.0) for a, b in known]
    close = sum(_within(a, b) for a, b in known)
    said = ", ".join(
        f"{a.value:.3f} {'>' if ok else '<='} {b.value:.3f}" for (a, b), ok in zip(known, right, strict=True)
    )
    told = f"{names}: {said}" if names else said
    if len(known) > 1:
        told = f"{sum(right)} of {len(known)} pairs; {told}"
    if close:
        told += f"; {close} within the intervals" if len(known) > 1 else "; within the intervals"
    return Relation(claim, "holds" if all(right) else "does not hold", told)


def _within(a: Row, b: Row) -> bool:
    """Whether two intervals overlap."""
    if a.ci95 is None or b.ci95 is None:
        return False
    return a.ci95[0] <= b.ci95[1] and b.ci95[0] <= a.ci95[1]


def near(claim: str, pairs: Sequence[tuple[Row | None, Row | None]], most: float) -> Relation:
    """A relation that says that the two of each pair are alike: apart by at most `most`."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return Relation(claim, "not testable at this scale", "no figures")
    gaps = [abs((a.value or 0.0) - (b.value or 0.0)) for a, b in known]
    said = f"apart by at most {max(gaps):.3f} (allowed here: {most:g})"
    return Relation(claim, "holds" if max(gaps) <= most else "does not hold", said)


def falling(claim: str, rows: Sequence[Row | None], *, slack: float = 0.0) -> Relation:
    """A relation that says that figures fall from each to the next; a rise of at most `slack` is no rise."""
    values = [row.value for row in rows if row is not None and row.value is not None]
    if len(values) < 2:
        return Relation(claim, "not testable at this scale", "fewer than two figures")
    ok = all(b <= a + slack for a, b in pairwise(values)) and values[-1] < values[0]
    return Relation(claim, "holds" if ok else "does not hold", ", ".join(f"{value:.3f}" for value in values))
