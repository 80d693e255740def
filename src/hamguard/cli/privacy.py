"""`hamguard privacy`: four searches of models trained on clean or on protected pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.running import Bar
from hamguard.cli import options as opt
from hamguard.cli.common import check_suffix, print_json_rows, tell
from hamguard.core.context import Context
from hamguard.report.printers import to_terminal

ProtectorsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PROTECTOR...",
        help="Protector folders, `noise` (the control), or `attack:MODEL` (each picture by itself).",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder that keeps rows and models; the same command goes on.")]
DataOption = Annotated[str | None, typer.Option("--data", help="Data source; the protector's own where not given.")]
MethodOption = Annotated[
    list[str] | None, typer.Option("--method", help="Hash method of the models; may be repeated (dsdh).")
]
BitsOption = Annotated[list[int] | None, typer.Option("--bits", help="Code length; may be repeated (16).")]
BackboneOption = Annotated[
    list[str] | None, typer.Option("--backbone", help="Network; may be repeated; by picture size where not given.")
]
TrainOption = Annotated[
    list[float] | None,
    typer.Option("--train", help="Share of protected training pictures, 0 (C) to 1 (A); may be repeated (0, 1)."),
]
EpsOption = Annotated[
    str | None, typer.Option("--eps", help="Bound in pixel units, e.g. 8/255; the protector's own by default.")
]
StepsOption = Annotated[int, typer.Option("--steps", min=1, help="Gradient steps of attack:MODEL.")]
ViewOption = Annotated[
    list[str] | None,
    typer.Option("--view", help=f"What happens to protected pictures on their way: {opt.VIEW_FORMS}; may be repeated."),
]
AugmentOption = Annotated[
    str | None, typer.Option("--augment", help="Adaptive party: random views in training, e.g. shift-flip.")
]
AdversarialOption = Annotated[
    int, typer.Option("--adversarial", min=0, help="Adaptive party: epochs of adversarial training (SAAT).")
]
AdversarialEpsOption = Annotated[
    str | None, typer.Option("--adversarial-eps", help="Its radius; the protection's own by default.")
]
SetsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the models' training.")
]
SeedsOption = Annotated[list[int] | None, typer.Option("--seeds", help="Seed of a model; may be repeated (0).")]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", help="Draw the searches over eps, or over --train with one protector (.png, .svg, .pdf)."),
]
KeepModelsOption = Annotated[bool, typer.Option("--keep-models", help="Keep models trained on A, too.")]


def privacy(
    protectors: ProtectorsArgument,
    out: OutOption,
    data: DataOption = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    method: MethodOption = None,
    bits: BitsOption = None,
    backbone: BackboneOption = None,
    train: TrainOption = None,
    eps: EpsOption = None,
    steps: StepsOption = 10,
    view: ViewOption = None,
    augment: AugmentOption = None,
    adversarial: AdversarialOption = 0,
    adversarial_eps: AdversarialEpsOption = None,
    sets: SetsOption = None,
    queries: opt.Queries = None,
    seeds: SeedsOption = None,
    seed: opt.Seed = 0,
    plot: PlotOption = None,
    keep_models: KeepModelsOption = False,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Train models on clean (C) or protected (A) pictures and search with either in either.

    A protection works where a model trained on C finds C->C alone, and one trained on A finds A->A alone.

    [bold]Examples[/bold]:

    hamguard privacy protectors/fashion --method dsdh --method adsh --bits 16 --out runs/privacy

    hamguard privacy noise --eps 0.3 --data fashion-mnist --out runs/privacy

    hamguard privacy protectors/eps-0.1 protectors/eps-0.3 --plot eps.png --out runs/privacy

    hamguard privacy protectors/fashion --view jpeg:75 --train 1 --augment shift --out runs/privacy
    """
    from hamguard.api.privacy import privacy as run

    check_suffix("--plot", plot)
    found = run(
        protectors,
        out=out,
        data=data,
        root=data_root,
        protocol=protocol,
        methods=method or ["dsdh"],
        bits=bits or [16],
        backbones=backbone or [None],
        shares=train if train is not None else [0.0, 1.0],
        eps=eps,
        steps=steps,
        views=view or (),
        augment=augment,
        adversarial=adversarial,
        adversarial_eps=adversarial_eps,
        settings=sets or (),
        queries=queries,
        seeds=seeds or [0],
        keep_models=keep_models,
        context=Context(device=device, seed=seed, stage=Bar),
    )
    if plot:
        found.draw(plot)
    if as_json:
        print_json_rows(found.rows)
        return
    to_terminal(found.table())
    if plot:
        tell(f"plot: {plot}")
