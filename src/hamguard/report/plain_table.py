"""Rows of searches as a table that any row fits: task, model, metric, value, interval; before and after, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.core.rows import Row
from hamguard.report.table import Table, note_lines


def plain_table(rows: Sequence[Row], title: str = "") -> Table:
    """One line a row, with interval and notes."""
    lines = []
    for row in rows:
        name = row.metric or ""
        if row.at is not None:
            name += f" @ {row.at}" if "radius" not in name else f" {row.at}"
        low_high = f"{row.ci95[0]:.3f} .. {row.ci95[1]:.3f}" if row.ci95 else ""
        value = "" if row.value is None else f"{row.value:.4f}"
        lines.append((row.task or "", row.model or "", name, row.ties or "", value, low_high, str(row.n or "")))
    columns = ("task", "model", "metric", "ties", "value", "95% interval", "queries")
    return Table.of(title, columns, lines, notes=note_lines(note for row in rows for note in row.notes))


def compared_table(lines: Sequence[tuple[str, float, float]], title: str) -> Table:
    """Name, figure before and figure after, with the change.

    >>> compared_table([("clean MAP", 0.5, 0.25), ("bits moved", 12.0, 3.0)], "").texts
    [['clean MAP', '0.5000', '0.2500', '-0.2500'], ['bits moved', '12.0', '3.0', '-9.0']]
    """
    cells = []
    for name, before, after in lines:
        form = ".1f" if max(before, after) > 1 else ".4f"
        cells.append((name, format(before, form), format(after, form), format(after - before, f"+{form}")))
    return Table.of(title, ("", "before", "after", "change"), cells)
