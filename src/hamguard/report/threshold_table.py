"""Radii, their false matches and the copies that they find: a table, plain sentences, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hamguard.core.rows import Row, Rows, levels_text
from hamguard.core.types import Array
from hamguard.report.plots import Panel, Stroke, draw_panels
from hamguard.report.table import Table, note_lines

FALSE, RECALL, RADIUS = "false-matches", "recall", "radius"
"""Metrics of the rows."""


def number(value: float) -> str:
    """An expected number as people write it.

    >>> number(0.00012), number(0.3), number(12.4), number(123456.0)
    ('0.00012', '0.3', '12', '120,000')
    """
    if value < 10:
        return f"{value:.2g}"
    whole = round(value, 1 - int(np.floor(np.log10(value))))
    return f"{whole:,.0f}"


def threshold_table(rows: Sequence[Row], fitted: Sequence[bool] | Array, title: str) -> Table:
    """A line a radius: false matches with their interval, how they are known, and the copies of each view that are found.

    Args:
        rows: of a recommended radius, of false matches, and of recall where copies were encoded.
        fitted: whether the share within a radius comes of a fit, one a radius.
        title: line above.
    """
    held = Rows(rows)
    radius, views = held.one(RADIUS).value, list(dict.fromkeys(row.task or "" for row in held.where(metric=RECALL)))
    lines, strong = [], None
    for place, row in enumerate(held.where(metric=FALSE)):
        low, high = row.ci95 or (0.0, 0.0)
        found = [held.where(metric=RECALL, at=row.at, task=view).one().value or 0.0 for view in views]
        how = "fit" if fitted[row.at or 0] else "count"
        share = [f"{100 * one:.1f}%" for one in found]
        lines.append((f"{row.at}", number(row.value or 0.0), f"{number(low)} .. {number(high)}", how, *share))
        strong = place if row.at == radius else strong
    columns = (
        "radius",
        "false matches a search",
        "95% interval",
        "by",
        *(view.removesuffix(" copy->original") for view in views),
    )
    notes = note_lines(note for row in held.where(metric=RADIUS) for note in row.notes)
    return Table.of(title, columns, lines, notes=notes, strong=strong)


def threshold_sentences(rows: Sequence[Row], most: float, items: int) -> list[str]:
    """What came out, in plain sentences.

    Args:
        rows: as in `threshold_table`, with those of least budgets where an attack was made.
        most: false matches a search that are allowed.
        items: items that are searched.
    """
    held = Rows(rows)
    radius = held.one(RADIUS).value
    false = held.where(metric=FALSE)
    if radius is None:
        first = false.where(at=0).one()
        much = number(first.value or 0.0)
        return [
            f"No radius is safe: among {items:,} items a search finds {much} others with an equal code, where {most:g} are "
            "allowed. Longer codes, or a second look at what is found, are needed."
        ]
    at = int(radius)
    row = false.where(at=at).one()
    low, high = row.ci95 or (0.0, 0.0)
    said = [
        f"Radius {at}: a search among {items:,} items is expected to find {number(row.value or 0.0)} false matches "
        f"({number(low)} to {number(high)}); {most:g} are allowed."
    ]
    found = held.where(metric=RECALL, at=at)
    if found:
        parts = [
            f"{100 * (one.value or 0.0):.1f}% of {(one.task or '').removesuffix(' copy->original')} copies"
            for one in found
        ]
        said.append(f"Within it lie {', '.join(parts)} (of {found[0].n:,} pictures).")
    if least := held.first("min-eps-median"):
        if least.value is None:
            said.append(f"PGD does not move half of {least.n} pictures beyond it.")
        else:
            tenth = held.one("min-eps-p10").value
            more = "" if tenth is None else f", and one picture in ten at {levels_text(tenth, '.2g')}"
            said.append(
                f"PGD moves half of {least.n} pictures beyond it at eps {levels_text(least.value, '.2g')}{more}: whoever wants "
                "not to be found gets past it there."
            )
    return said


def draw_threshold(
    path: Path | str,
    radii: Array,
    ends: Sequence[Array],
    recall: Mapping[str, Array],
    radius: int | None,
    most: float,
    title: str,
) -> None:
    """Draw false matches a search over the radius, in powers of ten, and beside them the share of copies found.

    Args:
        path: PNG, SVG or PDF to write.
        radii: `(r,)`.
        ends: expected false matches, and the ends of their interval, `(r,)` each.
        recall: by view, `(r,)`.
        radius: the recommended one.
        most: false matches that are allowed.
        title: line above.

    Raises:
        RequestError: the file type is unknown.
        RunError: the file cannot be written.
    """
    names, across = ("expected", "lower end", "upper end"), "Hamming radius in bits"
    false = [Stroke(name, radii, end, 3, style) for name, end, style in zip(names, ends, ("-", ":", "--"), strict=True)]
    false.append(Stroke(f"limit {most:g}", radii[[0, -1]], np.array([most, most]), 7))
    found = [Stroke(view, radii, share, place) for place, (view, share) in enumerate(recall.items(), 4)]
    if radius is not None:
        seen = np.concatenate([end[end > 0] for end in ends] + [np.array([most])])
        at = np.array([radius, radius])
        false.append(Stroke(f"radius {radius}", at, np.array([seen.min(), seen.max()]), 0, ":"))
        found.append(Stroke(f"radius {radius}", at, np.array([0.0, 1.0]), 0, ":"))
    panels = [Panel(false, across, "false matches a search", log=True)]
    if recall:
        panels.append(Panel(found, across, "share of copies found"))
    draw_panels(panels, path, title=title, below=True)
