"""What fits on a page: the largest tables fold, with the count of what is left out; exported tables keep everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from markupsafe import escape

from hamguard.report.cells import Section
from hamguard.report.folding import is_folded
from hamguard.report.table import Cell, Table

ROOM = 8_000_000  # bytes of all tables of a page
TABLES = 1_000  # tables of a page
PLOTS = 40  # drawn pictures of a page; the curves of more nobody compares
PARTS = 12  # figures of one cell
NOTES = 200_000  # bytes of all notes
TAGS = 40  # bytes that a cell takes beside its text


def bounded(sections: Sequence[Section]) -> list[Section]:
    """Sections that fit on one page together: what is small stays whole, and of the largest tables the first lines stay.

    Args:
        sections: with all their tables and plots.

    Returns:
        As many sections; a cut table counts the rows that are left out as `more`, a cut section the tables, and says how many plots
        are not drawn.
    """
    most = _share([len(section.tables) for section in sections], TABLES)
    kept = [section.tables[:most] for section in sections]
    room = _share([min(_bytes(table.rows) * _times(table), ROOM + 1) for tables in kept for table in tables], ROOM)
    found = []
    plots = PLOTS
    for section, tables in zip(sections, kept, strict=True):
        drawn, left = section.plots[:plots], len(section.plots[plots:])
        plots -= len(drawn)
        words = [f"{left:,} more pictures are not drawn; the tables hold all of their figures."] if left else []
        cut = [_cut(table, room // _times(table)) for table in tables]
        found.append(
            replace(
                section, tables=cut, plots=drawn, words=[*section.words, *words], more=len(section.tables) - len(cut)
            )
        )
    return found


def first_notes(notes: Iterable[str]) -> tuple[list[str], int]:
    """The notes that fit on a page, and how many more there are."""
    kept, left, room = [], 0, NOTES
    for note in notes:
        room -= len(note)
        if room < 0:
            left += 1
        else:
            kept.append(note)
    return kept, left


def _share(sizes: Sequence[int], room: int) -> int:
    """The most that each may have, so that all together have at most `room`; the small ones leave theirs to the large."""
    left = sorted(sizes)
    for number, size in enumerate(left):
        fair = room // (len(left) - number)
        if size > fair:
            return fair
        room -= size
    return max(sizes, default=0)


def _times(table: Table) -> int:
    """How often a page shows a table: one that is too wide stands there in main and in pieces."""
    return 2 if is_folded(table) else 1


def _cut(table: Table, room: int) -> Table:
    lines = []
    for line in table.rows:
        room -= _bytes([line])
        if room < 0:
            break
        lines.append(tuple(map(_few, line)))
    return replace(table, rows=tuple(lines), more=len(table.rows) - len(lines))


def _few(cell: Cell) -> Cell:
    """A cell with its first figures."""
    left = len(cell.parts) - PARTS
    return cell if left <= 0 else replace(cell, parts=(*cell.parts[:PARTS], (f"and {left:,} more", "")))


def _bytes(lines: Iterable[Sequence[Cell]]) -> int:
    """About what lines take as HTML; counted no further than a page could hold."""
    total = 0
    for line in lines:
        for cell in line:
            texts = [text for part in cell.parts[:PARTS] for text in part] if cell.parts else [cell.text, cell.span]
            total += TAGS * (1 + len(cell.parts[:PARTS])) + sum(_length(text) for text in texts if text)
        if total > ROOM:
            break
    return total


@lru_cache(maxsize=1 << 16)
def _length(text: str) -> int:
    return len(escape(text).encode(errors="replace"))
