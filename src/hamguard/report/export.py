"""Tables of a report as files: one .csv and one .tex each, and an index of both."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from hamguard.core.errors import RequestError
from hamguard.core.files import write_text
from hamguard.report.cells import Cell, Table
from hamguard.report.rows_page import RowsReport

INDEX = "index.csv"
LONGEST = 40  # letters of a file name before its number
ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "†": r"\dag{}", "‡": r"\ddag{}", "≠": r"$\neq$", "✓": r"$\surd$", "✗": r"$\times$", "…": r"\ldots{}",
    "×": r"$\times$", "[": "{[}", "]": "{]}",  # a bracket after \\ would be its option
}  # fmt: skip


def export_tables(report: RowsReport, folder: Path | str) -> list[Path]:
    """Write every table as .csv, with value and interval in columns of their own, and as .tex for booktabs; and `index.csv`.

    Args:
        report: of rows.
        folder: made where it is missing; files of the same names are replaced.

    Returns:
        The index, then the files of each table.

    Raises:
        RequestError: the folder is a file.
        RunError: a file cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; tables are written into a folder")
    written: list[Path] = []
    index = [["name", "title", "lines"]]
    for number, table in enumerate(report.tables, 1):
        name = f"{number:02d}-{_short_name(table.title)}"
        write_text(folder / f"{name}.csv", as_csv(table))
        write_text(folder / f"{name}.tex", as_tex(table))
        written += [folder / f"{name}.csv", folder / f"{name}.tex"]
        index.append([name, table.title, str(len(table.lines))])
    write_text(folder / INDEX, _csv_text(index))
    return [folder / INDEX, *written]


def _short_name(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return words[:LONGEST].rstrip("-") or "table"


def as_csv(table: Table) -> str:
    """A table as comma-separated values.

    A column of figures becomes `NAME`, with `NAME low` and `NAME high` where it has intervals; several figures of a cell stand
    with ` / ` between them, and ` sign` holds the sign that a figure has on the page.
    """
    columns = list(zip(*table.lines, strict=True))
    head: list[str] = []
    body: list[list[str]] = [[] for _ in table.lines]
    for name, cells in zip(table.head, columns, strict=True):
        parts = _parts(name, cells)
        for title, texts in parts:
            head.append(title)
            for line, text in zip(body, texts, strict=True):
                line.append(text)
    return _csv_text([head, *body])


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


def _csv_text(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def as_tex(table: Table) -> str:
    """A table for LaTeX with booktabs; every name is escaped, and letters that LaTeX lacks are written as `?`."""
    align = "l" * table.names + "r" * (len(table.head) - table.names)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        f"% {_comment(table.title)}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        " & ".join(map(escape, table.head)) + " \\\\",
        "\\midrule",
        *(" & ".join(escape(cell.whole) for cell in line) + " \\\\" for line in table.lines),
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
