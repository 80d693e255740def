"""`hamguard privacy`: four searches of models trained on clean or on protected pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli.common import (
    Bar,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    choose_device,
    print_json,
    print_table,
    require_source,
)
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hamguard.core.rows import Row
    from hamguard.evaluation.protections import Protection
    from hamguard.training.request import TrainRequest

TASKS = ("C->C", "C->A", "A->C", "A->A", "C->learned", "A->learned")


def privacy(
    protector: Annotated[
        str, typer.Argument(help="Protector folder, `noise` (the control), or `attack:MODEL` (each picture by itself).")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder that keeps rows and models; the same command goes on.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Data source; the protector's own where not given.")
    ] = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Hash method of the models; may be repeated (dsdh).")
    ] = None,
    bits: Annotated[list[int] | None, typer.Option("--bits", help="Code length; may be repeated (16).")] = None,
    backbone: Annotated[
        list[str] | None, typer.Option("--backbone", help="Network; may be repeated; by picture size where not given.")
    ] = None,
    train: Annotated[
        list[float] | None,
        typer.Option("--train", help="Share of protected training pictures, 0 (C) to 1 (A); may be repeated (0, 1)."),
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Bound in pixel units, e.g. 8/255; the protector's own by default.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradient steps of attack:MODEL.")] = 10,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", help="What happens to protected pictures on their way: jpeg:75, resize:0.5, blur:1 ..."),
    ] = None,
    augment: Annotated[
        str | None, typer.Option("--augment", help="Adaptive party: random views in training, e.g. shift-flip.")
    ] = None,
    adversarial: Annotated[
        int, typer.Option("--adversarial", min=0, help="Adaptive party: epochs of adversarial training (SAAT).")
    ] = 0,
    adversarial_eps: Annotated[
        str | None, typer.Option("--adversarial-eps", help="Its radius; the protection's own by default.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the models' training.")
    ] = None,
    queries: QueriesOption = None,
    seeds: Annotated[list[int] | None, typer.Option("--seeds", help="Seed of a model; may be repeated (0).")] = None,
    seed: SeedOption = 0,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep models trained on A, too.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train models on clean (C) or protected (A) pictures and search with either in either.

    A protection works where a model trained on C finds C->C alone, and one trained on A finds A->A alone.

    [bold]Examples[/bold]:

    hamguard privacy protectors/fashion --method dsdh --method adsh --bits 16 --out runs/privacy

    hamguard privacy noise --eps 0.3 --data fashion-mnist --out runs/privacy

    hamguard privacy protectors/fashion --view jpeg:75 --train 1 --augment shift --out runs/privacy
    """
    from hamguard.attacks.threat import parse_eps
    from hamguard.data.sources import open_source
    from hamguard.evaluation.four_searches import Party, Sides, needed, run_cell
    from hamguard.evaluation.protections import protected_pictures

    chosen = choose_device(device)
    protection, facts = _protection(
        protector, parse_eps(eps) if eps else None, steps, seed, tuple(view or ()), str(chosen)
    )
    source = data or facts.get("source")
    require_source(source, None)
    requests = _requests(
        str(source), protocol, method or ["dsdh"], bits or [16], backbone or [None], augment, sets or []
    )
    shares = train if train is not None else [0.0, 1.0]
    for share in shares:
        if not 0 <= share <= 1:
            raise RequestError(f"--train must be in [0, 1], got {share:g}; 0 is clean, 1 is protected")
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; --out must be a folder")
    with Bar("reading pictures") as bar:
        dataset, split = open_source(
            str(source), root=data_root, protocol=protocol or (facts.get("protocol") if data is None else None),
            progress=bar.count,
        )  # fmt: skip
    rows_of = needed(split, queries)
    with Bar(f"protecting by {protection.name}") as bar:
        protected = protected_pictures(
            dataset.images, rows_of, protection, keep=out / "pictures", device=chosen, progress=bar
        )
    sides = Sides(dataset, protected, split, protection, queries)
    rows: list[Row] = []
    table = []
    for request in requests:
        for share in shares:
            for number in seeds or [0]:
                ask = request.model_copy(update={"seed": number})
                party = Party(ask, share, adversarial, parse_eps(adversarial_eps) if adversarial_eps else None)
                with Bar(f"{ask.method} {ask.model.bits} bits, trained on {party.trained_on}") as bar:
                    found = run_cell(
                        sides, party, out, seed=seed, device=chosen, keep_models=keep_models, progress=bar
                    )  # fmt: skip
                rows += found
                table.append(_line(party.trained_on, number, found))
    if as_json:
        from dataclasses import asdict

        print_json(asdict(row) for row in rows)
        return
    title = f"MAP of {dataset.title}, pictures protected by {_title(protection)}; query->database, C clean, A protected"
    columns = [task for task in TASKS if any(row.task == task for row in rows)]
    print_table(
        title, ("method", "network", "bits", "seed", "trained on", *columns),
        [(*head, *(values.get(task, "") for task in columns)) for head, values in table],
    )  # fmt: skip
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        typer.echo(f"Note: {note}")
    if "C->learned" in columns:
        typer.echo(
            "Note: learned codes are those that ADSH found for its training pictures; that database is the training part"
        )


def _title(protection: Protection) -> str:
    views = f", then {', '.join(protection.views)}" if protection.views else ""
    return f"{protection.name}, eps {protection.eps:.4g}{views}"


def _line(trained_on: str, number: int, rows: Sequence[Row]) -> tuple[tuple[str, ...], dict[str, str]]:
    first = rows[0]
    head = (str(first.method), str(first.backbone), str(first.bits), str(number), trained_on)
    return head, {str(row.task): f"{row.value:.4f}" for row in rows if row.value is not None}


def _protection(
    name: str, eps: float | None, steps: int, seed: int, views: tuple[str, ...], device: str
) -> tuple[Protection, dict[str, str]]:
    """What protects, and where its pictures came from."""
    from dataclasses import replace

    from hamguard.attacks.threat import Linf
    from hamguard.evaluation.protections import by_attack, by_noise, by_protector
    from hamguard.images.named_views import parse_view
    from hamguard.models.protector_store import load_protector
    from hamguard.models.store import load_any

    for text in views:
        parse_view(text)
    if eps is not None:
        Linf(eps)
    if name == "noise" or name.startswith("attack:"):
        if eps is None:
            raise RequestError(f"{name.partition(':')[0]} needs --eps, e.g. --eps 8/255")
        if name == "noise":
            return replace(by_noise(eps, seed), views=views), {}
        model, card = load_any(name.removeprefix("attack:"), device)
        facts = card.data if card else {}
        return replace(by_attack(model, eps, steps, seed), views=views), facts
    net, known = load_protector(name)
    return replace(by_protector(net.to(device), eps), views=views), known.data


def _requests(
    source: str, protocol: str | None, methods: Sequence[str], bits: Sequence[int], backbones: Sequence[str | None],
    augment: str | None, sets: Sequence[str],
) -> list[TrainRequest]:  # fmt: skip
    from hamguard.training.request import build_request

    found = []
    for method in methods:
        for backbone in backbones:
            for length in bits:
                flags = {
                    "method": method, "data.source": source, "data.protocol": protocol, "model.bits": length,
                    "model.backbone": backbone, "training.augment": augment,
                }  # fmt: skip
                found.append(build_request({}, flags, sets))
    return found
