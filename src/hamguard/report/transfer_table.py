"""A matrix of transfer, as tables and as heat maps: what is left on each model of pictures made on each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hamguard.core.rows import Row, Rows, eps_text
from hamguard.core.types import Floats
from hamguard.report.heatmap import HeatMap, draw_heat_maps
from hamguard.report.table import Table, note_lines
from hamguard.report.wording import made_on, short_names

SCORE = "transfer"
"""Metric of the share of the white-box attack's effect that arrives."""


@dataclass(frozen=True)
class Matrix:
    """Figures of one attack on every pair of models.

    Attributes:
        rows: clean, noisy and attacked rows, in the order they came.
        metric: `map` away from a guide, `t-map` toward targets.
        sources: names of the models that pictures were made on.
        victims: names of those that were asked.
    """

    rows: Rows
    metric: str
    sources: tuple[str, ...]
    victims: tuple[str, ...]

    @property
    def attacked(self) -> Row:
        """An attacked row, for the facts that all share."""
        return self.rows[-1]

    @property
    def toward(self) -> bool:
        """Whether pictures approach targets."""
        return self.metric == "t-map"

    def over_victims(self, attack: str | None) -> Floats:
        """Scores without an attack or under noise, `(V,)`."""
        own = self.rows.where(metric=self.metric, attack=attack)
        return np.array([_value(own.where(model=name).first()) for name in self.victims])

    def over_pairs(self, metric: str) -> Floats:
        """Scores of pictures made on each source, `(S, V)`; NaN where there is none."""
        found = {(made_on(row)[0], row.model): row for row in self.rows.where(metric=metric) if made_on(row)}
        return np.array([[_value(found.get((s, v))) for v in self.victims] for s in self.sources])

    @property
    def heading(self) -> tuple[str, str]:
        """The attack in words, method and direction, and its budget."""
        facts, threat = self.attacked.attack or {}, self.attacked.threat or {}
        method, guide = facts["method"], facts.get("guide")
        aim = f"toward targets ({facts.get('targets')})" if self.toward else "away"
        with_guide = "" if guide in (None, method) else f", {guide} guide"
        return f"{method}{with_guide}, {aim}", f"{eps_text(threat)}, {threat['steps']} gradients"

    def short(self, names: Sequence[str]) -> list[str]:
        """Short names, which tell all models of the matrix apart."""
        known = list(dict.fromkeys((*self.victims, *self.sources)))
        return [dict(zip(known, short_names(known), strict=True))[name] for name in names]


def _value(row: Row | None) -> float:
    return math.nan if row is None or row.value is None else row.value


def transfer_matrices(rows: Sequence[Row]) -> list[Matrix]:
    """One matrix for each attack and budget.

    Args:
        rows: of `hamguard transfer`: clean and noisy rows of every model, and those of every pair.
    """
    found: dict[tuple[object, ...], Rows] = {}
    for row in rows:
        if made_on(row):
            facts, threat = row.attack or {}, row.threat or {}
            told = (facts.get(key) for key in ("method", "preset", "guide", "toward", "targets"))
            found.setdefault((*told, eps_text(threat), threat.get("steps"), row.dataset), Rows()).append(row)
    made = []
    for own in found.values():
        metric = "t-map" if own[0].metric == "t-map" or (own[0].attack or {}).get("toward") else "map"
        threat = own[0].threat or {}
        beside = [
            row
            for row in rows
            if row.metric == metric and row.dataset == own[0].dataset and not made_on(row)
            if not row.threat or (row.threat.get("norm"), row.threat.get("eps")) == (threat["norm"], threat["eps"])
        ]
        victims = tuple(dict.fromkeys(str(row.model) for row in own))
        sources = tuple(dict.fromkeys(made_on(row)[0] for row in own))
        made.append(Matrix(Rows([*beside, *own]), metric, sources, victims))
    return made


def transfer_tables(rows: Sequence[Row]) -> list[Table]:
    """Of each attack two tables: what is left of the MAP (or reached of the t-MAP), and how much of the effect arrives."""
    return [table for matrix in transfer_matrices(rows) for table in _tables(matrix)]


def _tables(matrix: Matrix) -> list[Table]:
    columns = ("made on", *matrix.short(matrix.victims))
    sources = matrix.short(matrix.sources)
    clean = "original (clean, target labels)" if matrix.toward else "clean"
    lines = [[clean, *_cells(matrix.over_victims(None))], ["noise", *_cells(matrix.over_victims("noise"))]]
    lines += [[name, *_cells(maps)] for name, maps in zip(sources, matrix.over_pairs(matrix.metric), strict=True)]
    metric, best = ("t-MAP", "higher") if matrix.toward else ("MAP", "lower")
    title = f"{matrix.attacked.dataset}, {matrix.attacked.n:,} queries: {', '.join(matrix.heading)}"
    reading = (
        f"{metric} of pictures made on the model of a line, asked of the model of a column ({best} is better for the "
        "attacker)"
    )
    scores = [[name, *_cells(line)] for name, line in zip(sources, matrix.over_pairs(SCORE), strict=True)]
    notes = note_lines(note for row in matrix.rows for note in row.notes)
    arrives = "transfer score: 0 no effect, 1 as good as the attack on the column's model itself"
    return [
        Table.of(title, columns, lines, reading=(reading,)),
        Table.of(arrives, columns, scores, notes=notes),
    ]


def _cells(values: Floats) -> list[str]:
    return [f"{value:.3f}" if np.isfinite(value) else "-" for value in values]


def draw_transfer(rows: Sequence[Row], path: Path) -> None:
    """One picture: for every attack the MAPs, with clean and noise on top, beside the scores."""
    found = transfer_matrices(rows)
    first = found[0].attacked
    title = (
        f"{first.dataset}, {first.n:,} queries: pictures made on the model of a line, asked of the model of a column"
    )
    draw_heat_maps([_maps(matrix) for matrix in found], path, title=title)


def _maps(matrix: Matrix) -> list[HeatMap]:
    sources, victims = matrix.short(matrix.sources), matrix.short(matrix.victims)
    clean, noise = matrix.over_victims(None)[None], matrix.over_victims("noise")[None]
    every = np.concatenate([clean, noise, matrix.over_pairs(matrix.metric)])  # (2 + S, V)
    metric = "t-MAP" if matrix.toward else "MAP"
    scores = matrix.over_pairs(SCORE)
    asked = [v for v in range(len(victims)) if np.isfinite(scores[:, v]).any()]  # the others have no score at all
    columns = [victims[v] for v in asked] or victims
    what, budget = matrix.heading
    return [
        HeatMap(f"{metric}: {what}\n{budget}", ["clean", "noise", *sources], victims, every, rule=2),
        HeatMap(
            "transfer score\n1: as good as on the model itself", sources, columns, scores[:, asked] if asked else scores
        ),
    ]
