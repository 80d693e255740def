"""`hamguard report`: one page for any rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import print_json, say

RowsArgument = Annotated[
    list[Path], typer.Argument(metavar="ROWS...", help="Rows files, or folders that hold rows.jsonl.")
]
OutOption = Annotated[Path, typer.Option("--out", help="HTML file to write.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="Heading of the page.")]
TablesOption = Annotated[
    Path | None, typer.Option("--tables", help="Folder for every table as .csv and .tex, with an index.")
]


def report(
    rows: RowsArgument,
    out: OutOption = Path("report.html"),
    title: TitleOption = None,
    tables: TablesOption = None,
    as_json: opt.Json = False,
) -> None:
    """Make one self-contained page from rows: what came out, tables with intervals, curves, threat models, settings.

    Rows of several files are joined, equal ones are shown once, and what does not fit together is said. Pictures that a
    pictures.json beside the rows names are put into the page.

    [bold]Examples[/bold]:

    hamguard report attacks/rows.jsonl --out report.html

    hamguard report runs/one runs/two audits/digits --title "Two machines" --tables tables
    """
    from hamguard.api.report import report as make_report

    made = make_report(rows, out, title=title or "Report", tables=tables)
    if as_json:
        print_json([made.facts])
        return
    for sentence in made.sentences:
        typer.echo(sentence)
    for remark in made.remarks:
        typer.echo(f"Remark: {remark}")
    say(f"wrote {out}" + (f" and {(len(made.tables) - 1) // 2} tables in {tables}" if made.tables else ""))
