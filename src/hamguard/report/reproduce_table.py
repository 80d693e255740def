"""A published experiment, run again: both figures side by side, and what the paper claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hamguard.core.rows import Row
from hamguard.report.table import Table

COLUMNS = ("setting", "published", "ours", "difference", "95% interval", "queries")


class Line(NamedTuple):
    """A published figure beside ours: what was measured, both figures, their difference, and how many digits are printed."""

    setting: str
    published: float | None
    ours: Row | None
    difference: float | None
    digits: int


def published_table(lines: Sequence[Line], title: str) -> Table:
    """Published figures, ours, and the difference, with our interval."""
    return Table.of(title, COLUMNS, map(_cells, lines))


def _cells(line: Line) -> tuple[str, ...]:
    row, places = line.ours, line.digits
    ours = "not run" if row is None or row.value is None else f"{row.value:.{places}f}"
    low_high = f"{row.ci95[0]:.{places}f} .. {row.ci95[1]:.{places}f}" if row and row.ci95 else ""
    printed = "" if line.published is None else f"{line.published:.{places}f}"
    gap = "" if line.difference is None else f"{line.difference:+.{places}f}"
    return line.setting, printed, ours, gap, low_high, f"{row.n:,}" if row and row.n else ""


def relation_table(relations: Sequence[tuple[str, str, str]]) -> Table:
    """What the paper says, whether it holds, and the figures that say so."""
    return Table.of("What the paper says, here", ("relation", "verdict", "figures"), relations)
