"""`hamguard sanity`: seven checks of a defense."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli.common import (
    DataOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    OwnProtocolOption,
    RootOption,
    SeedOption,
    ThreatOption,
    context_of,
    print_json_rows,
    say,
    tell,
)

if TYPE_CHECKING:
    from hamguard.core.rows import Row


def sanity(
    model: Annotated[str, typer.Argument(help="Model folder, package.module:factory, or torch.export file.")],
    start: Annotated[
        str | None,
        typer.Option("--start", help="The model before the defense; without, a substitute that imitates the codes."),
    ] = None,
    eps: EpsOption = "8/255",
    threat: ThreatOption = "linf",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradients of the attack.")] = 30,
    sample: Annotated[int, typer.Option("--sample", min=2, help="Queries to look at, the first of the split.")] = 64,
    answers: Annotated[int, typer.Option("--answers", min=1, help="Pictures that the query-only attack asks.")] = 100,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows to this rows.jsonl.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check whether a defense is robust, or only fools the attack that it is quoted with.

    Seven checks: more budget and more gradients do more harm, pictures of another model and an attacker who sees answers
    only do less, flatter relaxations do no more, targets are reached, noise does nothing. Ends with code 1 if one fails.

    [bold]Examples[/bold]:

    hamguard sanity models/digits --eps 0.2 --sample 20 --steps 10 --answers 30

    hamguard sanity models/digits-saat --start models/digits --eps 0.2
    """
    from hamguard.api.budget import read_budget
    from hamguard.api.defense import sanity as check_sanity
    from hamguard.core.rows import write_rows

    done = check_sanity(
        model,
        data,
        read_budget(threat, eps, steps=steps, queries=answers),
        start=start,
        sample=sample,
        protocol=protocol,
        root=data_root,
        context=context_of(device, seed),
    )
    if out:
        write_rows(out, done.rows)
    if as_json:
        print_json_rows(done.rows)
    else:
        print_sanity(done.rows)
    if out and not as_json:
        say(f"wrote {out}")
    if done.failed:
        raise typer.Exit(1)


def print_sanity(rows: Sequence[Row]) -> None:
    """A line a check and one that sums up."""
    from hamguard.report.audit_table import sanity_lines

    for line in sanity_lines(rows):
        tell(line)
