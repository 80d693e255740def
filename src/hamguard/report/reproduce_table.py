"""A published experiment, run again: both figures side by side, and what the paper claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hamguard.report.table import Table

COLUMNS = ("setting", "published", "ours", "difference", "95% interval", "queries")
SAYS = {"claim": "the paper", "ours": "we ask", "contradicted": "not the paper"}
"""Whose sentence a relation is."""


class PublishedLine(NamedTuple):
    """A published figure beside ours.

    Attributes:
        block: heading that the line stands under; may be empty.
        setting: what was measured.
        published: the printed figure.
        ours: ours; None where it was not run.
        difference: ours minus the printed figure.
        ci95: interval of ours.
        queries: how many, and with how many seeds where there are several.
        digits: how many are printed.
        why: why ours differs; may be empty.
    """

    block: str
    setting: str
    published: float | None
    ours: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    queries: str
    digits: int
    why: str


class Said(NamedTuple):
    """A relation: its sentence, its verdict, the figures it rests on, and whose sentence it is."""

    claim: str
    verdict: str
    figures: str
    kind: str
    printed: str


def published_table(lines: Sequence[PublishedLine], title: str, whys: Sequence[str] = ()) -> Table:
    """Published figures, ours, and the difference, with our interval; blocks and reasons have columns where there are any.

    Args:
        lines: those of a block stand together.
        title: line above.
        whys: why ours differs, said once for many lines; they stand below.
    """
    blocks, reasons = any(line.block for line in lines), any(line.why for line in lines)
    columns = [*(["block"] if blocks else []), *COLUMNS, *(["why it differs"] if reasons else [])]
    rows = [(*([line.block] if blocks else []), *line_cells(line), *([line.why] if reasons else [])) for line in lines]
    return Table.of(title, columns, rows, names=1 + blocks, notes=whys)


def line_cells(line: PublishedLine) -> tuple[str, ...]:
    """The cells of a line under `COLUMNS`."""
    places = line.digits
    ours = "not run" if line.ours is None else f"{line.ours:.{places}f}"
    low_high = f"{line.ci95[0]:.{places}f} .. {line.ci95[1]:.{places}f}" if line.ci95 else ""
    printed = "" if line.published is None else f"{line.published:.{places}f}"
    gap = "" if line.difference is None else f"{line.difference:+.{places}f}"
    return line.setting, printed, ours, gap, low_high, line.queries


def relation_table(relations: Sequence[Said]) -> Table:
    """What the paper says, whether it holds, and the figures that say so."""
    rows = [(one.claim, SAYS[one.kind], one.verdict, _figures(one)) for one in relations]
    return Table.of("What the paper says, here", ("relation", "who says it", "verdict", "figures"), rows, names=3)


def _figures(said: Said) -> str:
    return f"{said.figures}; printed: {said.printed}" if said.printed else said.figures
