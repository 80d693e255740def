"""`hamguard privacy`: four searches of models trained on clean or on protected pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hamguard.cli.common import (
    Bar,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    check_suffix,
    choose_device,
    print_json,
    tell,
)
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hamguard.core.rows import Row
    from hamguard.evaluation.protection.protections import Protection
    from hamguard.trainers.job import Job

TASKS = ("C->C", "C->A", "A->C", "A->A", "C->learned", "A->learned")


def privacy(
    protectors: Annotated[
        list[str],
        typer.Argument(
            metavar="PROTECTOR...",
            help="Protector folders, `noise` (the control), or `attack:MODEL` (each picture by itself).",
        ),
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
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Draw the searches over eps, or over --train with one protector (.png, .svg, .pdf)."
        ),
    ] = None,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep models trained on A, too.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train models on clean (C) or protected (A) pictures and search with either in either.

    A protection works where a model trained on C finds C->C alone, and one trained on A finds A->A alone.

    [bold]Examples[/bold]:

    hamguard privacy protectors/fashion --method dsdh --method adsh --bits 16 --out runs/privacy

    hamguard privacy noise --eps 0.3 --data fashion-mnist --out runs/privacy

    hamguard privacy protectors/eps-0.1 protectors/eps-0.3 --plot eps.png --out runs/privacy

    hamguard privacy protectors/fashion --view jpeg:75 --train 1 --augment shift --out runs/privacy
    """
    from hamguard.attacks.threat import parse_eps
    from hamguard.core.context import Context, always
    from hamguard.data.sources import open_source
    from hamguard.evaluation.model_data import require_source
    from hamguard.evaluation.protection.four_searches import Party, Sides, needed, run_cell
    from hamguard.evaluation.protection.protections import protected_pictures
    from hamguard.report.printers import to_terminal
    from hamguard.report.protection_table import privacy_table

    check_suffix("--plot", plot)
    chosen = choose_device(device)
    bound = parse_eps(eps) if eps else None
    found = [_protection(name, bound, steps, seed, tuple(view or ()), str(chosen)) for name in protectors]
    facts = found[0][1]
    source = data or facts.get("source")
    require_source(source, None)
    others = [one.get("source") for _, one in found if data is None and one.get("source") != source]
    if others:
        raise RequestError(f"protectors of {source} and {others[0]} have no data in common; give --data SOURCE")
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
            str(source),
            root=data_root,
            protocol=protocol or (facts.get("protocol") if data is None else None),
            progress=bar.count,
        )
    radius = parse_eps(adversarial_eps) if adversarial_eps else None
    cells: list[Cell] = []
    for protection, _ in found:
        with Bar(f"protecting by {protection.name}") as bar:
            protected = protected_pictures(
                dataset.images, needed(split, queries), protection, keep=out / "pictures", device=chosen, progress=bar
            )
        sides = Sides(dataset, protected, split, protection, queries)
        for request in requests:
            for share in shares:
                for number in seeds or [0]:
                    ask = request.model_copy(update={"seed": number})
                    party = Party(ask, share, adversarial, radius)
                    title = f"{ask.method} {ask.network.bits} bits, trained on {party.trained_on}"
                    with Bar(title) as bar:
                        context = Context(device=chosen, seed=seed, stage=always(bar))
                        rows = run_cell(sides, party, out, context=context, keep_models=keep_models)
                    cells.append(Cell(protection, party.trained_on, share, number, rows))
    if plot:
        _draw(plot, cells, dataset.title)
    if as_json:
        from dataclasses import asdict

        print_json(asdict(row) for cell in cells for row in cell.rows)
        return
    rows = [row for cell in cells for row in cell.rows]
    to_terminal(privacy_table(rows, dataset.title))
    if plot:
        tell(f"plot: {plot}")


class Cell(NamedTuple):
    """One model's searches."""

    protection: Protection
    trained_on: str
    share: float
    seed: int
    rows: list[Row]

    def value(self, task: str) -> float | None:
        """MAP of a search; None where it was not made."""
        return next((row.value for row in self.rows if row.task == task), None)


def _draw(path: Path, cells: Sequence[Cell], title: str) -> None:
    """The four searches over eps, one panel for each kind of training, or over the share with one protection."""
    import numpy as np

    from hamguard.report.plots import STYLES, Panel, Stroke, draw_panels

    bounds = sorted({cell.protection.eps for cell in cells})
    kinds = [None] if len(bounds) == 1 else sorted({cell.share for cell in cells})
    panels = []
    for kind in kinds:
        strokes = []
        for number, task in enumerate(TASKS[:4]):
            places: dict[float, list[float]] = {}
            for cell in cells:
                value = cell.value(task)
                if value is not None and kind in (None, cell.share):
                    places.setdefault(cell.share if kind is None else cell.protection.eps, []).append(value)
            x = np.array(sorted(places))
            strokes.append(Stroke(task, x, np.array([np.mean(places[one]) for one in x]), number, STYLES[number % 4]))
        across = "share of protected training pictures" if kind is None else "eps, in pixel units"
        panels.append(Panel(strokes, across, "MAP" if kind is None else f"MAP, trained on {_domain(kind)}"))
    wide = ": query->database, C clean, A protected" if len(panels) > 1 else ""  # it would be cut above one panel
    draw_panels(panels, path, title=title + wide)


def _domain(share: float) -> str:
    return {0.0: "C", 1.0: "A"}.get(share, f"{share:g} A")


def _protection(
    name: str, eps: float | None, steps: int, seed: int, views: tuple[str, ...], device: str
) -> tuple[Protection, dict[str, str]]:
    """What protects, and where its pictures came from."""
    from dataclasses import replace

    from hamguard.attacks.threat import Linf
    from hamguard.evaluation.protection.protections import by_attack, by_noise, by_protector
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
    source: str,
    protocol: str | None,
    methods: Sequence[str],
    bits: Sequence[int],
    backbones: Sequence[str | None],
    augment: str | None,
    sets: Sequence[str],
) -> list[Job]:
    from hamguard.trainers.words import read_job

    found = []
    for method in methods:
        for backbone in backbones:
            for length in bits:
                flags = {
                    "method": method,
                    "data.source": source,
                    "data.protocol": protocol,
                    "model.bits": length,
                    "model.backbone": backbone,
                    "training.augment": augment,
                }
                found.append(read_job({}, flags, sets, kind="model"))
    return found
