"""Rows of an experiment, to be asked for figures, and for what figures say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hamguard.core.rows import Row, Rows
from hamguard.evaluation.reproduce.figures import (
    Figure,
    Values,
    figure_of,
    figures_of,
    mean_of,
    named_alike,
    none_kept,
    without_seed,
)
from hamguard.evaluation.reproduce.relations import Relation, judge_above, judge_falling, judge_near

CURVES = {"curve-precision-at-recall": "precision over recall", "curve-precision": "precision@N"}
Given = Figure | Row | None


class Found:
    """Rows to be asked; what several seeds have in common is one figure.

    Args:
        rows: all rows.
        cells: rows of each attack of a grid, by model and attack.
        values: gives what each query of a row had; nothing is kept by default.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        cells: Mapping[tuple[str, str], Sequence[Row]] | None = None,
        values: Values = none_kept,
    ) -> None:
        self.rows = [named_alike(row) for row in rows]
        self.values = values
        self.cells: dict[tuple[str, str], list[Row]] = {}
        for (model, attack), own in (cells or {}).items():
            seed = next((row.seed for row in own), None)
            key = without_seed(model, seed), attack
            self.cells.setdefault(key, []).extend(named_alike(row) for row in own)

    def of(self, model: str, attack: str) -> Found:
        """Rows of one attack on one model of a grid; none where it was not run."""
        return Found(self.cells.get((model, attack), ()), values=self.values)

    def part(self, **want: Any) -> Found:
        """The rows that fit; `want` as in `all`."""
        return Found(self._fitting(want), values=self.values)

    def _fitting(self, want: dict[str, Any]) -> list[Row]:
        inside = {key: want.pop(key) for key in ("eps", "made_on", "name") if key in want}
        fitting = Rows(self.rows).where(**want)
        return [row for row in fitting if all(_inside(row, key) == value for key, value in inside.items())]

    @property
    def models(self) -> list[str]:
        """Models of the grid that were attacked, in their order."""
        return list(dict.fromkeys(model for model, _ in self.cells))

    def first(self, model: str) -> Row:
        """Any row of an attacked model, for its data and bits."""
        return next(row for (name, _), rows in self.cells.items() if name == model for row in rows)

    def curves(self, model: str, attack: str, method: str) -> dict[str, Figure]:
        """Mean of the points of each curve of one attack, by the name of the curve; empty where none was kept."""
        means = {}
        for metric, what in CURVES.items():
            points = self.of(model, attack).all(attack=method, metric=metric)
            if points:
                means[what] = mean_of(points)
        return means

    def all(self, **want: Any) -> list[Figure]:
        """Figures of the rows that fit and have a value, in their order.

        Args:
            want: fields of a row, where None means none; `attack`, `guide`, `toward`, `made_on` and `defense` ask inside attack and
                defense, `eps` and `steps` inside the threat.
        """
        return figures_of(self._fitting(want), self.values)

    def one(self, **want: Any) -> Figure | None:
        """The first figure that fits; None where there is none."""
        found = self.all(**want)
        return found[0] if found else None

    def figure(self, *rows: Row) -> Figure:
        """A figure of rows that differ in their seed."""
        return figure_of(rows, self.values)

    def above(
        self,
        claim: str,
        pairs: Sequence[tuple[Given, Given]],
        *,
        control: Sequence[tuple[Given, Given]] | None = None,
        ours: bool = False,
        printed: str = "",
        names: str = "",
    ) -> Relation:
        """A relation that says that the first of each pair is larger.

        Args:
            claim: the sentence.
            pairs: figures that are compared; a figure that is missing makes the relation not testable.
            control: for a claim on a defense, pairs of the defended figure and the one after fine-tuning without adversaries: it
                holds only where the first is larger in these, too.
            ours: it is a question of ours, no claim of the paper.
            printed: how the paper's own cells contradict it, so that it is no claim.
            names: what the figures are, in front of them.
        """
        beside = None if control is None else self._pairs(control)
        verdict, figures = judge_above(self._pairs(pairs), beside, names)
        return Relation.said(claim, verdict, figures, ours=ours, printed=printed)

    def near(
        self,
        claim: str,
        pairs: Sequence[tuple[Given, Given]],
        most: float,
        *,
        ours: bool = False,
        printed: str = "",
        names: str = "",
    ) -> Relation:
        """A relation that says that the two of each pair are apart by at most `most`; the rest as in `above`."""
        verdict, figures = judge_near(self._pairs(pairs), most, names)
        return Relation.said(claim, verdict, figures, ours=ours, printed=printed)

    def falling(
        self,
        claim: str,
        figures: Sequence[Given],
        *,
        slack: float = 0.0,
        ours: bool = False,
        printed: str = "",
        names: str = "",
    ) -> Relation:
        """That figures fall from each to the next, a rise of at most `slack` being none; the rest as in `above`."""
        verdict, said = judge_falling([self._known(one) for one in figures], slack, names)
        return Relation.said(claim, verdict, said, ours=ours, printed=printed)

    def look(self, claim: str, why: str) -> Relation:
        """A relation that a person must judge."""
        return Relation(claim, "not testable", why)

    def _known(self, given: Given) -> Figure | None:
        figure = self.figure(given) if isinstance(given, Row) else given
        return None if figure is None or any(row.value is None for row in figure.rows) else figure

    def _pairs(self, pairs: Sequence[tuple[Given, Given]]) -> list[tuple[Figure | None, Figure | None]]:
        return [(self._known(first), self._known(second)) for first, second in pairs]


def _inside(row: Row, key: str) -> Any:
    """A radius as recipes write it, or all models that pictures were made on, or the name of a cell."""
    if key == "eps":
        eps = (row.threat or {}).get("eps")
        return None if eps is None else round(float(eps), 4)
    return (row.attack or {}).get(key)
