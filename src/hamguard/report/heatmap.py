"""Matrices as pictures: sources in rows, scored models in columns, the number in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.types import Floats

MOST = 40  # lines and columns; beyond this the numbers cannot be read


@dataclass(frozen=True)
class HeatMap:
    """One matrix.

    Attributes:
        title: line above it.
        rows: names of its lines.
        columns: names of its columns.
        values: the numbers, `(R, C)`; NaN leaves a cell empty.
        low: value of the palest color; what lies below is as pale.
        high: value of the darkest color; what lies above is as dark.
        rule: lines that stand apart at the top, e.g. clean and noise.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Floats
    low: float = 0.0
    high: float = 1.0
    rule: int = 0


def draw_heat_maps(grid: Sequence[Sequence[HeatMap]], path: Path | str, *, title: str = "") -> None:
    """Draw lines of heat maps.

    Args:
        grid: maps of each line, as many in every one.
        path: PNG, SVG or PDF to write.
        title: line above all.

    Raises:
        RequestError: nothing to draw, lines of several lengths, a matrix of another shape than its names, too large a one, or an
            unknown file type.
        RunError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RequestError(f"heat maps are written as .png, .svg or .pdf, got {path.name}")
    if not grid or not grid[0] or len({len(line) for line in grid}) > 1:
        raise RequestError(f"heat maps stand in lines of one length, got {[len(line) for line in grid]}")
    for one in (one for line in grid for one in line):
        if one.values.shape != (len(one.rows), len(one.columns)) or not 1 <= max(one.values.shape) <= MOST:
            raise RequestError(
                f"a heat map of {len(one.rows)} by {len(one.columns)} names (1 to {MOST}) has values {one.values.shape}"
            )
    tall, wide = max(len(one.rows) for line in grid for one in line), max(len(one.columns) for one in grid[0])
    size = ((0.8 * wide + 2.6) * len(grid[0]), (0.5 * tall + 2.0) * len(grid))
    figure = Figure(figsize=size, dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    frames = figure.subplots(len(grid), len(grid[0]), squeeze=False)
    for axes, one in zip(frames.flat, (one for line in grid for one in line), strict=True):
        _draw(axes, one)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def _draw(axes: object, one: HeatMap) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    span = max(one.high - one.low, 1e-9)
    shade = np.ma.masked_invalid(np.clip((one.values - one.low) / span, 0, 1))
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for r, line in enumerate(one.values):
        for c, value in enumerate(line):
            if np.isfinite(value):
                color = "white" if shade[r, c] > 0.55 else "#24282f"
                axes.text(c, r, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(one.columns)), one.columns, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(one.rows)), one.rows, fontsize=8)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)  # a name may hold a $
    if one.rule:
        axes.axhline(one.rule - 0.5, color="white", linewidth=4)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    letters = int((0.8 * len(one.columns) + 2.0) / 0.075)  # as many as the map and its names are wide
    axes.set_title(fill(one.title, letters), fontsize=9, loc="right", parse_math=False)
