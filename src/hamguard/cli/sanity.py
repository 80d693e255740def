"""`hamguard sanity`: seven checks of a defense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import check_places, context_of, print_json_rows, say_written, tell

if TYPE_CHECKING:
    from hamguard.core.rows import Row


StartOption = Annotated[
    str | None,
    typer.Option("--start", help="The model before the defense; without, a substitute that imitates the codes."),
]
StepsOption = Annotated[int, typer.Option("--steps", min=1, help="Gradients of the attack.")]
SampleOption = Annotated[
    int | None,
    typer.Option("--sample", min=2, help="Queries to look at, the first of the split. Default: 64, of photos 16."),
]
AnswersOption = Annotated[int, typer.Option("--answers", min=1, help="Pictures that the query-only attack asks.")]


def sanity(
    model: opt.Model,
    start: StartOption = None,
    eps: opt.Eps = "8/255",
    threat: opt.Threat = "linf",
    steps: StepsOption = 30,
    sample: SampleOption = None,
    answers: AnswersOption = 100,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    out: opt.RowsFile = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
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

    check_places(out)
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
        from hamguard.core.rows import write_rows

        write_rows(out, done.rows)
    if as_json:
        print_json_rows(done.rows)
    else:
        print_sanity(done.rows)
        say_written(out)
    if done.failed:
        raise typer.Exit(1)


def print_sanity(rows: Sequence[Row]) -> None:
    """A line a check and one that sums up."""
    from hamguard.report.audit_table import sanity_lines

    for line in sanity_lines(rows):
        tell(line)
