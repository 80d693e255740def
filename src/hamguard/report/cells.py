"""Tables whose cells know the rows that stand in them, so that no row is lost between a file and a page."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from hamguard.report.collect import DISPUTED, FOREIGN, OLD, Entry
from hamguard.report.heatmap import HeatMap
from hamguard.report.plots import Panel
from hamguard.report.table import EMPTY, Cell, Figures, Table
from hamguard.report.wording import number, scaled

SIGNS = {FOREIGN: "†", OLD: "‡", DISPUTED: "≠"}
LONG = 40  # lines beyond which a table is folded on the screen
WIDE = 60  # columns beyond which a table stands as a list, one line a cell; it would be empty in most places
Key = tuple[str, ...]
Held = tuple[Entry, ...] | dict[int, Entry]
"""Rows of a cell: a tuple, which many cells may share, or by number, once more are put beside it."""


@dataclass(frozen=True)
class Plot:
    """A picture that is drawn from rows: panels of curves, or heat maps.

    Attributes:
        caption: what it shows.
        panels: curves.
        maps: heat maps, one line.
    """

    caption: str
    panels: Sequence[Panel] = ()
    maps: Sequence[HeatMap] = ()


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: heading.
        words: how it is to be read.
        tables: its tables.
        plots: its pictures.
        more: further tables, which a page has no room for.
    """

    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    more: int = 0


@dataclass
class Draft:
    """A table in the making: names of lines, names of columns, and the rows of every cell, in the order they come."""

    title: str
    names: Sequence[str]
    folded: bool | None = None
    figures: dict[int, Cell] = field(default_factory=dict)  # cells by the tuple that they share, also among tables
    _lines: dict[Key, dict[Hashable, Held]] = field(default_factory=dict)
    _texts: dict[Key, dict[Hashable, str]] = field(default_factory=dict)
    _heads: dict[Hashable, str] = field(default_factory=dict)

    def column(self, key: Hashable, head: str | None = None) -> None:
        """Set the place of a column; without it columns stand in the order they come."""
        self._heads.setdefault(key, str(key) if head is None else head)

    def put(self, line: Key, column: Hashable, entries: Entry | Iterable[Entry], head: str | None = None) -> None:
        """Put rows into a cell; one that stands there already is not put twice. A tuple holds each once, and may be shared."""
        self.column(column, head)
        cells = self._lines.setdefault(line, {})
        if isinstance(entries, Entry):
            entries = (entries,)
        new = entries if isinstance(entries, tuple) else tuple({entry.number: entry for entry in entries}.values())
        held = cells.get(column)
        if not held:
            cells[column] = new
        elif held is not new:
            if isinstance(held, tuple):
                cells[column] = held = {entry.number: entry for entry in held}
            for entry in new:
                held.setdefault(entry.number, entry)

    def say(self, line: Key, column: Hashable, text: str, head: str | None = None) -> None:
        """Put words into a cell."""
        self.column(column, head)
        self._lines.setdefault(line, {})
        self._texts.setdefault(line, {})[column] = text

    @property
    def lines(self) -> list[Key]:
        """Names of the lines so far."""
        return list(self._lines)

    def table(self) -> Table | None:
        """The table without empty columns; None where it has no line."""
        if not self._lines:
            return None
        filled = {column for cells in self._lines.values() for column, entries in cells.items() if entries}
        filled |= {column for texts in self._texts.values() for column in texts}
        columns = [column for column in self._heads if column in filled]
        wide = len(columns) > WIDE
        place = {column: number for number, column in enumerate(columns)}
        names: dict[str, Cell] = {}
        lines: list[tuple[Cell, ...]] = []
        for key, cells in self._lines.items():
            front = tuple(names.setdefault(name, Cell(name)) for name in key)
            if wide:
                own = {column for column in (*cells, *self._texts.get(key, ())) if column in place}
                for column in sorted(own, key=place.__getitem__):
                    name = self._heads[column]
                    cell = self._cell(key, column)
                    if cell is not EMPTY:
                        lines.append((*front, names.setdefault(name, Cell(name)), cell))
            else:
                lines.append((*front, *(self._cell(key, column) for column in columns)))
        head = (*self.names, *(("column", "figure") if wide else (self._heads[column] for column in columns)))
        folded = len(lines) > LONG if self.folded is None else self.folded
        return Table(self.title, head, tuple(lines), len(self.names) + wide, folded=folded)

    def _cell(self, key: Key, column: Hashable) -> Cell:
        if column in (texts := self._texts.get(key, {})):
            return Cell(texts[column])
        held = self._lines[key].get(column)
        if not held:
            return EMPTY
        if len(held) == 1 or not isinstance(held, tuple):
            return figures_cell(list(held.values()) if isinstance(held, dict) else held)
        return self.figures.get(id(held)) or self.figures.setdefault(id(held), figures_cell(held))


def figures_cell(entries: Sequence[Entry]) -> Cell:
    """The figures of rows, with intervals and signs; several stand side by side."""
    if not entries:
        return EMPTY
    parts: dict[tuple[str, str], None] = {}
    known: set[str] = set()
    figures: list[Figures] = []
    for entry in entries:
        found = scaled(entry.row)
        signs = "".join(SIGNS[mark] for mark in entry.marks)
        if found is None:
            text, span = "no value", ""
            figures.append((None, None, None))
        else:
            value, low, high = found
            text = number(value, entry.row.metric)
            span = ""
            if low is not None and high is not None:
                span = f"[{number(low, entry.row.metric)}, {number(high, entry.row.metric)}]"
            figures.append(found)
        floor = (entry.row.metric or "").startswith("random_")  # draws of random codes differ in their intervals alone
        if not (floor and text + signs in known):
            parts[text + signs, span] = None
            known.add(text + signs)
    shown = tuple(entry.number for entry in entries)
    if len(parts) > 1:
        joined = " / ".join(f"{text} {span}".strip() for text, span in parts)
        return Cell(joined, "", tuple(figures), shown, tuple(parts))
    text, span = next(iter(parts))
    return Cell(text, span, tuple(figures), shown)


class Pool:
    """Rows that stand in no table yet."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.open = list(entries)

    def take(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        """Take those that a table wants."""
        taken = [entry for entry in self.open if wanted(entry)]
        numbers = {entry.number for entry in taken}
        self.open = [entry for entry in self.open if entry.number not in numbers]
        return taken
