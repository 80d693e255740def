"""A table as text: on a terminal, in Markdown, as comma-separated values, for LaTeX. For HTML see `table.as_html`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from hamguard.report.table import Cell, Table, print_table

ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "†": r"\dag{}", "‡": r"\ddag{}", "≠": r"$\neq$", "✓": r"$\surd$", "✗": r"$\times$", "…": r"\ldots{}",
    "×": r"$\times$", "[": "{[}", "]": "{]}",  # a bracket after \\ would be its option
}  # fmt: skip


def to_terminal(*tables: Table) -> None:
    """Tables on standard output, each with its title above and its notes below; names are data, not markup."""
    for table in tables:
        print_table(table)


def markdown_line(cells: Sequence[str]) -> str:
    """A line of a table in Markdown; a cell may hold several, and an empty one is one blank wide."""
    parts = [cell.strip() for cell in " | ".join(cells).split(" | ")]
    return "|" + "|".join(f" {part} " if part else " " for part in parts) + "|"


def as_markdown(table: Table) -> list[str]:
    """The lines of a table in Markdown, without its title."""
    head = markdown_line(table.columns)
    return [head, "|" + "---|" * (head.count("|") - 1), *map(markdown_line, table.texts)]


def as_csv(table: Table) -> str:
    """A table as comma-separated values.

    A column of figures becomes `NAME`, with `NAME low` and `NAME high` where it has intervals; several figures of a cell stand
    with ` / ` between them, and ` sign` holds the sign that a figure has on the page.
    """
    head: list[str] = []
    body: list[list[str]] = [[] for _ in table.rows]
    for name, cells in zip(table.columns, zip(*table.rows, strict=True), strict=True):
        for title, texts in _parts(name, cells):
            head.append(title)
            for line, text in zip(body, texts, strict=True):
                line.append(text)
    return csv_text([head, *body])


def _parts(name: str, cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    if not any(cell.figures for cell in cells):
        return [(name, [cell.text for cell in cells])]
    parts = []
    for place, title in enumerate((name, f"{name} low", f"{name} high")):
        texts = [
            " / ".join("" if one[place] is None else repr(float(one[place] or 0.0)) for one in cell.figures)
            if cell.figures
            else cell.text
            if place == 0
            else ""
            for cell in cells
        ]
        if place == 0 or any(text.strip(" /") for text in texts):
            parts.append((title, texts))
    signs = ["".join(sign for sign in "†‡≠" if cell.figures and sign in cell.text) for cell in cells]
    if any(signs):
        parts.append((f"{name} sign", signs))
    return parts


def csv_text(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as comma-separated values."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def as_tex(table: Table) -> str:
    """A table for LaTeX with booktabs; every name is escaped, and letters that LaTeX lacks are written as `?`."""
    align = "l" * table.names + "r" * (len(table.columns) - table.names)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        f"% {_comment(table.title)}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        " & ".join(map(escape, table.columns)) + " \\\\",
        "\\midrule",
        *(" & ".join(map(escape, row)) + " \\\\" for row in table.texts),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    r"""Text for LaTeX.

    >>> escape("50% of a_b & c")
    '50\\% of a\\_b \\& c'
    """
    return "".join(
        ESCAPES.get(letter, letter if _plain(letter) else " " if letter.isspace() else "?") for letter in text
    )


def _plain(letter: str) -> bool:
    """Whether LaTeX with T1 fonts has the letter."""
    return " " <= letter <= "~" or "\u00c0" <= letter <= "\u00ff"


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
