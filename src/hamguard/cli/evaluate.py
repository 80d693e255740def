"""`hamguard evaluate`: rows of retrieval metrics for a model, or for codes that other software made."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.running import Bar
from hamguard.cli.common import (
    BatchOption,
    DataOption,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    check_suffix,
    context_of,
    name_unread,
    print_json,
    print_json_rows,
    tell,
)
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Model folder, package.module:factory, torch.export file, or the recipe (.toml) of a grid or a study."
        ),
    ] = None,
    query_codes: Annotated[
        Path | None, typer.Option("--query-codes", help="Foreign query codes (.npz: codes, labels, ids).")
    ] = None,
    database_codes: Annotated[
        Path | None, typer.Option("--database-codes", help="Foreign database codes (.npz).")
    ] = None,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    exclude_self: Annotated[
        bool,
        typer.Option("--exclude-self", help="Foreign codes: leave a query that is a database item out of its answers."),
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="map, map@N, precision@N, recall@N, ndcg@N, ndcg-shared@N, radius-precision@R, radius-recall@R; may be repeated.",
        ),
    ] = None,
    ties: Annotated[str, typer.Option("--ties", help="expected, stable, worst or best.")] = "expected",
    norm: Annotated[str, typer.Option("--norm", help="Denominator of map@N: relevant, hits or min.")] = "relevant",
    empty: Annotated[str, typer.Option("--empty", help="Queries without a hit: zero or skip.")] = "zero",
    learned: Annotated[
        bool | None,
        typer.Option(
            "--learned/--no-learned", help="Also search the codes that ADSH learned for its training pictures."
        ),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", help="Ask with changed copies instead: jpeg:50, crop:216, resize:128; may be repeated."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="With --view: draw copies and answers (.png).")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the rows to this rows.jsonl; for a recipe: the folder of the study."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=0, help="Recipe only: models worked on at once; 0: as many as there are cores."),
    ] = 0,
    cells: Annotated[
        Path | None,
        typer.Option("--cells", help="Grid only: folder of finished cells, shared by grids; `cells` beside --out."),
    ] = None,
    curves: Annotated[
        Path | None, typer.Option("--curves", help="Draw PR and precision@N curves (.png, .svg, .pdf).")
    ] = None,
    batch_size: BatchOption = 256,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a model on the query and database parts of its data, score foreign codes, or run a recipe.

    MAP is exact under ties (the mean over all orders of equal distances), over the full ranking, with a bootstrap 95%
    interval over queries. The MAP of random codes stands beside it.

    [bold]Examples[/bold]:

    hamguard evaluate models/digits

    hamguard evaluate models/digits --metric map --metric map@100 --norm min

    hamguard evaluate models/itq64 --view jpeg:50 --view crop:216 --sheet copies.png

    hamguard evaluate --query-codes Q.npz --database-codes D.npz --json

    hamguard evaluate recipes/grid-digits.toml --out runs/grid-digits

    hamguard evaluate recipes/cmla-scenes.toml --out runs/cmla-scenes
    """
    if model is not None and model.endswith(".toml"):
        others = {
            "--query-codes": query_codes,
            "--database-codes": database_codes,
            "--data": data,
            "--protocol": protocol,
            "--queries": queries,
            "--metric": metric,
            "--learned": learned,
            "--view": view,
            "--sheet": sheet,
            "--curves": curves,
            "--exclude-self": exclude_self or None,
        }
        refused = [name for name, value in others.items() if value is not None]
        usual = {
            "--ties": (ties, "expected"),
            "--norm": (norm, "relevant"),
            "--empty": (empty, "zero"),
            "--batch-size": (batch_size, 256),
            "--seed": (seed, 0),
        }
        refused += [name for name, (given, default) in usual.items() if given != default]
        if refused:
            raise RequestError(f"{', '.join(refused)}: the recipe decides this; edit {model}")
        context = context_of(device)
        if as_json:
            context = context.but(tell=lambda line: None)
        _study(model, out, cells, workers, data_root, context, as_json=as_json)
        return
    if workers or cells:
        raise RequestError(f"{'--workers' if workers else '--cells'} goes with a recipe")
    from hamguard.api.evaluate import evaluate as run

    check_suffix("--curves", curves)
    check_suffix("--sheet", sheet)
    if (view and model is None) or (sheet and not view):
        raise RequestError("--view goes with a MODEL, and --sheet with --view")
    context = Context(seed=seed, stage=Bar) if model is None else context_of(device, seed, batch_size)
    rows = run(
        model,
        data,
        query_codes=query_codes,
        database_codes=database_codes,
        exclude_self=exclude_self,
        metrics=metric,
        ties=ties,  # type: ignore[arg-type]
        norm=norm,  # type: ignore[arg-type]
        empty=empty,  # type: ignore[arg-type]
        learned=learned,
        views=view or (),
        queries=queries,
        protocol=protocol,
        root=data_root,
        batch_size=batch_size,
        context=context,
    )
    if out:
        rows.save(out)
    if curves:
        rows.curves(curves)
    if sheet:
        rows.sheet(sheet)
    if as_json:
        print_json(asdict(row) for row in rows)
    else:
        to_terminal(*rows.tables())
    name_unread(rows)


def _study(
    recipe: str,
    out: Path | None,
    cells: Path | None,
    workers: int,
    root: Path | None,
    context: Context,
    *,
    as_json: bool,
) -> None:
    """Run a study or a grid, and print what came out."""
    from hamguard.api.study import study

    begun = time.monotonic()
    done = study(recipe, out, cells=cells, workers=workers, root=root, context=context)
    if done is None:
        return  # another process speaks
    if as_json:
        print_json_rows(done)
        return
    if done.sentences:
        for table in done.tables():
            to_terminal(table)
            tell("")
    else:
        to_terminal(*done.tables())
    for sentence in done.sentences:
        tell(f"* {sentence}")
    for note in done.notes:
        tell(f"Note: {note}")
    tell(f"{done.page}  rows: {done.folder / 'rows.jsonl'}  ({time.monotonic() - begun:,.0f} s)")
