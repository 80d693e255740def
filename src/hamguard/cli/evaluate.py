"""`hamguard evaluate`: rows of retrieval metrics for a model, or for codes that other software made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import Words, check_suffix, context_of, name_unread, print_json_rows, print_measured, tell
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="Model folder, package.module:factory, torch.export file, or the recipe (.toml) of a grid or a study."
    ),
]
QueryCodesOption = Annotated[
    Path | None, typer.Option("--query-codes", help="Foreign query codes (.npz: codes, labels, ids).")
]
DatabaseCodesOption = Annotated[Path | None, typer.Option("--database-codes", help="Foreign database codes (.npz).")]
ExcludeSelfOption = Annotated[
    bool,
    typer.Option("--exclude-self", help="Foreign codes: leave a query that is a database item out of its answers."),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="map, map@N, precision@N, recall@N, ndcg@N, ndcg-shared@N, radius-precision@R, radius-recall@R; may be repeated.",
    ),
]
LearnedOption = Annotated[
    bool | None,
    typer.Option("--learned/--no-learned", help="Also search the codes that ADSH learned for its training pictures."),
]
ViewOption = Annotated[
    list[str] | None,
    typer.Option("--view", help=f"Ask with changed copies instead: {opt.VIEW_FORMS}; may be repeated."),
]
SheetOption = Annotated[Path | None, typer.Option("--sheet", help="With --view: draw copies and answers (.png).")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write the rows to this rows.jsonl; for a recipe: the folder of the study."),
]
WorkersOption = Annotated[
    int,
    typer.Option("--workers", min=0, help="Recipe only: models worked on at once; 0: as many as there are cores."),
]
CellsOption = Annotated[
    Path | None,
    typer.Option(
        "--cells", help="Recipe only: folder of finished cells, shared by studies; `cells` beside --out, or inside it."
    ),
]
CurvesOption = Annotated[
    Path | None, typer.Option("--curves", help="Draw PR and precision@N curves (.png, .svg, .pdf).")
]


def evaluate(
    model: ModelArgument = None,
    query_codes: QueryCodesOption = None,
    database_codes: DatabaseCodesOption = None,
    index: opt.SearchedIndex = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.Queries = None,
    exclude_self: ExcludeSelfOption = False,
    metric: MetricOption = None,
    ties: opt.Ties = "expected",
    norm: opt.Norm = "relevant",
    empty: opt.Empty = "zero",
    learned: LearnedOption = None,
    view: ViewOption = None,
    sheet: SheetOption = None,
    out: OutOption = None,
    workers: WorkersOption = 0,
    cells: CellsOption = None,
    curves: CurvesOption = None,
    batch_size: opt.BatchSize = 256,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Score a model on the query and database parts of its data, score foreign codes, or run a recipe.

    MAP is exact under ties (the mean over all orders of equal distances), over the full ranking, with a bootstrap 95%
    interval over queries. The MAP of random codes stands beside it.

    [bold]Examples[/bold]:

    hamguard evaluate models/digits

    hamguard evaluate models/digits --metric map --metric map@100 --norm min

    hamguard evaluate models/itq64 --view jpeg:50 --view crop:216 --sheet copies.png

    hamguard evaluate --query-codes Q.npz --database-codes D.npz --json

    hamguard evaluate models/digits --index "postgresql://me@localhost/photos#digits"

    hamguard evaluate recipes/grid-digits.toml --out runs/grid-digits

    hamguard evaluate recipes/cmla-scenes.toml --out runs/cmla-scenes
    """
    scores: Words = {"ties": ties, "norm": norm, "empty": empty}
    where: Words = {"protocol": protocol, "queries": queries}
    codes: Words = {"query_codes": query_codes, "database_codes": database_codes, "index": index}
    if model is not None and model.endswith(".toml"):
        given = codes | {"data": data} | where | {"metric": metric, "learned": learned, "view": view, "sheet": sheet}
        given |= {"curves": curves, "exclude_self": exclude_self or None}
        _check_recipe(model, given, scores | {"batch_size": batch_size, "seed": seed})
        _study(model, out, cells, workers, data_root, device, as_json=as_json)
        return
    if workers or cells:
        raise RequestError(f"{'--workers' if workers else '--cells'} goes with a recipe")
    from hamguard.api.evaluate import evaluate as run

    check_suffix("--curves", curves)
    check_suffix("--sheet", sheet, out)
    if (view and model is None) or (sheet and not view):
        raise RequestError("--view goes with a MODEL, and --sheet with --view")
    asked: Words = {"metrics": metric, "learned": learned, "views": view or (), "exclude_self": exclude_self}
    run_on: Words = {"root": data_root, "batch_size": batch_size, "context": context_of(device, seed, batch_size)}
    rows = run(model, data, **codes, **asked, **scores, **where, **run_on)
    if out:
        rows.save(out)
    if curves:
        rows.curves(curves)
    if sheet:
        rows.sheet(sheet)
    print_measured(rows, curves, sheet, out, as_json=as_json)
    name_unread(rows)


def _check_recipe(recipe: str, given: Words, settings: Words) -> None:
    """Refuse what a recipe decides.

    Raises:
        RequestError: something of it is given as an option.
    """
    usual = {"ties": "expected", "norm": "relevant", "empty": "zero", "batch_size": 256, "seed": 0}
    refused = [name for name, value in given.items() if value is not None]
    refused += [name for name, value in settings.items() if value != usual[name]]
    if refused:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
        raise RequestError(f"{flags}: the recipe decides this; edit {recipe}")


def _study(
    recipe: str, out: Path | None, cells: Path | None, workers: int, root: Path | None, device: str, *, as_json: bool
) -> None:
    """Run a study or a grid, and print what came out."""
    from hamguard.api.study import study

    begun = time.monotonic()
    done = study(recipe, out, cells=cells, workers=workers, root=root, context=context_of(device, quiet=as_json))
    if done is None:
        return  # another process speaks
    if as_json:
        print_json_rows(done)
        return
    if done.sentences:
        for table in done.tables():
            to_terminal(table)
            tell()
    else:
        to_terminal(*done.tables())
    for sentence in done.sentences:
        tell(f"* {sentence}")
    for note in done.notes:
        tell(f"Note: {note}")
    tell(f"{done.page}  rows: {done.folder / 'rows.jsonl'}  ({time.monotonic() - begun:,.0f} s)")
