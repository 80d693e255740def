"""`hamguard measure`: the robustness measures of one or several models, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import (
    Bar,
    DataOption,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    RootOption,
    SeedOption,
    check_suffix,
    context_of,
    print_json,
    print_json_rows,
    say,
)
from hamguard.core.errors import RequestError

NAMES = "success, toward, minimal, radius, flips, sensitivity, lipschitz, clever, clever-guide"


def measure(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL [MODEL ...]", help="Models to measure, on the same query pictures."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--measure", help=f"{NAMES}; may be repeated. Default: all but clever-guide."),
    ] = None,
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="Use the first N of the query split. Default: 20.")
    ] = None,
    eps: Annotated[
        str, typer.Option("--eps", help="linf budget of attacks, and radius of the balls of Lipschitz and CLEVER.")
    ] = "8/255",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradients of each attack.")] = 50,
    clever: Annotated[
        str,
        typer.Option(
            "--clever",
            metavar="SETTINGS",
            help="CLEVER's draws: quick (10x8, nearer half of the bits), published (500x1024), or BATCHESxPOINTS.",
        ),
    ] = "quick",
    audit: Annotated[
        list[Path] | None,
        typer.Option(
            "--audit",
            metavar="DIR",
            help="Folder of `hamguard audit --out`, one for each MODEL in order: compare with it.",
        ),
    ] = None,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows to this rows.jsonl.")] = None,
    curves: Annotated[
        Path | None, typer.Option("--curves", help="Draw flip and success curves over eps (.png, .svg, .pdf).")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures attacked at once.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    listed: Annotated[bool, typer.Option("--list", help="List the measures.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure robustness: success rates, least budgets, flip radii, flip curves, sensitivity, Lipschitz, CLEVER.

    Every measure is a figure about a model and one value a query. The table says what each means and which direction is
    more robust; none is a guarantee. With --audit each measure is compared with what an audit found: does it rank
    queries, and models, as their worst case does?

    [bold]Examples[/bold]:

    hamguard measure models/digits models/digits16 --queries 10

    hamguard measure models/digits --measure minimal --measure flips --queries 50 --curves curves.png

    hamguard measure models/digits --measure clever --clever 50x64 --queries 2 --out rows.jsonl

    hamguard measure models/a models/b --audit audits/a --audit audits/b
    """
    from hamguard.attacks.budget import Budget, Linf
    from hamguard.attacks.threat import parse_eps
    from hamguard.core.rows import Rows, write_rows
    from hamguard.evaluation.measures.extreme import Draws
    from hamguard.evaluation.measures.registry import check_measures
    from hamguard.report.measure_table import CURVED, Figure, draw_measures, measure_table, rank_table
    from hamguard.report.printers import to_terminal
    from hamguard.report.wording import short_names

    if listed:
        _list_measures(as_json=as_json)
        return
    if not models:
        raise RequestError("give a MODEL; `hamguard measure --list` lists the measures")
    check_measures(names or ())
    check_suffix("--curves", curves)
    if curves and names and not set(names) & set(CURVED):
        raise RequestError(f"--curves draws {', '.join(CURVED)}; --measure asks for none of them")
    if audit and len(audit) != len(models):
        raise RequestError(
            f"--audit is given once for each model, in their order: {len(models)} models, {len(audit)} folders"
        )
    budget, draws = Budget(Linf(parse_eps(eps)), steps=steps), Draws.read(clever)

    from hamguard.data.cache import cache_folder
    from hamguard.evaluation.measures.audit import over_models, over_queries, read_audit
    from hamguard.evaluation.measures.run import measure_model
    from hamguard.evaluation.search.same_queries import open_grounds

    grounds = open_grounds(
        models,
        data,
        protocol=protocol,
        root=data_root,
        queries=queries or 20,
        context=context_of(device, seed, batch_size),
    )
    audits = [read_audit(folder, ground) for folder, ground in zip(audit or (), grounds, strict=bool(audit))]
    short = dict(zip(short_names(models), models, strict=True))
    found = {}
    for name, ground in zip(short, grounds, strict=True):
        with Bar(f"measuring {name}") as bar:
            found[name] = measure_model(
                ground,
                budget,
                names or (),
                options={"clever": {"draws": draws}, "clever-guide": {"draws": draws}},
                work=cache_folder() / "attacks",
                progress=bar,
            )
    every = (row for one in found.values() for measured in one.values() for row in measured.rows)
    rows = Rows(every).once()  # two attacks of a model share their clean figures
    lines = {name: {line.name: line for one in own.values() for line in one.lines} for name, own in found.items()}
    ranks = []
    if audits:
        for one, result in zip(lines.values(), audits, strict=True):
            ranks += [row for line in one.values() for row in over_queries(line, result, seed=seed)]
        for name in dict.fromkeys(name for one in lines.values() for name in one):
            row = over_models([one.get(name) for one in lines.values()], audits)
            ranks += [row] if row else []
    if out:
        write_rows(out, [*rows, *ranks])
    title = f"{grounds[0].dataset.title}, {len(grounds[0].query):,} queries, linf {eps}, {steps} gradients"
    if curves:
        drawn = {
            name: {key: curve for one in own.values() for key, curve in one.curves.items()}
            for name, own in found.items()
        }
        draw_measures(drawn, curves, title)
    if as_json:
        print_json_rows([*rows, *ranks])
        return
    figures = {
        name: {key: Figure(line.name, line.means, line.robust, line.unit, line.row) for key, line in own.items()}
        for name, own in lines.items()
    }
    to_terminal(measure_table(figures, title, rows), *([rank_table(figures, ranks, short)] if audits else []))
    for written in (curves, out):
        if written:
            say(f"wrote {written}")


def _list_measures(*, as_json: bool) -> None:
    """Every measure: what it asks, and whether it needs labels."""
    from hamguard.evaluation.measures.registry import MEASURES
    from hamguard.report.printers import to_terminal
    from hamguard.report.table import Table

    facts = {name: MEASURES.facts(name) for name in MEASURES}
    if as_json:
        print_json(
            {"measure": name, "title": MEASURES.title(name), "labels": of["labeled"], "default": of["default"]}
            for name, of in facts.items()
        )
        return
    lines = [
        (name, "yes" if of["default"] else "by name", "yes" if of["labeled"] else "no", MEASURES.title(name))
        for name, of in facts.items()
    ]
    to_terminal(Table.of("", ("measure", "default", "labels", "what it asks"), lines))
