"""What all pages share: the macro of tables, pictures as text inside the file, one style sheet, and the writing of one file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.core.errors import RequestError
from hamguard.core.files import write_text
from hamguard.core.shown import shown

if TYPE_CHECKING:
    from jinja2 import Environment


TEMPLATES = Path(__file__).parent / "templates"


def picture_uri(path: Path | str) -> str:
    """A PNG file as text, so that a page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def rendered(template: str, **values: Any) -> str:
    """A template filled with values, such as a table with its title above and its notes below; text is never markup."""
    return str(_environment().get_template(template).render(**values))


def render_page(template: str, path: Path | str, **values: Any) -> None:
    """Write a page; it asks for nothing from outside itself.

    Args:
        template: its file in `templates`.
        path: HTML file to write.
        values: what the template shows; text is text, never markup.

    Raises:
        RequestError: the file does not end in .html.
        RunError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"a page is written as .html, got {path.name}")
    write_text(path, rendered(template, **values) + "\n")


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,  # markup of macros has a type of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ident"] = id
    return environment
