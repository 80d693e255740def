"""`hamguard purify`: clean the pictures before the model sees them, and attack that as one who knows."""

from __future__ import annotations

from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import check_places, context_of, print_json_rows, say_written
from hamguard.report.printers import to_terminal

DEFAULT = ("jpeg:75", "resize:0.5", "bits:4")


ModelArgument = Annotated[
    str,
    typer.Argument(help="Model behind the purifier: model folder, package.module:factory, or torch.export file."),
]
PurifiersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        help="jpeg:QUALITY, resize:FACTOR, bits:DEPTH, comdefend:FOLDER, joined with +; may be repeated. "
        f"Default: {', '.join(DEFAULT)}.",
    ),
]
DrawsOption = Annotated[
    int, typer.Option("--draws", min=1, help="Draws of a random purifier that each gradient is averaged over.")
]


def purify(
    model: ModelArgument,
    purifiers: PurifiersOption = None,
    eps: opt.Eps = "8/255",
    threat: opt.Threat = "linf",
    steps: opt.Steps = 30,
    draws: DrawsOption = 8,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.Protocol = None,
    queries: opt.Queries = None,
    out: opt.RowsFile = None,
    batch_size: opt.AttackedAtOnce = 64,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
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

    check_places(out)
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
        done.rows.save(out)
    if as_json:
        print_json_rows(done.rows)
        return
    to_terminal(done.table())
    say_written(out)
