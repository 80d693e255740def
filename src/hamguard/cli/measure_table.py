"""Robustness measures as tables and as a picture of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import print_json, print_table, tell

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.evaluation.measures.registry import Found, Line

Models = Mapping[str, Mapping[str, "Found"]]
"""By model, by measure."""

PANELS = {
    ("noise", "pgd"): ("eps x 255", "share of bits that turn"),
    ("solved",): ("eps x 255", "share of pictures with half of the bits turned"),
    ("turned",): ("share of the bits", "share of pictures with so many bits turned"),
}
CURVED = ("flips", "minimal", "success")
"""Measures that have curves."""


def by_name(found: Mapping[str, Found]) -> dict[str, Line]:
    """Lines of a model, in order."""
    return {line.name: line for one in found.values() for line in one.lines}


def print_measures(found: Models, title: str) -> None:
    """One table: a line a measure, a column a model.

    Args:
        found: what was measured, by the models' short names.
        title: line above.
    """
    lines = {name: by_name(one) for name, one in found.items()}
    names = list(dict.fromkeys(name for one in lines.values() for name in one))
    table = []
    for name in names:
        line = next(one[name] for one in lines.values() if name in one)
        text = name if line.means in name else f"{name}: {line.means}"
        table.append([text, line.robust, *(figure(one[name]) if name in one else "" for one in lines.values())])
    print_table(title, ("measure", "more robust", *found), table)
    notes = (note for one in found.values() for measured in one.values() for row in measured.rows for note in row.notes)
    for note in dict.fromkeys(notes):
        tell(f"Note: {note}")


def figure(line: Line) -> str:
    """A figure with its interval, as people write it.

    >>> from hamguard.core.rows import Row
    >>> from hamguard.evaluation.measures.registry import Line
    >>> figure(Line("least eps", "", "higher", "eps", Row(value=2 / 255, ci95=(1 / 255, 2.5 / 255))))
    '2.00/255 (1.00 .. 2.50)'
    """
    row = line.row
    if row.value is None:
        return "none found" if line.unit == "eps" else "-"
    scale = 255 if line.unit == "eps" else 1

    def text(value: float) -> str:
        value *= scale
        form = {"share": ".3f", "eps": ".2f", "bits": ".1f", "number": ".3g"}[line.unit]
        return format(value, form)

    ends = f" ({text(row.ci95[0])} .. {text(row.ci95[1])})" if row.ci95 else ""
    return f"{text(row.value)}{'/255' if line.unit == 'eps' else ''}{ends}"


def print_audits(lines: Mapping[str, Mapping[str, Line]], rows: Sequence[Row], full: Mapping[str, str]) -> None:
    """One table: how each measure ranks queries within a model, and models, beside the audit.

    Args:
        lines: by short name of the model, its lines.
        rows: the `spearman` rows.
        full: short name to the name in rows.
    """
    within = {(row.model, row.metric): row for row in rows}
    over = {row.metric: row for row in rows if str(row.metric).startswith("spearman-models")}
    names = list(dict.fromkeys(name for one in lines.values() for name in one))
    table = []
    for name in names:
        cells = [_rho(within.get((full[model], f"spearman-drop[{name}]"))) for model in lines]
        models = over.get(f"spearman-models[{name}]")
        if any(cells) or (models and models.value is not None):
            table.append([name, *cells, _rho(models)])
    count = max((row.n or 0 for row in over.values()), default=0)
    print_table(
        "\nSpearman's rank correlation with the audit: +1 ranks as the audit does, more robust by the measure, less lost.\n"
        "Queries within a model: against the drop, clean AP - worst AP. Models: figures above against the worst-case MAP.",
        ("measure", *lines, f"models (n={count})"),
        table,
    )
    for note in dict.fromkeys(
        note for row in rows for note in row.notes if note.startswith(("audit:", "spearman-models:"))
    ):
        tell(f"Note: {note}")


def _rho(row: Row | None) -> str:
    if row is None:
        return ""
    if row.value is None:
        return "-"
    return f"{row.value:+.2f}" + (f" ({row.ci95[0]:+.2f} .. {row.ci95[1]:+.2f})" if row.ci95 else "")


def draw_measures(found: Models, path: Path, title: str) -> None:
    """Draw the flip curve under noise and under attack, success over eps, and success over thresholds, as far as measured."""
    from hamguard.report.plots import Panel, Stroke, draw_panels

    panels = []
    for names, (across, up) in PANELS.items():
        strokes = []
        for number, (model, measured) in enumerate(found.items()):
            curves = {name: curve for one in measured.values() for name, curve in one.curves.items() if name in names}
            for name, (x, y) in curves.items():
                label = f"{model}, {name}" if len(names) > 1 else model
                scale = 255 if across.startswith("eps") else 1
                strokes.append(Stroke(label, x * scale, y, number, ":" if name == "noise" else "-"))
        if strokes:
            panels.append(Panel(strokes, across, up))
    draw_panels(panels, path, title=title)


def list_measures(*, as_json: bool) -> None:
    """Every measure: what it asks, and whether it needs labels."""
    from hamguard.evaluation.measures.registry import MEASURES

    facts = {name: MEASURES.facts(name) for name in MEASURES}
    if as_json:
        print_json(
            {"measure": name, "title": MEASURES.title(name), "labels": of["labeled"], "default": of["default"]}
            for name, of in facts.items()
        )
        return
    lines = [
        (name, "yes" if of["default"] else "by name", "yes" if of["labeled"] else "no", MEASURES.title(name))
        for name, of in facts.items()
    ]
    print_table("", ("measure", "default", "labels", "what it asks"), lines)
