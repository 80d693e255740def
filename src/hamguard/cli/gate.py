"""`hamguard gate`: limits that measured figures must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import print_json, tell
from hamguard.report.printers import to_terminal

RowsArgument = Annotated[
    list[Path], typer.Argument(metavar="ROWS...", help="Rows files, or folders that hold rows.jsonl.")
]
LimitsOption = Annotated[Path, typer.Option("--limits", help="TOML file of limits.")]
BaselineOption = Annotated[
    Path | None, typer.Option("--baseline", help="Rows measured before; default: those that the limits name.")
]


def gate(
    rows: RowsArgument,
    limits: LimitsOption,
    baseline: BaselineOption = None,
    as_json: opt.Json = False,
) -> None:
    """Hold measured rows against limits, for a CI of your own: ends with code 1 where one is broken.

    A limit names rows by their facts and says at_least, at_most, or how far a figure may fall below (rise above) a
    baseline. Every row it is about must keep it; a limit about no row ends with code 2.

    [bold]Examples[/bold]:

    hamguard gate audits/digits --limits limits.toml

    hamguard gate audits/digits --limits limits.toml --baseline audits/before/rows.jsonl
    """
    from hamguard.api.gate import gate as hold

    found = hold(rows, limits, baseline=baseline)
    if as_json:
        print_json(one.facts for one in found.judged)
    else:
        to_terminal(found.table())
        tell(found.sentence)
    if not found.kept:
        raise typer.Exit(1)
