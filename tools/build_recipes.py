"""Write the tables of keys of a grid's recipe into `docs/evaluate.md`, between its two markers, from the code.

    uv run python tools/build_recipes.py

A test compares them with what lies there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from hamguard.evaluation.study.grid_recipe import SECTIONS, GridRecipe
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table

PAGE = Path(__file__).parent.parent / "docs" / "evaluate.md"
BEGIN, END = "<!-- tables of keys: tools/build_recipes.py -->\n", "<!-- end of the tables of keys -->"
NAMED = ("data", "models", "attacks", "defenses", "protections")
"""Tables of which there may be several, each with a name."""


def written(value: Any) -> str:
    """A default as a recipe writes it.

    >>> written((8 / 255,)), written(("map",)), written((0.0, 1.0)), written(True), written(None)
    ('`"8/255"`', '`"map"`', '`[0, 1]`', '`true`', '')
    """
    text = _toml(value)
    return f"`{text}`" if text else ""


def _toml(value: Any) -> str:
    if value is None or value == (None,):
        return ""
    if isinstance(value, tuple | list):
        return _toml(value[0]) if len(value) == 1 else f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 < value < 1 and abs(value * 255 - round(value * 255)) < 1e-9:
        return f'"{round(value * 255)}/255"'
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def default(field: FieldInfo) -> str:
    """The default of a key; tables that may be left out have none."""
    if field.is_required():
        return "needed"
    if field.default_factory is not None:
        return "none"
    return written(field.default) or "none"


def table_name(key: str) -> str:
    """How a recipe writes the head of a table.

    >>> table_name("audit"), table_name("attacks"), table_name("attacks.generator")
    ('[audit]', '[attacks.NAME]', '[attacks.NAME.generator]')
    """
    outer, _, inner = key.partition(".")
    named = f"{outer}.NAME" if outer in NAMED else outer
    return f"[{named}.{inner}]" if inner else f"[{named}]"


def key_lines(kind: type[BaseModel], without: tuple[str, ...] = ()) -> list[str]:
    """Key, default and meaning of a table; the name of a key is marked where it takes a list."""
    lines = []
    for name, field in kind.model_fields.items():
        if name not in without:
            many = " (list)" if takes_lists(field) else ""
            meaning = (field.description or "").replace("|", "\\|")
            lines.append((f"`{name}`{many}", default(field), meaning))
    return as_markdown(Table.of("", ("key", "default", "meaning"), lines))


def takes_lists(field: FieldInfo) -> bool:
    """Whether a key takes one value or a list of them."""
    inner = (part for kind in get_args(field.annotation) for part in getattr(kind, "__metadata__", ()))
    return any(isinstance(part, BeforeValidator) for part in (*field.metadata, *inner))


def tables() -> str:
    """All tables of keys."""
    lines = ["Before all tables:", "", *key_lines(GridRecipe, tuple(SECTIONS))]
    for key, kind in SECTIONS.items():
        lines += ["", f"`{table_name(key)}`: {first_line(kind)}", "", *key_lines(kind)]
    return "\n".join([*lines, ""])


def first_line(kind: type[BaseModel]) -> str:
    """The first line of a table's docstring, with a small letter."""
    line = (kind.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    return f"{line[0].lower()}{line[1:]}."


def filled(page: str) -> str:
    """The page with the tables of the code.

    Raises:
        ValueError: a marker is missing.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name} needs the lines {BEGIN.strip()} and {END}")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main() -> int:
    """Write the tables."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
