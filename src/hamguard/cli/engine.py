"""`hamguard engine check`: whether a search engine answers right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.names import names
from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json_rows, say, tell
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal

app = typer.Typer(help="Hold a search engine against brute force.", no_args_is_help=True)

EnginesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ENGINE [ENGINE ...]",
        help="A name that --list lists, the address of an index (postgresql://...#NAME, built anew), or module:factory.",
    ),
]
OwnCodesOption = Annotated[
    str | None,
    typer.Option(
        "--codes",
        help="Ask codes of your own, too: code bank (.npz) of `encode`, codes from elsewhere (.npz), or an index.",
    ),
]
CollapseOption = Annotated[
    list[float] | None,
    typer.Option("--collapse", help="Share of items that are copies of others; may be repeated. Default: 0, 0.1, 0.9."),
]
ItemsOption = Annotated[int, typer.Option("--items", help="Codes that are drawn.")]
AskedOption = Annotated[int, typer.Option("--queries", help="Queries.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for rows.jsonl, report.html, and one file of Python for each fault."),
]
ListOption = Annotated[bool, typer.Option("--list", help="List the engines.")]


@app.command("check")
def check(
    engines: EnginesArgument = None,
    codes: OwnCodesOption = None,
    collapse: CollapseOption = None,
    items: ItemsOption = 5_000,
    queries: AskedOption = 200,
    out: OutOption = None,
    seed: opt.Seed = 0,
    listed: ListOption = False,
    as_json: opt.Json = False,
) -> None:
    """Ask an engine twelve questions at three levels of collapse, and compare its answers with brute force.

    Exit code 1: an exact engine missed something, or an engine said what is not true. An engine that is not exact may
    miss; how much is in the table.

    [bold]Examples[/bold]:

    hamguard engine check faiss-flat faiss-hnsw

    hamguard engine check faiss-hnsw --out faults

    hamguard engine check faiss-hnsw --codes codes/database.npz

    hamguard engine check my_engine:make --items 1000
    """
    from hamguard.api.engine import COLLAPSE, engine_check

    if listed:
        for name in names("engine").split(", "):
            tell(name)
        return
    if not engines:
        raise RequestError("give an ENGINE; `hamguard engine check --list` lists them")
    found = engine_check(
        engines,
        codes=codes,
        collapse=collapse or COLLAPSE,
        items=items,
        queries=queries,
        out=out,
        context=context_of(seed=seed),
    )
    if as_json:
        print_json_rows(found)
    else:
        to_terminal(*found.tables())
        for line in found.sentences:
            tell(line)
    if out:
        say(f"Wrote {out}: rows.jsonl, report.html, {len(found.faults)} file{'s' * (len(found.faults) != 1)} of faults")
    if found.broken:
        raise typer.Exit(1)
