"""`hamguard sanity`: seven checks of a defense."""

from __future__ import annotations

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
    from hamguard.evaluation.audit.sanity import Sane


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
    from hamguard.api.defense import sanity as check_sanity
    from hamguard.attacks.budget import Budget
    from hamguard.attacks.threat import parse_threat
    from hamguard.core.rows import write_rows

    done = check_sanity(
        model,
        data,
        Budget(parse_threat(threat, eps), steps=steps, queries=answers),
        start=start,
        sample=sample,
        protocol=protocol,
        root=data_root,
        context=context_of(device, seed),
    )
    if out:
        write_rows(out, done.rows)
    print_sanity(done, as_json=as_json)
    if out and not as_json:
        say(f"wrote {out}")
    if done.failed:
        raise typer.Exit(1)


def print_sanity(done: Sane, *, as_json: bool = False) -> None:
    """Rows as JSON lines, or a line a check and one that sums up."""
    if as_json:
        print_json_rows(done.rows)
        return
    words = {True: "passed", False: "FAILED", None: "left out"}
    tell("sanity of the defense")
    for check in done.checks:
        tell(f"{words[check.passed]:<9}{check.name:<16}{check.sentence}")
    made = [check for check in done.checks if check.passed is not None]
    if done.failed:
        tell(f"Do not quote this defense: {', '.join(done.failed)} failed.")
    else:
        tell(f"All {len(made)} checks passed on {done.rows[0].n} queries.")
