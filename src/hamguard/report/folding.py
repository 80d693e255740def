"""Tables on a page: what is wider than the page stands as a main table, and all of its columns below it in pieces that fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hamguard.report.table import Cell, Table

PAGE = 1016.0  # pixels within the margins of a page of 1,200, and within those of a list that opens
SMALL, MIDDLE = 400.0, 640.0  # what a phone has room for, and what a tablet has
LETTER, FINE, PAD = 7.9, 6.4, 23.0  # pixels of a letter, of one of an interval, and of a cell's own margins, at most
NAMES = 0.6  # share of the page that names may take; beyond it they stand below each other
WORD = 16  # letters of a column's name beyond which it may break anywhere, and of words beyond which they take lines
SHORT, LONG, SAID = 20, 160.0, 224.0  # letters of a name in one line; pixels of a longer one, and of words


@dataclass(frozen=True)
class Sized:
    """A table that fits a page.

    Attributes:
        table: the table.
        kind: how wide it is, a word of `style.css`: where the screen has less room, its lines stand as lists.
        heads: names of its columns for the style sheet, which puts them beside the cells of such a list.
    """

    table: Table
    kind: str
    heads: str


@dataclass(frozen=True)
class Fitted:
    """A table as a page shows it.

    Attributes:
        main: the table itself where it fits; else the columns that fit, its names first.
        alike: names that are the same in every line, which the main table leaves out, as `name: value`.
        pieces: all columns, in tables that fit; none where the table itself fits.
        columns: how many columns there are in all.
    """

    main: Sized
    alike: tuple[str, ...]
    pieces: tuple[Sized, ...]
    columns: int


def fitted(table: Table) -> Fitted:
    """A table as it stands on a page of 1,200 pixels.

    A table that fits stays as it is. Else the main table has these columns: names that tell lines apart, below each other in
    one column where they take more than `NAMES` of the page; then, of the others, each that still fits, those with figures in
    most lines first, words last; all of them in their order.

    Args:
        table: any.

    Returns:
        What stands on the page; no column and no line of `table` is missing in it.
    """
    columns, widths = _columns(table), _widths(table)
    count = len(table.columns)
    if sum(widths) <= PAGE or count <= table.names:
        return Fitted(_sized(table), (), (), count)
    alike = [n for n in range(table.names) if len(table.rows) > 1 and len({cell.whole for cell in columns[n]}) == 1]
    kept = [n for n in range(table.names) if n not in alike] or [0]
    alike = [n for n in alike if n not in kept]
    taken = sum(widths[n] for n in kept)
    merged = taken > NAMES * PAGE and len(kept) > 1
    room = PAGE - (LONG + PAD if merged else taken)
    rest, chosen, left = range(table.names, count), list[int](), room
    for n in sorted(rest, key=lambda n: (_is_said(columns[n]), -sum(bool(cell.text) for cell in columns[n]))):
        if widths[n] <= left or not chosen:
            chosen.append(n)
            left -= widths[n]
    main = _sized(_part(table, kept, sorted(chosen), merged))
    chunks = _chunks([*alike, *rest], widths, room)
    pieces = tuple(_sized(replace(_part(table, kept, own, merged), more=0)) for own in chunks)
    said = tuple(f"{table.columns[n]} {columns[n][0].whole}" for n in alike if columns[n][0].text)
    return Fitted(main, said, pieces, count)


def is_folded(table: Table, lines: int = 200) -> bool:
    """Whether a page shows the table twice, in main and in pieces, as its first lines say."""
    few = replace(table, rows=table.rows[:lines])
    return sum(_widths(few)) > PAGE and len(table.columns) > table.names


def _sized(table: Table) -> Sized:
    width = sum(_widths(table))
    kind = "small" if width <= SMALL else "middle" if width <= MIDDLE else "large"
    return Sized(table, kind, "".join(f"--h{n}:{_quoted(head)};" for n, head in enumerate(table.columns, 1)))


def _part(table: Table, names: Sequence[int], others: Sequence[int], merged: bool) -> Table:
    """Some columns of a table; names below each other in one where they are `merged`."""
    if merged:
        columns = (", ".join(table.columns[n] for n in names), *(table.columns[n] for n in others))
        rows = tuple((_joined(row, names), *(row[n] for n in others)) for row in table.rows)
        return replace(table, columns=columns, rows=rows, names=1)
    order = (*names, *others)
    rows = tuple(tuple(row[n] for n in order) for row in table.rows)
    count = len(names) + sum(n < table.names for n in others)
    return replace(table, columns=tuple(table.columns[n] for n in order), rows=rows, names=count)


def _joined(row: Sequence[Cell], names: Sequence[int]) -> Cell:
    first, *others = (row[n] for n in names)
    return replace(first, span=" · ".join(cell.whole for cell in others if cell.text))


def _chunks(columns: Iterable[int], widths: Sequence[float], room: float) -> list[list[int]]:
    """Columns in their order, as many together as have room."""
    chunks, left = [list[int]()], room
    for n in columns:
        if chunks[-1] and widths[n] > left:
            chunks.append([])
            left = room
        chunks[-1].append(n)
        left -= widths[n]
    return chunks


def _columns(table: Table) -> list[tuple[Cell, ...]]:
    return list(zip(*table.rows, strict=True)) if table.rows else [() for _ in table.columns]


def _widths(table: Table) -> list[float]:
    """Pixels that each column takes at least."""
    return [
        max(LETTER * 1.1 * min(max(map(len, head.split()), default=0), WORD), _body(cells, n < table.names)) + PAD
        for n, (head, cells) in enumerate(zip(table.columns, _columns(table), strict=True))
    ]


def _body(cells: Iterable[Cell], name: bool) -> float:
    return max((_name_width(cell) if name else _figure_width(cell) for cell in cells), default=0.0)


def _name_width(cell: Cell) -> float:
    return LETTER * len(cell.text) if len(cell.text) <= SHORT else LONG


def _figure_width(cell: Cell) -> float:
    if not cell.shown and len(cell.text) > WORD:
        return SAID
    parts = cell.parts or ((cell.text, cell.span),)
    return max(max(LETTER * len(text), FINE * len(span)) for text, span in parts)


def _is_said(cells: Iterable[Cell]) -> bool:
    """Whether a column holds words."""
    return any(not cell.shown and len(cell.text) > WORD for cell in cells)


def _quoted(text: str) -> str:
    """Text in a style sheet; whatever is no letter or digit is written by its number."""
    return '"' + "".join(one if one.isalnum() or one in " ,.@" else f"\\{ord(one):x} " for one in text) + '"'
