"""`hamguard reproduce`: a published table run again, beside the published figures, and what the paper says of it judged."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli.common import DeviceOption, JsonOption, RootOption, context_of, print_json, say, tell
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hamguard.evaluation.reproduce.experiment import Comparison, Experiment, Scale
    from hamguard.report.reproduce_table import Line


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Experiment, e.g. ppl-table1; `hamguard reproduce --list` lists them.")
    ] = None,
    scale: Annotated[
        str,
        typer.Option("--scale", help="small: minutes on two cores; paper: the published data, networks and budgets."),
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of rows, tables and page; runs/NAME-SCALE by default.")
    ] = None,
    cells: Annotated[
        Path | None,
        typer.Option("--cells", help="Folder of finished cells, shared by experiments; `cells` beside --out."),
    ] = None,
    data_root: RootOption = None,
    device: DeviceOption = "auto",
    show_recipe: Annotated[
        bool, typer.Option("--show-recipe", help="Print the recipe instead of running it, to be copied and changed.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the experiments, with their stated times.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a published experiment again: published figure, ours, difference, interval, and each relation that the paper claims.

    A run that was stopped goes on when the same command is given again, and experiments share what they have in common.

    [bold]Examples[/bold]:

    hamguard reproduce ppl-table1 --scale small

    hamguard reproduce saat-table2 --out runs/saat

    hamguard reproduce prosgan-table1 --scale paper --show-recipe
    """
    from hamguard.api.study import study
    from hamguard.core.checks import check_choice
    from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Found
    from hamguard.evaluation.reproduce.run import SCALES, recipe_of
    from hamguard.report.printers import to_terminal
    from hamguard.report.reproduce_table import published_table

    if listed:
        _print_list(list(EXPERIMENTS.values()), as_json=as_json)
        return
    if name is None:
        raise RequestError("give the NAME of an experiment; `hamguard reproduce --list` lists them")
    chosen: Scale = check_choice("scale", scale, SCALES)  # type: ignore[assignment]
    experiment = EXPERIMENTS[name]
    path = recipe_of(experiment, chosen)
    if show_recipe:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    folder = out or Path("runs") / f"{name}-{scale}"
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; --out must be a folder")
    begun = time.monotonic()
    if chosen == "small" and not as_json:
        say(f"{experiment.what}; at small scale: {experiment.small}. About {experiment.minutes} minutes on two cores.")
    context = context_of(device)
    if as_json:
        context = context.but(tell=lambda line: None)
    done = study(path, folder, cells=cells, root=data_root, context=context)
    if done is None:
        return  # another process speaks
    judged = experiment.judge(Found(done, done.cells), chosen)
    title = f"{experiment.source}: {experiment.what}"
    _write(folder, title, experiment, chosen, judged, time.monotonic() - begun)
    if as_json:
        print_json(_values(judged))
        return
    if judged.lines:
        to_terminal(published_table(_lines(judged), title))
    for relation in judged.relations:
        tell(f"{relation.verdict.upper()}: {relation.claim} ({relation.figures})")
    tell(f"{folder / 'report.html'}  rows: {folder / 'rows.jsonl'}  ({time.monotonic() - begun:,.0f} s)")


def _write(folder: Path, title: str, experiment: Experiment, scale: Scale, judged: Comparison, seconds: float) -> None:
    """The page with both figures in front, and all tables as CSV and LaTeX."""
    from dataclasses import replace

    from hamguard import __version__
    from hamguard.core.files import write_json
    from hamguard.report.cells import Section
    from hamguard.report.collect import collect
    from hamguard.report.export import export_tables
    from hamguard.report.reproduce_table import published_table, relation_table
    from hamguard.report.rows_page import rows_report, write_rows_page

    tables = []
    if judged.lines:
        tables.append(published_table(_lines(judged), "Published and ours"))
    tables.append(relation_table([(one.claim, one.verdict, one.figures) for one in judged.relations]))
    words = (
        (f"At small scale: {experiment.small}.",) if scale == "small" else ("Published data, networks and budgets.",)
    )
    report = rows_report(collect([folder]), title)
    front = Section("Published figures beside ours", words, tables)
    verdicts = [f"{one.claim}: {one.verdict} ({one.figures})." for one in judged.relations]
    report = replace(report, sections=[front, *report.sections], sentences=verdicts)
    write_rows_page(report, folder / "report.html")
    export_tables(report, folder / "tables")
    values = _values(judged)
    facts = {"experiment": experiment.name, "scale": scale, "version": __version__, "seconds": round(seconds)}
    lines_of = [one for one in values if "setting" in one]
    write_json(folder / "comparison.json", {**facts, "lines": lines_of, "relations": values[len(lines_of) :]})


def _lines(judged: Comparison) -> list[Line]:
    from hamguard.report.reproduce_table import Line

    return [Line(one.setting, one.published, one.ours, one.difference, one.digits) for one in judged.lines]


def _values(judged: Comparison) -> list[dict[str, object]]:
    """Lines and relations as JSON values."""
    found: list[dict[str, object]] = []
    for line in judged.lines:
        row = line.ours
        found.append(
            {
                "setting": line.setting,
                "published": line.published,
                "ours": row.value if row else None,
                "difference": line.difference,
                "ci95": row.ci95 if row else None,
                "n": row.n if row else None,
            }
        )
    found += [{"claim": one.claim, "verdict": one.verdict, "figures": one.figures} for one in judged.relations]
    return found


def _print_list(known: Sequence[Experiment], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"name": one.name, "source": one.source, "what": one.what, "small": one.small, "minutes": one.minutes}
            for one in known
        )
        return
    from hamguard.report.printers import to_terminal
    from hamguard.report.table import Table

    lines = [(one.name, str(one.minutes), one.what, one.source) for one in known]
    title = "Published experiments; minutes: at small scale, on two cores"
    to_terminal(Table.of(title, ("name", "minutes", "what", "paper"), lines, names=4))
