"""`hamguard report`: one page for any rows."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import JsonOption, print_json, say
from hamguard.core.errors import RequestError


def report(
    rows: Annotated[list[Path], typer.Argument(metavar="ROWS...", help="Rows files, or folders that hold rows.jsonl.")],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option("--title", help="Heading of the page.")] = None,
    tables: Annotated[
        Path | None, typer.Option("--tables", help="Folder for every table as .csv and .tex, with an index.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make one self-contained page from rows: what came out, tables with intervals, curves, threat models, settings.

    Rows of several files are joined, equal ones are shown once, and what does not fit together is said. Pictures that a
    pictures.json beside the rows names are put into the page.

    [bold]Examples[/bold]:

    hamguard report attacks/rows.jsonl --out report.html

    hamguard report runs/one runs/two audits/digits --title "Two machines" --tables tables
    """
    from hamguard.report.collect import collect
    from hamguard.report.export import export_tables
    from hamguard.report.rows_page import check_page_name, rows_report, write_rows_page

    check_page_name(out)
    if out.is_dir():
        raise RequestError(f"{out} is a folder; --out must be an .html file")
    if tables is not None and tables.exists() and not tables.is_dir():
        raise RequestError(f"{tables} is a file; --tables must be a folder")
    for folder in (out.parent, *([tables] if tables is not None else [])):
        _check_folder(folder)
    gc.disable()  # rows and tables hold no circles, and to look for some among a million of them takes a sixth of the time
    try:
        collected = collect(rows)
        made = rows_report(collected, title or "Report")
        write_rows_page(made, out)
    finally:
        gc.enable()
    files = export_tables(made, tables) if tables is not None else []
    if as_json:
        facts = {
            "out": str(out),
            "title": made.title,
            "rows": len(collected.entries),
            "duplicates": collected.duplicates,
            "sentences": list(made.sentences),
            "remarks": list(made.remarks),
            "tables": [str(file) for file in files],
        }
        print_json([facts])
        return
    for sentence in made.sentences:
        typer.echo(sentence)
    for remark in made.remarks:
        typer.echo(f"Remark: {remark}")
    say(f"wrote {out}" + (f" and {(len(files) - 1) // 2} tables in {tables}" if files else ""))


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
