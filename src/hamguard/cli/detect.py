"""`hamguard detect`: a detector of attacked queries, and attacks that know it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import (
    DataOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    ThreatOption,
    context_of,
    print_json_rows,
    say,
    tell,
)


def detect(
    model: Annotated[str, typer.Argument(help="Model folder, package.module:factory, or torch.export file.")],
    eps: EpsOption = "8/255",
    threat: ThreatOption = "linf",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradients of each attack.")] = 30,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="Share of clean validation pictures that may raise the alarm.")
    ] = 0.05,
    neighbors: Annotated[
        int, typer.Option("--neighbors", help="Nearest training codes that are looked at, at least 2.")
    ] = 10,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for detector.json, rows.jsonl and detector.png.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures attacked at once.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Calibrate a detector of attacked queries on clean validation pictures, and attack it.

    One attack does not know the detector, the others do: they keep inside its bounds. What the last line of the table says is
    what the detector is worth.

    [bold]Examples[/bold]:

    hamguard detect models/digits --eps 0.1 --queries 100

    hamguard detect models/digits --eps 0.2 --false-alarms 0.01 --out detectors/digits
    """
    from hamguard.api.budget import read_budget
    from hamguard.api.defense import detect as detect_attacks
    from hamguard.report.printers import to_terminal

    done = detect_attacks(
        model,
        data,
        read_budget(threat, eps, steps=steps),
        false_alarms=false_alarms,
        neighbors=neighbors,
        queries=queries,
        protocol=protocol,
        root=data_root,
        out=out,
        context=context_of(device, seed, batch_size),
    )
    if as_json:
        print_json_rows(done.rows)
        return
    tell(done.alarms)
    to_terminal(done.table())
    if out is not None:
        say(f"wrote {out}")
