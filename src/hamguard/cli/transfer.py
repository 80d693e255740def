"""`hamguard transfer`: what pictures made on one model do to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import Words, check_suffix, context_of, key_values, print_measured
from hamguard.core.errors import RequestError

ModelsArgument = Annotated[
    list[str], typer.Argument(metavar="MODEL [MODEL ...]", help="Models to make pictures on, and to ask with them.")
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="A model that is only asked, e.g. one without gradients; it gets no score. May be repeated.",
    ),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option("--method", help="Attack, see `hamguard attack --list`; may be repeated. Default: mainstay."),
]
GuideOption = Annotated[str | None, typer.Option("--guide", help="Guide for methods that take any, as for `attack`.")]
GeneratorOption = Annotated[
    list[str] | None,
    typer.Option("--generator", help="Trained generator for prosgan, one for each MODEL in their order."),
]
PictureOption = Annotated[
    Path | None, typer.Option("--picture", help="Draw the matrices as heat maps (.png, .svg, .pdf).")
]


def transfer(
    models: ModelsArgument,
    target: TargetOption = None,
    method: MethodOption = None,
    targets: opt.Targets = None,
    eps: opt.Eps = "8/255",
    threat: opt.AttackThreat = None,
    steps: opt.OwnSteps = None,
    guide: GuideOption = None,
    generator: GeneratorOption = None,
    sets: opt.MethodSets = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.Queries = None,
    out: opt.RowsFile = None,
    picture: PictureOption = None,
    batch_size: opt.AttackedAtOnce = 64,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    restart: opt.Restart = False,
    as_json: opt.Json = False,
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

    check_suffix("--picture", picture, out)
    everyone = [*models, *(target or ())]
    if len(everyone) < 2:
        raise RequestError(f"transfer needs two models or more, got {len(everyone)}: {everyone[0]}")
    plan: Words = {"eps": [eps], "norm": threat, "steps": steps, "guide": guide, "targets": targets}
    rows = run(
        models,
        data,
        read_attacks(method or ["mainstay"], **plan, options=key_values(sets)),
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
    print_measured(rows, picture, out, as_json=as_json)
