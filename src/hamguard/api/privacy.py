"""Four searches of models trained on clean or on protected images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.attacks.threat import Linf, parse_eps
from hamguard.core.context import Context, always, counted
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row

if TYPE_CHECKING:
    from hamguard.data.opened import Data
    from hamguard.evaluation.protection.protections import Protection
    from hamguard.report.table import Table
    from hamguard.trainers.job import Job

__all__ = ["FourSearches", "privacy"]

TASKS = ("C->C", "C->A", "A->C", "A->A", "C->learned", "A->learned")


def privacy(
    protectors: str | Sequence[str],
    *,
    out: Path | str,
    data: str | None = None,
    root: Path | None = None,
    protocol: str | None = None,
    methods: Sequence[str] = ("dsdh",),
    bits: Sequence[int] = (16,),
    backbones: Sequence[str | None] = (None,),
    shares: Sequence[float] = (0.0, 1.0),
    eps: float | str | None = None,
    steps: int = 10,
    views: Sequence[str] = (),
    augment: str | None = None,
    adversarial: int = 0,
    adversarial_eps: float | str | None = None,
    settings: Sequence[str] = (),
    queries: int | None = None,
    seeds: Sequence[int] = (0,),
    keep_models: bool = False,
    context: Context | None = None,
) -> FourSearches:
    """Train models on clean (C) or protected (A) images and search with either in either.

    A protection works where a model trained on C finds C->C alone, and one trained on A finds A->A alone.

    Args:
        protectors: protector folders, `noise` (the control), or `attack:MODEL` (each image by itself).
        out: folder that keeps rows and models; a run that was stopped goes on.
        data: source; the protector's own by default.
        root: folder of the named data sets.
        protocol: named split.
        methods: hash methods of the models.
        bits: their code lengths.
        backbones: their networks; None for one by the size of the images.
        shares: of protected training images, 0 (C) to 1 (A).
        eps: bound in pixel units, a number or text such as "8/255"; the protector's own by default.
        steps: gradient steps of `attack:MODEL`.
        views: what happens to protected images on their way: `jpeg:75`, `resize:0.5`, `blur:1`.
        augment: of an adaptive party: random views in training, e.g. `shift-flip`.
        adversarial: of an adaptive party: epochs of adversarial training (SAAT).
        adversarial_eps: its radius; the protection's own by default.
        settings: `key=value` words of the models' training.
        queries: only the first so many of the query split.
        seeds: of the models.
        keep_models: keep models trained on A, too.
        context: device, seed of noise and attack, and how progress is shown.

    Raises:
        RequestError: no such protector, method or data, protectors without data in common, or words that mean nothing.
        RunError: the loss of a model became NaN, or the folder cannot be written.
    """
    from hamguard.data.opened import Data
    from hamguard.evaluation.model_data import require_source

    context, out = running(context), Path(out)
    names = [protectors] if isinstance(protectors, str) else list(protectors)
    found = [_protection(name, _radius(eps), steps, tuple(views), context) for name in names]
    facts = found[0][1]
    source = data or facts.get("source")
    require_source(source, None)
    others = [one.get("source") for _, one in found if data is None and one.get("source") != source]
    if others:
        raise RequestError(f"protectors of {source} and {others[0]} have no data in common; give --data SOURCE")
    jobs = _jobs(str(source), protocol, methods, bits, backbones, augment, settings)
    _check_room(shares, out)
    with context.stage("reading pictures") as progress:
        own = facts.get("protocol") if data is None else None
        opened = Data.open(str(source), root=root, protocol=protocol or own, progress=counted(progress))
    radius, cells = _radius(adversarial_eps), []
    for protection, _ in found:
        cells += _cells(
            opened, protection, jobs, shares, seeds, out, queries, keep_models, (adversarial, radius), context
        )
    return FourSearches(tuple(cells), opened.dataset.title)


def _check_room(shares: Sequence[float], out: Path) -> None:
    for share in shares:
        if not 0 <= share <= 1:
            raise RequestError(f"the share to train on must be in [0, 1], got {share:g}; 0 is clean, 1 is protected")
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; a folder is needed to write to")


def _radius(eps: float | str | None) -> float | None:
    return parse_eps(eps) if isinstance(eps, str) else eps


def _cells(
    data: Data,
    protection: Protection,
    jobs: Sequence[Job],
    shares: Sequence[float],
    seeds: Sequence[int],
    out: Path,
    queries: int | None,
    keep_models: bool,
    hardened: tuple[int, float | None],
    context: Context,
) -> list[Cell]:
    """The searches of every model against one protection."""
    from hamguard.evaluation.protection.four_searches import Party, Sides, needed, run_cell
    from hamguard.evaluation.protection.protections import protected_pictures

    dataset, split, cells = data.dataset, data.split, []
    with context.stage(f"protecting by {protection.name}") as progress:
        protected = protected_pictures(
            dataset.images,
            needed(split, queries),
            protection,
            keep=out / "pictures",
            device=context.device,
            progress=progress,
        )
    sides = Sides(dataset, protected, split, protection, queries)
    for job, share, number in product(jobs, shares, seeds):
        ask = job.model_copy(update={"seed": number})
        party = Party(ask, share, *hardened)
        with context.stage(f"{ask.method} {ask.network.bits} bits, trained on {party.trained_on}") as progress:
            rows = run_cell(sides, party, out, context=context.but(stage=always(progress)), keep_models=keep_models)
        cells.append(Cell(protection, party.trained_on, share, number, rows))
    return cells


@dataclass(frozen=True)
class FourSearches:
    """Searches of models trained on clean or protected images.

    Attributes:
        cells: one a model and protection.
        title: of the data.
    """

    cells: tuple[Cell, ...] = field(repr=False)
    title: str

    @property
    def rows(self) -> Rows:
        """MAP of every search."""
        return Rows(row for cell in self.cells for row in cell.rows)

    def table(self) -> Table:
        """One line a protection, hash model and kind of training."""
        from hamguard.report.protection_table import privacy_table

        return privacy_table(self.rows, self.title)

    def draw(self, path: Path | str) -> None:
        """Draw the four searches over eps, a panel for each kind of training; with one protection, over the share.

        Raises:
            RequestError: the file ends in something else than .png, .svg or .pdf.
        """
        _draw(Path(path), self.cells, self.title)

    def _repr_html_(self) -> str:
        from hamguard.report.page import as_html

        return as_html(self.table())


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
    name: str, eps: float | None, steps: int, views: tuple[str, ...], context: Context
) -> tuple[Protection, dict[str, str]]:
    """What protects, and where its pictures came from."""
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
            raise RequestError(f"{name.partition(':')[0]} needs eps, e.g. 8/255")
        if name == "noise":
            return replace(by_noise(eps, context.seed), views=views), {}
        model, card = load_any(name.removeprefix("attack:"), context.device)
        facts = card.data if card else {}
        return replace(by_attack(model, eps, steps, context.seed), views=views), facts
    net, known = load_protector(name)
    return replace(by_protector(net.to(context.device), eps), views=views), known.data


def _jobs(
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
