"""`hamguard purify`: clean the pictures before the model sees them, and attack that as one who knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import (
    DataOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    ProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    ThreatOption,
    context_of,
    print_json_rows,
    say,
)

DEFAULT = ("jpeg:75", "resize:0.5", "bits:4")


def purify(
    model: Annotated[
        str,
        typer.Argument(help="Model behind the purifier: model folder, package.module:factory, or torch.export file."),
    ],
    purifiers: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="jpeg:QUALITY, resize:FACTOR, bits:DEPTH, comdefend:FOLDER, joined with +; may be repeated. "
            f"Default: {', '.join(DEFAULT)}.",
        ),
    ] = None,
    eps: EpsOption = "8/255",
    threat: ThreatOption = "linf",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradients of each attack.")] = 30,
    draws: Annotated[
        int, typer.Option("--draws", min=1, help="Draws of a random purifier that each gradient is averaged over.")
    ] = 8,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: ProtocolOption = None,
    queries: QueriesOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows to this rows.jsonl.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures attacked at once.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Purify queries and database before a hash model, and measure what that is worth.

    Each purifier is attacked twice: by pictures that were made on the plain model, and through the purifier by an attacker
    who knows it. Only the second says anything about security. A run that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard purify models/digits --with jpeg:75 --with resize:0.75+bits:4 --eps 0.1 --queries 100

    hamguard train --method comdefend --data digits --out purifiers/digits

    hamguard purify models/digits --with comdefend:purifiers/digits --eps 0.1 --queries 100
    """
    from hamguard.api.budget import read_budget
    from hamguard.api.defense import purify as measure_purified
    from hamguard.core.rows import write_rows
    from hamguard.report.printers import to_terminal

    done = measure_purified(
        model,
        data,
        purifiers or DEFAULT,
        read_budget(threat, eps, steps=steps),
        draws=draws,
        queries=queries,
        protocol=protocol,
        root=data_root,
        context=context_of(device, seed, batch_size),
    )
    if out:
        write_rows(out, done.rows)
    if as_json:
        print_json_rows(done.rows)
    else:
        to_terminal(done.table())
    if out and not as_json:
        say(f"wrote {out}")
