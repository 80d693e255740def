"""`hamguard attack`: move the query pictures so that the search fails, and measure how far it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hamguard.api.names import names
from hamguard.cli.common import (
    DataOption,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    ThreatOption,
    check_suffix,
    context_of,
    key_value,
    print_json,
    print_json_rows,
    say,
)
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal
from hamguard.report.table import Table

METHODS = names("attack")


def attack(
    model: Annotated[
        str | None, typer.Argument(help="Model to attack: model folder, package.module:factory, or torch.export file.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help=f"{METHODS}; cmla is for cross-modal models; may be repeated.")
    ] = None,
    eps: Annotated[
        list[str] | None,
        typer.Option(
            "--eps", help="How far pixels may move, in pixel units of [0, 1]; may be repeated. Default: 8/255."
        ),
    ] = None,
    threat: ThreatOption = "linf",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Gradients a picture; the method's own.")] = None,
    restarts: Annotated[
        int | None, typer.Option("--restarts", min=1, help="Independent starts; the best is kept.")
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="default, paper or code: the published forms.")] = "default",
    guide: Annotated[
        str | None,
        typer.Option("--guide", help=f"{names('guide')}: for methods that take any guide, such as pgd and adaptive."),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            help="Approach a target label: no-overlap, other, frequent, distinct, label:NAME, or a saved list.",
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            "--reference", help="Part whose codes build guides: train, or database as in some published code."
        ),
    ] = "train",
    source_model: Annotated[
        list[str] | None,
        typer.Option("--source-model", help="Make the pictures on this model, score them on MODEL; may be repeated."),
    ] = None,
    generator: Annotated[
        Path | None,
        typer.Option("--generator", help="Trained generator of prosgan, see `hamguard train --method prosgan`."),
    ] = None,
    combine: Annotated[
        str, typer.Option("--combine", help="How several source models join: joint, sum, sum-project, mean.")
    ] = "joint",
    side: Annotated[
        str, typer.Option("--side", help="cmla only: image, text (values of the bag of words), or words (whole words).")
    ] = "image",
    words: Annotated[
        int, typer.Option("--words", min=1, help="With --side words: words added or dropped at most.")
    ] = 2,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method.")] = None,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="As for `evaluate`; may be repeated. Default: map.")
    ] = None,
    ties: Annotated[str, typer.Option("--ties", help="expected, stable, worst or best.")] = "expected",
    norm: Annotated[str, typer.Option("--norm", help="Denominator of map@N: relevant, hits or min.")] = "relevant",
    empty: Annotated[str, typer.Option("--empty", help="Queries without a hit: zero or skip.")] = "zero",
    save_images: Annotated[
        Path | None,
        typer.Option("--save-images", help="Write attacked pictures (PNG), manifest and targets to this folder."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="Draw queries, perturbations, attacked queries and their answers (.png)."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rows to this rows.jsonl.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures or texts attacked at once.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Take gradients from a copy with folded batch norms: faster.")
    ] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what an earlier run of it left.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the methods and their options.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Attack the search: change query pictures within a budget so that their codes leave, or approach, a guide code.

    Every figure is computed from pictures rounded to 8 bits and encoded again. Beside each attack stand the clean
    picture, random codes, noise of the same budget, and the guide code itself, which is what the attack aims at.
    A run that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard attack models/digits --method hag --method mainstay --eps 0.2

    hamguard attack models/digits --method dhta --eps 0.2 --save-images attacked --sheet attacked.png

    hamguard attack models/digits --method adaptive --guide mainstay --targets label:3 --eps 0.2 --steps 20

    hamguard attack models/digits --method hag --eps 0.2 --source-model models/other

    hamguard attack models/scenes --method cmla --side words --words 2
    """
    if listed:
        _print_methods(as_json=as_json)
        return
    from hamguard.api.attack import AttackRows, read_attacks, read_text_attack
    from hamguard.api.attack import attack as run

    if model is None or not method:
        raise RequestError("give a MODEL and a --method; `hamguard attack --list` lists the methods")
    check_choice("threat", threat, ("linf", "l2"))
    check_choice("side", side, ("image", "text", "words"))
    check_suffix("--sheet", sheet)
    options = dict(key_value(text) for text in sets or [])
    asked: Any
    if side != "image":
        others = {
            "--save-images": save_images,
            "--sheet": sheet,
            "--source-model": source_model,
            "--targets": targets,
            "--guide": guide,
            "--generator": generator,
            "--restarts": restarts,
            "--threat l2": threat == "l2",
            "--reference": reference == "database",
        }
        if refused := [name for name, value in others.items() if value]:
            raise RequestError(f"{', '.join(refused)}: belongs to pictures; leave out with --side {side}")
        asked = read_text_attack(method, side, words=words, eps=eps or (), steps=steps, preset=preset, options=options)
    else:
        asked = read_attacks(
            method,
            eps=eps or (),
            norm=threat,  # type: ignore[arg-type]
            steps=steps,
            restarts=restarts,
            preset=preset,
            guide=guide,
            targets=targets,
            reference=reference,  # type: ignore[arg-type]
            options=options,
            combine=combine,  # type: ignore[arg-type]
            fold=fold,
            generator=generator,
        )
        if len(asked) > 1 and (save_images or sheet):
            raise RequestError(f"--save-images and --sheet take one method and one eps, got {len(asked)} attacks")
    rows = run(
        model,
        data,
        asked,
        source_models=source_model or (),
        combine=combine,  # type: ignore[arg-type]
        modality="image" if side == "image" else "text",
        queries=queries,
        metrics=tuple(metric or ("map",)),
        ties=ties,  # type: ignore[arg-type]
        norm=norm,  # type: ignore[arg-type]
        empty=empty,  # type: ignore[arg-type]
        save_images=save_images,
        protocol=protocol,
        root=data_root,
        context=context_of(device, seed, batch_size, restart=restart),
    )
    if out:
        rows.save(out)
    if sheet and isinstance(rows, AttackRows):
        rows.sheet(sheet)
    if as_json:
        print_json_rows(rows)
    else:
        to_terminal(*rows.tables())
        for written in (save_images, sheet, out):
            if written:
                say(f"wrote {written}")


def _print_methods(*, as_json: bool) -> None:
    """Every method: what it is, its direction, its presets and options."""
    from hamguard.api.names import attacks_listed

    listed = attacks_listed()
    if as_json:
        print_json(listed)
        return
    lines = [
        (one["method"], one["direction"], ", ".join(one["presets"]), ", ".join(one["options"]), one["title"])
        for one in listed
    ]
    to_terminal(Table.of("", ("method", "direction", "presets", "options", "what it is"), lines))
