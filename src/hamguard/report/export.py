"""Tables of a report as files: one .csv and one .tex each, and an index of both."""

from __future__ import annotations

import re
from pathlib import Path

from hamguard.core.errors import RequestError
from hamguard.core.files import write_text
from hamguard.report.printers import as_csv, as_tex, csv_text
from hamguard.report.rows_page import RowsReport

INDEX = "index.csv"
LONGEST = 40  # letters of a file name before its number


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
        index.append([name, table.title, str(len(table.rows))])
    write_text(folder / INDEX, csv_text(index))
    return [folder / INDEX, *written]


def _short_name(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return words[:LONGEST].rstrip("-") or "table"
