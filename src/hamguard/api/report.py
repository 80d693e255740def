"""`hg.report`: one page, and all tables as files, from any rows."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hamguard.api.arguments import checked
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html
from hamguard.core.rows import Row
from hamguard.report.collect import Collected, collect, collect_rows
from hamguard.report.export import export_tables
from hamguard.report.pictures import Picture
from hamguard.report.rows_page import check_page_name, rows_report, write_rows_page


@dataclass(frozen=True)
class Report:
    """A page that was written.

    Attributes:
        path: the page.
        title: its heading.
        rows: how many different rows stand on it.
        duplicates: rows that were left out because an equal one stands there.
        sentences: what came out, each with its figures.
        remarks: what does not fit together.
        bibtex: what is to be cited for the methods in the rows, and hamguard's own.
        tables: files of the tables, their index first; none where they were not asked for.
    """

    path: Path
    title: str
    rows: int
    duplicates: int
    sentences: tuple[str, ...]
    remarks: tuple[str, ...]
    bibtex: tuple[str, ...]
    tables: tuple[Path, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """The same as values of JSON."""
        return {
            "out": str(self.path),
            "title": self.title,
            "rows": self.rows,
            "duplicates": self.duplicates,
            "sentences": list(self.sentences),
            "remarks": list(self.remarks),
            "tables": [str(file) for file in self.tables],
        }

    def __repr__(self) -> str:
        return f"Report({self.title}: {self.rows:,} rows on {self.path})"

    def _repr_html_(self) -> str:
        return lines_html([f"{self.title}: {self.rows:,} rows on {self.path}", *self.sentences])


@checked
def report(
    rows: Iterable[Row] | Path | str | Sequence[Path | str],
    out: Path | str = "report.html",
    *,
    title: str = "Report",
    tables: Path | str | None = None,
) -> Report:
    """Make one self-contained page from rows: what came out, tables with intervals, curves, threat models, settings, what to cite.

    The page opens with a picture, three sentences in plain words and a chart. Rows of several files are joined, equal ones are
    shown once, and what does not fit together is said. Pictures that a pictures.json beside the rows names are put into the
    page; what `hg.attack` gave has its model and data at hand and draws its own.

    Args:
        rows: rows, or a rows file, or a folder that holds `rows.jsonl`, or several of both.
        out: HTML file to write.
        title: heading of the page.
        tables: folder for every table as .csv and .tex, with an index; None for none.

    Returns:
        What stands on the page, and where it is.

    Raises:
        RequestError: no row, a missing, broken or empty file, or `out` or `tables` cannot be written where they are.
        RunError: a file cannot be written.

    Example:
        >>> import hamguard as hg
        >>> hg.report("attacks/rows.jsonl", "page.html", tables="tables").sentences  # doctest: +SKIP
    """
    out, folder = Path(out), None if tables is None else Path(tables)
    check_page_name(out)
    if out.is_dir():
        raise RequestError(f"{out} is a folder; `out` must be an .html file")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; `tables` must be a folder")
    for place in (out.parent, *([folder] if folder is not None else [])):
        _check_folder(place)
    gc.disable()  # rows and tables hold no circles, and to look for some among a million of them takes a sixth of the time
    try:
        with tempfile.TemporaryDirectory() as drawn:
            collected = _collected(rows, Path(drawn))
            made = rows_report(collected, title)
            write_rows_page(made, out)
    finally:
        gc.enable()
    files = export_tables(made, folder) if folder is not None else []
    return Report(
        out,
        made.title,
        len(collected.entries),
        collected.duplicates,
        tuple(made.sentences),
        tuple(made.remarks),
        tuple(made.bibtex),
        tuple(files),
    )


@runtime_checkable
class Pictured(Protocol):
    """Rows that have pictures, or can draw them."""

    def pictures(self, folder: Path) -> Sequence[Picture]:
        """Those that a page shows; what is not there yet is drawn into the folder."""


def _collected(rows: Iterable[Row] | Path | str | Sequence[Path | str], drawn: Path) -> Collected:
    if isinstance(rows, (str, Path)):
        return collect([rows])
    given = list(rows)
    paths = [one for one in given if isinstance(one, (str, Path))]
    if paths and len(paths) != len(given):
        raise RequestError("a report takes rows, or files of rows, got both")
    if paths:
        return collect(paths)
    pictures = rows.pictures(drawn) if isinstance(rows, Pictured) else ()
    return collect_rows((one for one in given if isinstance(one, Row)), pictures=pictures)


def _check_folder(folder: Path) -> None:
    """Check that a folder can be made.

    Raises:
        RequestError: it, or one that it lies in, is a file.
    """
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise RequestError(f"{place} is a file; the output needs a folder there")
            return
