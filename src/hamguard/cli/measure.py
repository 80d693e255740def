"""`hamguard measure`: the robustness measures of one or several models, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.names import names as registered
from hamguard.cli import options as opt
from hamguard.cli.common import check_suffix, context_of, print_json, print_json_rows, say_written
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal

ModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODEL [MODEL ...]", help="Models to measure, on the same query pictures."),
]
NamesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        help=f"{registered('measure')}; may be repeated. Default: all but clever-guide, saliency and class-bias.",
    ),
]
RadiusOption = Annotated[
    str, typer.Option("--eps", help="linf budget of attacks, and radius of the balls of Lipschitz and CLEVER.")
]
CleverOption = Annotated[
    str,
    typer.Option(
        "--clever",
        metavar="SETTINGS",
        help="CLEVER's draws: quick (10x8, nearer half of the bits), published (500x1024), or BATCHESxPOINTS.",
    ),
]
AuditOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--audit", metavar="DIR", help="Folder of `hamguard audit --out`, one for each MODEL in order: compare with it."
    ),
]
CurvesOption = Annotated[
    Path | None,
    typer.Option("--curves", help="Draw flip and success curves over eps, and bars by class (.png, .svg, .pdf)."),
]
SheetOption = Annotated[
    Path | None, typer.Option("--sheet", help="Draw pictures and saliency maps before and after the attack (.png).")
]
ListOption = Annotated[bool, typer.Option("--list", help="List the measures.")]


def measure(
    models: ModelsArgument = None,
    names: NamesOption = None,
    queries: opt.Queries = 20,
    eps: RadiusOption = "8/255",
    steps: opt.Steps = 50,
    clever: CleverOption = "quick",
    audit: AuditOption = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    out: opt.RowsFile = None,
    curves: CurvesOption = None,
    sheet: SheetOption = None,
    batch_size: opt.AttackedAtOnce = 64,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    listed: ListOption = False,
    as_json: opt.Json = False,
) -> None:
    """Measure robustness: success rates, least budgets, flip radii, flip curves, sensitivity, Lipschitz, CLEVER.

    Every measure is a figure about a model and one value a query. The table says what each means and which direction is
    more robust; none is a guarantee. With --audit each measure is compared with what an audit found: does it rank
    queries, and models, as their worst case does?

    [bold]Examples[/bold]:

    hamguard measure models/digits models/digits16 --queries 10

    hamguard measure models/digits --measure minimal --measure flips --queries 50 --curves curves.png

    hamguard measure models/digits --measure clever --clever 50x64 --queries 2 --out rows.jsonl

    hamguard measure models/digits --measure saliency --sheet maps.png

    hamguard measure models/digits --measure class-bias --queries 300 --curves classes.png

    hamguard measure models/a models/b --audit audits/a --audit audits/b
    """
    if listed:
        _list_measures(as_json=as_json)
        return
    from hamguard.api.budget import read_budget
    from hamguard.api.measure import measure as measure_models
    from hamguard.report.measure_table import CURVED, SHOWN

    if not models:
        raise RequestError("give a MODEL; `hamguard measure --list` lists the measures")
    check_suffix("--curves", curves)
    check_suffix("--sheet", sheet, out)
    if sheet and not set(names or ()) & set(SHOWN):
        raise RequestError(f"--sheet shows {', '.join(SHOWN)}; name it with --measure")
    if curves and names and not set(names) & set(CURVED):
        raise RequestError(f"--curves draws {', '.join(CURVED)}; --measure asks for none of them")
    done = measure_models(
        models,
        data,
        read_budget("linf", eps, steps=steps),
        measures=names or (),
        options={name: {"draws": clever} for name in ("clever", "clever-guide")},
        audits=audit or (),
        queries=queries,
        protocol=protocol,
        root=data_root,
        context=context_of(device, seed, batch_size),
    )
    if out:
        done.rows.save(out)
    if curves:
        done.draw(curves)
    if sheet:
        done.sheet(sheet)
    if as_json:
        print_json_rows(done.rows)
        return
    to_terminal(*done.tables())
    say_written(curves, sheet, out)


def _list_measures(*, as_json: bool) -> None:
    """Every measure: what it asks, and whether it needs labels."""
    from hamguard.api.names import measures_listed
    from hamguard.report.table import Table

    known = measures_listed()
    if as_json:
        print_json(known)
        return
    lines = [
        (one["measure"], "yes" if one["default"] else "by name", "yes" if one["labels"] else "no", one["title"])
        for one in known
    ]
    to_terminal(Table.of("", ("measure", "default", "labels", "what it asks"), lines))
