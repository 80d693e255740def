"""Robustness measures as tables and as a picture of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hamguard.core.noted import rank_notes
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Floats
from hamguard.report.plots import Panel, Stroke, draw_panels
from hamguard.report.table import Table, note_lines

PANELS = {
    ("noise", "pgd"): ("eps x 255", "share of bits that turn"),
    ("solved",): ("eps x 255", "share of pictures with half of the bits turned"),
    ("turned",): ("share of the bits", "share of pictures with so many bits turned"),
}
CURVED = ("flips", "minimal", "success", "class-bias")
"""Measures that have curves or bars."""
SHOWN = ("saliency",)
"""Measures that have a sheet of pictures."""
FORMS = {"share": ".3f", "eps": ".2f", "bits": ".1f", "number": ".3g"}
"""How a figure of each unit is written."""


class MeasureFigure(NamedTuple):
    """A figure of a measure: its name, what it means, `higher` or `lower` where a model is robust, its unit, and its row."""

    name: str
    means: str
    robust: str
    unit: str
    row: Row


MeasureFigures = Mapping[str, Mapping[str, MeasureFigure]]
"""By short name of the model, by name of the figure."""


def measure_table(figures: MeasureFigures, title: str, rows: Sequence[Row]) -> Table:
    """A line a figure, a column a model.

    Args:
        figures: what was measured.
        title: line above.
        rows: all that was measured, for their notes.
    """
    lines = []
    for name in dict.fromkeys(name for own in figures.values() for name in own):
        known = next(own[name] for own in figures.values() if name in own)
        text = name if known.means in name else f"{name}: {known.means}"
        cells = (figure_text(own[name]) if name in own else "" for own in figures.values())
        lines.append([text, known.robust, *cells])
    notes = note_lines(note for row in rows for note in row.notes)
    return Table.of(title, ("measure", "more robust", *figures), lines, notes=notes)


def figure_text(figure: MeasureFigure) -> str:
    """A figure with its interval, as people write it.

    >>> figure_text(MeasureFigure("least eps", "", "higher", "eps", Row(value=2 / 255, ci95=(1 / 255, 2.5 / 255))))
    '2.00/255 (1.00 .. 2.50)'
    """
    row, unit = figure.row, figure.unit
    if row.value is None:
        return "none found" if unit == "eps" else "-"
    scale = 255 if unit == "eps" else 1

    def text(value: float) -> str:
        return format(value * scale, FORMS[unit])

    ends = f" ({text(row.ci95[0])} .. {text(row.ci95[1])})" if row.ci95 else ""
    return f"{text(row.value)}{'/255' if unit == 'eps' else ''}{ends}"


def rank_table(figures: MeasureFigures, rows: Sequence[Row], full: Mapping[str, str]) -> Table:
    """How each measure ranks queries within a model, and models, beside the audit.

    Args:
        figures: what was measured.
        rows: the `spearman` rows.
        full: short name of a model to its name in rows.
    """
    within = {(row.model, row.metric): row for row in rows}
    over = Rows(row for row in rows if str(row.metric).startswith("spearman-models"))
    lines = []
    for name in dict.fromkeys(name for own in figures.values() for name in own):
        cells = [_rho(within.get((full[model], f"spearman-drop[{name}]"))) for model in figures]
        models = over.first(f"spearman-models[{name}]")
        if any(cells) or (models and models.value is not None):
            lines.append([name, *cells, _rho(models)])
    count = max((row.n or 0 for row in over), default=0)
    return Table.of(
        "Spearman's rank correlation with the audit: +1 ranks as the audit does, more robust by the measure, less lost.",
        ("measure", *figures, f"models (n={count})"),
        lines,
        reading=(
            "Queries within a model: against the drop, clean AP - worst AP. Models: figures above against the worst-case MAP.",
        ),
        notes=note_lines(rank_notes(rows)),
    )


def _rho(row: Row | None) -> str:
    if row is None:
        return ""
    if row.value is None:
        return "-"
    return f"{row.value:+.2f}" + (f" ({row.ci95[0]:+.2f} .. {row.ci95[1]:+.2f})" if row.ci95 else "")


def draw_measures(
    curves: Mapping[str, Mapping[str, tuple[Floats, Floats]]],
    path: Path,
    title: str,
    bars: Mapping[str, Mapping[str, tuple[float, float, float]]] | None = None,
) -> None:
    """Draw the flip curve under noise and under attack, success over eps and over thresholds, and bars, as far as measured.

    Args:
        curves: by short name of the model, by name of the curve.
        path: picture to write.
        title: line above.
        bars: by short name of the model, distances by class with the ends of their intervals, in pixel units.
    """
    panels = []
    for names, (across, up) in PANELS.items():
        strokes = []
        for number, (model, own) in enumerate(curves.items()):
            for name, (x, y) in own.items():
                if name in names:
                    label = f"{model}, {name}" if len(names) > 1 else model
                    scale = 255 if across.startswith("eps") else 1
                    strokes.append(Stroke(label, x * scale, y, number, ":" if name == "noise" else "-"))
        if strokes:
            panels.append(Panel(strokes, across, up))
    levels = {
        model: {name: (255 * value, 255 * low, 255 * high) for name, (value, low, high) in own.items()}
        for model, own in (bars or {}).items()
        if own
    }
    if levels:
        most = max(high for own in levels.values() for _, _, high in own.values())
        panels.append(Panel((), "class", "distance to the nearest border x 255", top=1.15 * most or 1.0, bars=levels))
    draw_panels(panels, path, title=title)
