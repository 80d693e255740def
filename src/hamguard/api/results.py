"""Rows that show themselves: as tables, as a data frame, as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.core import rows as core
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html

if TYPE_CHECKING:
    import pandas

    from hamguard.report.rows_page import RowsReport
    from hamguard.report.table import Table

__all__ = ["Rows", "read_rows"]


class Rows(core.Rows):
    """Measured rows: a list that can be asked, and that shows itself.

    `rows.where(attack="hag").one("map").value` asks; see `where`, `one`, `first`, `once`.
    """

    def __repr__(self) -> str:
        metrics = Counter(row.metric for row in self)
        return f"Rows({len(self)}: {', '.join(f'{count} {name}' for name, count in metrics.items())})"

    def tables(self) -> list[Table]:
        """The tables of the page of these rows, without those of threat models and settings; every row stands in one of them."""
        return [table for section in self._made("").sections for table in section.tables] if self else []

    def table(self) -> Table:
        """The table that the command of these rows prints, or a plain one where they are of several kinds.

        Raises:
            RequestError: there are no rows.
        """
        from hamguard.report.kinds import tables_of

        if not self:
            raise RequestError("there is no row to make a table of")
        return tables_of(self)[0]

    def to_frame(self) -> pandas.DataFrame:
        """A data frame with one line a row; `attack`, `defense` and `threat` become columns such as `attack.method`.

        Raises:
            RequestError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise RequestError("to_frame needs pandas, which is not installed: pip install pandas") from error
        return pandas.DataFrame([_flat(row) for row in self])

    def report(self, path: Path | str, *, title: str = "Report") -> Path:
        """Write one page that holds everything: what came out, tables, curves, threat models, settings.

        Args:
            path: HTML file to write.
            title: heading of the page.

        Raises:
            RequestError: there are no rows, or the file does not end in .html.
            RunError: the file cannot be written.
        """
        from hamguard.api.report import report

        return report(self, path, title=title).path

    def save(self, path: Path | str) -> Path:
        """Write them as a rows file, one JSON object a line.

        Raises:
            RunError: the file cannot be written.
        """
        core.write_rows(path, self)
        return Path(path)

    def _made(self, title: str) -> RowsReport:
        from hamguard.report.collect import collect_rows
        from hamguard.report.rows_page import rows_report

        return rows_report(collect_rows(self), title)

    def _repr_html_(self) -> str:
        if not self:
            return lines_html(["no rows"])
        from hamguard.report.room import bounded
        from hamguard.report.table import as_html

        return "".join(as_html(table) for section in bounded(self._made("").sections) for table in section.tables)


def _flat(row: core.Row) -> dict[str, Any]:
    """The facts of a row as columns."""
    columns: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if name in ("attack", "defense", "threat", "hashes"):
            columns |= {f"{name}.{key}": held for key, held in (value or {}).items()}
        elif name == "ci95":
            columns["low"], columns["high"] = value or (None, None)
        else:
            columns[name] = value
    return columns


def read_rows(*paths: Path | str) -> Rows:
    """Rows of files, or of folders that hold `rows.jsonl`, in their order.

    Raises:
        RequestError: no path, or a file that is missing or holds something else.
    """
    from hamguard.report.collect import rows_file

    if not paths:
        raise RequestError("give a rows file, or a folder that holds rows.jsonl")
    return Rows(row for path in paths for row in core.read_rows(rows_file(path)))


def shown(rows: Iterable[core.Row]) -> Rows:
    """Rows of any function as those that show themselves."""
    return rows if isinstance(rows, Rows) else Rows(rows)
