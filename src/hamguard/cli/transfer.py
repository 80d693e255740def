"""`hamguard transfer`: what pictures made on one model do to others."""

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
    check_suffix,
    context_of,
    key_value,
    print_json_rows,
    say,
)
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal


def transfer(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL [MODEL ...]", help="Models to make pictures on, and to ask with them.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="A model that is only asked, e.g. one without gradients; it gets no score. May be repeated.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Attack, see `hamguard attack --list`; may be repeated. Default: mainstay."),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            help="Approach a target label: no-overlap, other, frequent, distinct, label:NAME, or a saved list.",
        ),
    ] = None,
    eps: EpsOption = "8/255",
    threat: ThreatOption = "linf",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Gradients a picture; the method's own.")] = None,
    guide: Annotated[
        str | None, typer.Option("--guide", help="Guide for methods that take any, as for `attack`.")
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option("--generator", help="Trained generator for prosgan, one for each MODEL in their order."),
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method.")] = None,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows to this rows.jsonl.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the matrices as heat maps (.png, .svg, .pdf).")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures attacked at once.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what an earlier run of it left.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how attacks transfer: pictures are made once on every MODEL and asked of all of them.

    Models may differ in bits, network and hash method; they must take the same query pictures at one size. The first
    table holds the MAP (toward targets the t-MAP) of every pair. The second holds the transfer score: 0 where pictures
    do nothing, 1 where they do as much as those made on the asked model itself. A run that was stopped goes on when the
    same command is given again: finished models are not attacked again.

    [bold]Examples[/bold]:

    hamguard transfer models/digits models/digits16 models/digits-dpsh --eps 0.2 --steps 20

    hamguard transfer models/digits models/digits16 --method dhta --eps 0.2 --picture heat.png

    hamguard transfer models/digits --target models/digits16 --method mifgsm --eps 0.2 --out rows.jsonl
    """
    from hamguard.api.attack import read_attacks
    from hamguard.api.transfer import transfer as run

    check_choice("threat", threat, ("linf", "l2"))
    check_suffix("--picture", picture)
    everyone = [*models, *(target or ())]
    if len(everyone) < 2:
        raise RequestError(f"transfer needs two models or more, got {len(everyone)}: {everyone[0]}")
    specs = read_attacks(
        method or ["mainstay"],
        eps=[eps],
        norm=threat,  # type: ignore[arg-type]
        steps=steps,
        guide=guide,
        targets=targets,
        options=dict(key_value(text) for text in sets or []),
    )
    rows = run(
        models,
        data,
        specs,
        only_asked=target or (),
        generators=generator or (),
        queries=queries,
        protocol=protocol,
        root=data_root,
        context=context_of(device, seed, batch_size, restart=restart),
    )
    if out:
        rows.save(out)
    if picture:
        rows.picture(picture)
    if as_json:
        print_json_rows(rows)
        return
    to_terminal(*rows.tables())
    for written in (picture, out):
        if written:
            say(f"wrote {written}")
