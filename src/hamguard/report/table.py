"""One table: a title, columns, rows of cells. Whatever prints tables (a terminal, a page, CSV, LaTeX, Markdown) takes this one."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hamguard.core.errors import RequestError
from hamguard.core.shown import shown
from hamguard.report.page import rendered

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # columns of text where the output is no terminal

Figures = tuple[float | None, float | None, float | None]
"""Value, low and high."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: figure or name.
        span: its interval, as text.
        figures: value, low and high of every measured row in it, in the unit of the column.
        shown: numbers of these rows.
        parts: figure and interval of each, where there are several.
    """

    text: str
    span: str = ""
    figures: tuple[Figures, ...] = ()
    shown: tuple[int, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def whole(self) -> str:
        """Figure and interval in one."""
        return f"{self.text} {self.span}" if self.span else self.text


EMPTY = Cell("")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: line above.
        columns: their names.
        rows: cells of each row, as many as columns.
        names: how many columns on the left hold names, which stand left; figures stand right.
        reading: lines below the title on how it is to be read.
        notes: lines below the table, as they are.
        tag: a word beside the title, e.g. whether the protector saw the matcher.
        strong: number of the row that stands out; None for none.
        folded: whether it is closed on a screen until a reader opens it.
        more: further rows, which a page has no room for.

    Raises:
        RequestError: a row has not one cell a column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    names: int = 1
    reading: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tag: str = ""
    strong: int | None = None
    folded: bool = False
    more: int = 0

    def __post_init__(self) -> None:
        wrong = next((len(row) for row in self.rows if len(row) != len(self.columns)), None)
        if wrong is not None:
            raise RequestError(f"a table of {len(self.columns)} columns has a line of {wrong} cells")

    @classmethod
    def of(
        cls,
        title: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Cell | str]],
        *,
        names: int = 1,
        reading: Iterable[str] = (),
        notes: Iterable[str] = (),
        tag: str = "",
        strong: int | None = None,
    ) -> Table:
        """A table of cells, or of texts; the facts are those of the class."""
        cells = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
        return cls(title, tuple(columns), cells, names, tuple(reading), tuple(notes), tag, strong)

    @property
    def texts(self) -> list[list[str]]:
        """Figures and intervals of each row as texts."""
        return [[cell.whole for cell in row] for row in self.rows]

    @property
    def shown(self) -> set[int]:
        """Numbers of the measured rows that stand in it."""
        return {one for row in self.rows for cell in row for one in cell.shown}

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def note_lines(notes: Iterable[str]) -> list[str]:
    """What a reader must know, each once, as lines below a table."""
    return [f"Note: {note}" for note in dict.fromkeys(notes)]


def as_text(table: Table) -> str:
    """A table as lines of plain text, with its title above and its notes below."""
    from rich.console import Console

    lines = io.StringIO()
    print_table(table, Console(file=lines, width=WIDTH, color_system=None))
    return "\n".join(line.rstrip() for line in lines.getvalue().splitlines())


def print_table(table: Table, console: Console | None = None) -> None:
    """A table on a console, standard output where none is given; names are data, not markup."""
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text

    made = Rich(header_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(table.columns):
        made.add_column(column, justify="left" if number < table.names else "right", overflow="fold")
    for number, row in enumerate(table.texts):
        made.add_row(*(Text(shown(text)) for text in row), style="bold" if number == table.strong else None)
    console = console or (Console() if sys.stdout.isatty() else Console(width=WIDTH))
    title = f"{table.title}: {table.tag}" if table.tag else table.title
    if title:
        console.print(Text(shown(title), style="bold"), soft_wrap=True)
    for line in table.reading:
        console.print(Text(shown(line)), soft_wrap=True)
    console.print(made, soft_wrap=False)
    for line in table.notes:
        console.print(Text(shown(line)), soft_wrap=True)


def as_html(table: Table) -> str:
    """A table as HTML with its title above and its notes below; text is text, never markup."""
    return rendered("alone.html", table=table)
