"""A matrix of transfer as tables and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.cli.common import print_table, tell
from hamguard.core.rows import eps_text

if TYPE_CHECKING:
    from hamguard.core.types import Floats
    from hamguard.evaluation.attack.transfer import Transfer
    from hamguard.report.heatmap import HeatMap


def heading(found: Transfer) -> tuple[str, str]:
    """The attack in words, method and direction, and its budget."""
    last = found.rows[-1]
    assert last.attack and last.threat
    aim = f"toward targets ({found.plan.rule})" if found.plan.toward else "away"
    guide = "" if last.attack["guide"] in (None, found.plan.method) else f", {last.attack['guide']} guide"
    return f"{found.plan.method}{guide}, {aim}", f"{eps_text(last.threat)}, {last.threat['steps']} gradients"


def print_transfer(found: Transfer) -> None:
    """Two tables: what is left of the MAP (or reached of the t-MAP), and how much of the white-box attack's effect arrives."""
    from hamguard.evaluation.search.same_queries import short_names

    matrix = found.matrix
    names = short_names(list(dict.fromkeys((*matrix.victims, *matrix.sources))))
    short = dict(zip(dict.fromkeys((*matrix.victims, *matrix.sources)), names, strict=True))
    columns = ("made on", *(short[name] for name in matrix.victims))
    clean = "original (clean, target labels)" if matrix.toward else "clean"
    lines = [[clean, *_cells(matrix.clean_maps)], ["noise", *_cells(found.noise.mean(1))]]
    lines += [[short[name], *_cells(maps)] for name, maps in zip(matrix.sources, matrix.maps, strict=True)]
    metric, best = ("t-MAP", "higher") if matrix.toward else ("MAP", "lower")
    dataset, count = found.rows[0].dataset, matrix.clean.shape[1]
    print_table(
        f"{dataset}, {count:,} queries: {', '.join(heading(found))}\n"
        f"{metric} of pictures made on the model of a line, asked of the model of a column ({best} is better for the attacker)",
        columns,
        lines,
    )
    scores = [[short[name], *_cells(line)] for name, line in zip(matrix.sources, matrix.scores, strict=True)]
    print_table("transfer score: 0 no effect, 1 as good as the attack on the column's model itself", columns, scores)
    for note in dict.fromkeys(note for row in found.rows for note in row.notes):
        tell(f"Note: {note}")


def _cells(values: Floats) -> list[str]:
    return [f"{value:.3f}" if np.isfinite(value) else "-" for value in values]


def draw_transfer(found: Sequence[Transfer], path: Path) -> None:
    """One picture: for every attack the MAPs, with clean and noise on top, beside the scores."""
    from hamguard.evaluation.search.same_queries import short_names
    from hamguard.report.heatmap import draw_heat_maps

    names = list(dict.fromkeys((*found[0].matrix.victims, *found[0].matrix.sources)))
    short = dict(zip(names, short_names(names), strict=True))
    first = found[0].rows[0]
    title = (
        f"{first.dataset}, {first.n:,} queries: pictures made on the model of a line, asked of the model of a column"
    )
    draw_heat_maps([_maps(one, short) for one in found], path, title=title)


def _maps(found: Transfer, short: dict[str, str]) -> list[HeatMap]:
    from hamguard.report.heatmap import HeatMap

    matrix = found.matrix
    sources, victims = [short[name] for name in matrix.sources], [short[name] for name in matrix.victims]
    every = np.concatenate([matrix.clean_maps[None], found.noise.mean(1)[None], matrix.maps])  # (2 + S, V)
    metric = "t-MAP" if matrix.toward else "MAP"
    asked = [
        v for v in range(len(victims)) if np.isfinite(matrix.scores[:, v]).any()
    ]  # the others have no score at all
    what, budget = heading(found)
    maps = [HeatMap(f"{metric}: {what}\n{budget}", ["clean", "noise", *sources], victims, every, rule=2)]
    scores = matrix.scores[:, asked] if asked else matrix.scores
    columns = [victims[v] for v in asked] or victims
    return [*maps, HeatMap("transfer score\n1: as good as on the model itself", sources, columns, scores)]
