"""What all pages share: tables, pictures as text inside the file, one style sheet, and the writing of one self-contained file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard.core.errors import RequestError
from hamguard.core.files import write_text
from hamguard.core.shown import shown

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        head: column names.
        lines: cells of each line, the first its name, as many as names.
        title: line above it.
        tag: a word beside the title, e.g. whether the protector saw the matcher.
        strong: number of the line that stands out; None for none.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    title: str = ""
    tag: str = ""
    strong: int | None = None


def picture_uri(path: Path | str) -> str:
    """A PNG file as text, so that a page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def render_page(template: str, path: Path | str, grids: Iterable[Grid], **values: Any) -> None:
    """Write a page; it asks for nothing from outside itself.

    Args:
        template: its file in `templates`.
        path: HTML file to write.
        grids: its tables, which are checked.
        values: what the template shows; text is text, never markup.

    Raises:
        RequestError: the file does not end in .html, or a line of a table has not one cell a column.
        RunError: the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"a page is written as .html, got {path.name}")
    for grid in grids:
        wrong = [len(line) for line in grid.lines if len(line) != len(grid.head)]
        if wrong:
            raise RequestError(f"a table of {len(grid.head)} columns has a line of {wrong[0]} cells")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,  # markup of macros has a type of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ident"] = id
    write_text(path, environment.get_template(template).render(**values) + "\n")
