"""`hamguard detect`: a detector of attacked queries, and attacks that know it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json_rows, say_written, tell
from hamguard.report.printers import to_terminal

FalseAlarmsOption = Annotated[
    float, typer.Option("--false-alarms", help="Share of clean validation pictures that may raise the alarm.")
]
NeighborsOption = Annotated[
    int, typer.Option("--neighbors", help="Nearest training codes that are looked at, at least 2.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for detector.json, rows.jsonl and detector.png.")]


def detect(
    model: opt.Model,
    eps: opt.Eps = "8/255",
    threat: opt.Threat = "linf",
    steps: opt.Steps = 30,
    false_alarms: FalseAlarmsOption = 0.05,
    neighbors: NeighborsOption = 10,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.Queries = None,
    out: OutOption = None,
    batch_size: opt.AttackedAtOnce = 64,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
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
    say_written(out)
