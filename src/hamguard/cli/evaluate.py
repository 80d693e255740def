"""`hamguard evaluate`: rows of retrieval metrics for a model, or for codes that other software made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import (
    Bar,
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
    print_rows,
)
from hamguard.core.errors import RequestError


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
        from hamguard.cli.evaluate_study import evaluate_recipe

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
        evaluate_recipe(
            Path(model),
            out,
            cells=cells,
            data_root=data_root,
            workers=workers,
            device=device,
            as_json=as_json,
            refused=[*refused, *(name for name, (given, default) in usual.items() if given != default)],
        )
        return
    if workers or cells:
        raise RequestError(f"{'--workers' if workers else '--cells'} goes with a recipe")
    from hamguard.core.checks import check_choice
    from hamguard.core.rows import Row, write_rows
    from hamguard.evaluation.search.foreign_codes import read_pair
    from hamguard.evaluation.search.score import DEFAULT_METRICS, Convention, check_defined, parse_metric, score_rows

    check_choice("ties", ties, ("expected", "stable", "worst", "best"))
    check_choice("norm", norm, ("relevant", "hits", "min"))
    check_choice("empty", empty, ("zero", "skip"))
    convention = Convention(ties, norm, empty)  # type: ignore[arg-type]
    metrics = tuple(metric or DEFAULT_METRICS)
    for text in metrics:
        parse_metric(text)
    check_suffix("--curves", curves)
    check_suffix("--sheet", sheet)
    foreign = (query_codes, database_codes)
    if (model is None) == (query_codes is None and database_codes is None):
        raise RequestError("give either a MODEL, or both --query-codes and --database-codes")
    if (view and model is None) or (sheet and not view):
        raise RequestError("--view goes with a MODEL, and --sheet with --view")
    if model is None:
        if query_codes is None or database_codes is None:
            raise RequestError("foreign codes need both --query-codes and --database-codes")
        if data or data_root or protocol or learned:
            raise RequestError("--data, --data-root, --protocol and --learned go with a MODEL, not with foreign codes")
        query, database, own, notes = read_pair(query_codes, database_codes, queries=queries, exclude=exclude_self)
        hashes = {"query_codes": query.digest, "database_codes": database.digest}
        facts = Row(model=", ".join(path.name for path in foreign if path), seed=seed, hashes=hashes, notes=notes)
        with Bar("scoring"):
            rows = score_rows(query, database, metrics=metrics, convention=convention, facts=facts, seed=seed, own=own)
    else:
        if exclude_self:
            raise RequestError("--exclude-self goes with --query-codes and --database-codes")
        own = None
        from hamguard.evaluation.ground import Ground, Loaded
        from hamguard.evaluation.model_data import open_for_model
        from hamguard.evaluation.search.model_rows import model_rows

        context = context_of(device, seed, batch_size)
        loaded = Loaded.open(model, texts="any", device=context.device)
        opened = open_for_model(loaded.card, loaded.model, data, root=data_root, protocol=protocol, context=context)
        dataset, split = opened.dataset, opened.split
        for text in () if view else metrics:
            check_defined(text, convention, len(split.database))
        if not view and not dataset.labels.any():
            raise RequestError(f"{dataset.name} has no labels, so nothing can be relevant; MAP needs labeled pictures")
        if view:
            from hamguard.cli.copies import evaluate_copies

            rows, database = evaluate_copies(loaded, opened, view, queries=queries, context=context, sheet=sheet)
            query = database
        elif loaded.cross and dataset.texts is not None:
            from hamguard.cli.evaluate_cross import evaluate_cross

            if learned:
                raise RequestError(
                    f"{model} has no learned codes; only ADSH learns codes of its training pictures directly"
                )
            evaluate_cross(
                loaded,
                opened,
                metrics=metrics,
                convention=convention,
                queries=queries,
                context=context,
                out=out,
                curves=curves,
                as_json=as_json,
            )
            return
        else:
            ground = Ground.open(loaded, opened, queries=queries, batch_size=batch_size, context=context)
            query, database = ground.search()
            rows = model_rows(ground, metrics=metrics, convention=convention, learned=learned)
    if out:
        write_rows(out, rows)
    if curves:
        from hamguard.evaluation.search.curves import measure_curves
        from hamguard.report.plots import draw_curves

        name = str(model or "foreign codes")
        found = measure_curves(query, database, name=name, seed=seed, own=own)
        draw_curves(
            found.precision_recall,
            found.precision_at,
            curves,
            within_radius=found.within_radius,
            title=rows[0].dataset or name,
        )
    title = rows[0].dataset or "foreign codes"
    detail = f"{len(query):,} queries, {len(database):,} database items, {query.bits} bits"
    print_rows(rows, f"{title}: {detail}", as_json=as_json)
    if model is not None:
        name_unread(dataset)
