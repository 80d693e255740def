"""`hamguard data list` and `hamguard data check SOURCE`: what can be used, and what may spoil a figure on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json, say_unread
from hamguard.report.printers import to_terminal

if TYPE_CHECKING:
    from hamguard.api.data import CheckReport

app = typer.Typer(help="List data sources and check them.", no_args_is_help=True)


@app.command("list", epilog="Example: hamguard data list --data-root ~/data")
def list_(data_root: opt.Root = None, as_json: opt.Json = False) -> None:
    """List data sources, what they are, where they are or which files to put where; then the named splits."""
    from hamguard.api.data import sources, splits
    from hamguard.report.data_table import source_table, split_table

    rows = sources(data_root)
    if as_json:
        print_json(rows)
        return
    to_terminal(source_table(rows))
    typer.echo()
    to_terminal(split_table(splits()))


SourceArgument = Annotated[
    str, typer.Argument(help="A name, folder:PATH, arrays:FILE.npz, features:FILE.npz, or lists:DIR (all its lists).")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the split.")]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="FILE.json", help="Write the reports as JSON.")]


@app.command("check", epilog="Example: hamguard data check folder:photos --out report.json")
def check(
    source: SourceArgument,
    data_root: opt.Root = None,
    seed: SeedOption = 0,
    protocol: opt.Protocol = None,
    drop_duplicates: opt.DropDuplicates = False,
    as_json: opt.Json = False,
    out: OutOption = None,
) -> None:
    """Count overlap, copies, repeated lines and missing labels; say chance level and MAP ceiling. Findings exit 0."""
    from hamguard.api.data import check_data
    from hamguard.core.files import write_json

    reports, unread = check_data(
        source,
        root=data_root,
        split_seed=seed,
        protocol=protocol,
        drop_duplicates=drop_duplicates,
        context=context_of("cpu"),
    )
    rows = [report.to_json() for report in reports]
    if out is not None:
        write_json(out, rows)
    if as_json:
        print_json(rows)
    else:
        for report in reports:
            _print_report(report)
        if out is not None:
            typer.echo(f"Report written to {out}")
    say_unread(unread)


def _print_report(report: CheckReport) -> None:
    from hamguard.core.shown import shown
    from hamguard.report.data_table import label_table, part_table

    size = "without pixels" if report.size is None else f"{report.size[0]} x {report.size[1]} pixels"
    title = f"{report.dataset}: {report.pictures:,} pictures, {size}; split {report.protocol}, seed {report.seed}"
    typer.echo(shown(title))
    silent = report.without_text
    to_terminal(part_table(report.counts, report.unlabeled, silent))
    typer.echo()
    if report.label_counts:
        to_terminal(label_table(report.label_counts, report.labels_per_picture))
        typer.echo()
        typer.echo(f"Chance level (MAP of random codes): {report.chance:.3f}")
        typer.echo(f"MAP ceiling: {report.map_ceiling:.3f}")
    for finding in report.findings:
        typer.echo(f"Finding: {finding}")
    if not report.findings:
        texts = " or a text" if silent is not None and not any(silent.values()) else ""
        typer.echo(f"No findings: no overlap, no copies, no picture without a label{texts}.")
    for note in report.notes:
        typer.echo(f"Note: {shown(note)}")
    typer.echo(f"Split hash: {report.digest}\n")
