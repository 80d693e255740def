"""Four searches of models trained on clean or on protected images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import parse_eps
from hamguard.core.context import Context, counted
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.data.opened import Data
    from hamguard.evaluation.protection.protections import Protection
    from hamguard.evaluation.study.searches import Searches
    from hamguard.report.table import Table
    from hamguard.trainers.job import Job

__all__ = ["FourSearches", "privacy"]


@checked
def privacy(
    protectors: str | Sequence[str],
    *,
    out: Path | str,
    data: str | None = None,
    root: Path | str | None = None,
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
    settings: Mapping[str, Any] | Sequence[str] = (),
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
        views: what happens to protected images on their way: `jpeg:75`, `resize:0.5`, `blur:1`, ... as `verify` takes them.
        augment: of an adaptive party: random views in training, e.g. `shift-flip`.
        adversarial: of an adaptive party: epochs of adversarial training (SAAT).
        adversarial_eps: its radius; the protection's own by default.
        settings: keys of the models' training with their values, or `key=value` words.
        queries: only the first so many of the query split.
        seeds: of the models.
        keep_models: keep models trained on A, too.
        context: device, seed of noise and attack, and how progress is shown.

    Raises:
        RequestError: no such protector, method or data, protectors without data in common, or words that mean nothing.
        RunError: the loss of a model became NaN, or the folder cannot be written.
    """
    from hamguard.data.opened import Data
    from hamguard.evaluation.protection.four_searches import Party

    context, out = running(context), Path(out)
    names = [protectors] if isinstance(protectors, str) else list(protectors)
    found = [_protection(name, _radius(eps), steps, tuple(views), context) for name in names]
    source, own = _source(data, [facts for _, facts in found])
    jobs = _jobs(source, protocol, methods, bits, backbones, augment, settings)
    _check_room(shares, out)
    with context.stage("reading pictures") as progress:
        opened = Data.open(
            source, root=root, **{**own, "protocol": protocol or own["protocol"]}, progress=counted(progress)
        )
    radius = _radius(adversarial_eps)
    parties = [
        Party(job.model_copy(update={"seed": seed}), share, adversarial, radius)
        for job, share, seed in product(jobs, shares, seeds)
    ]
    cells = []
    for protection, _ in found:
        searches = _searches(opened, protection, queries, out, context, keep_models)
        cells += [Cell(protection.eps, one.ratio, Rows(searches.rows(one, parties))) for one in parties]
    return FourSearches(tuple(cells), opened.dataset.title)


def _source(data: str | None, known: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Source of the data, and how it is opened: as the protectors opened it where none is given."""
    from hamguard.evaluation.model_data import absolute_source, opening, require_source

    source = data or known[0].get("source")
    require_source(source, None)
    others = [one.get("source") for one in known if data is None and one.get("source") != source]
    if others:
        raise RequestError(f"protectors of {source} and {others[0]} have no data in common; give `data=SOURCE`")
    own = [one for one in known if absolute_source(str(one.get("source"))) == absolute_source(str(source))]
    ways = [opening(one) for one in own or [{}]]
    if any(one != ways[0] for one in ways):
        raise RequestError(f"the protectors learned from different splits of {source}; measure them one by one")
    return str(source), ways[0]


def _check_room(shares: Sequence[float], out: Path) -> None:
    for share in shares:
        if not 0 <= share <= 1:
            raise RequestError(f"the share to train on must be in [0, 1], got {share:g}; 0 is clean, 1 is protected")
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; a folder is needed to write to")


def _radius(eps: float | str | None) -> float | None:
    return parse_eps(eps) if isinstance(eps, str) else eps


def _searches(
    data: Data, protection: Protection, queries: int | None, out: Path, context: Context, keep_models: bool
) -> Searches:
    """The searches of all models against one protection."""
    from hamguard.evaluation.protection.four_searches import Sides
    from hamguard.evaluation.study.cells import Cells
    from hamguard.evaluation.study.searches import Searches

    bare = Sides(data.dataset, data.dataset.images, data.split, protection, queries)
    cells = Cells(out / "rows", context.but(tell=lambda line: None), per_query=False)  # bars say what is worked out
    name = f"{protection.name}-{protection.eps:.4g}"
    return Searches(name, cells, bare, out / "models", context, out / "pictures", keep_models)


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
        from hamguard.report.protection_plot import draw_searches

        cells = [
            (cell.eps, cell.share, {row.task: row.value for row in cell.rows if row.task and row.value is not None})
            for cell in self.cells
        ]
        draw_searches(Path(path), cells, self.title)

    def __repr__(self) -> str:
        return f"FourSearches({self.title}: {len(self.cells)} models, {len(self.rows)} rows)"

    def _repr_html_(self) -> str:
        from hamguard.report.table import as_html

        return as_html(self.table())


class Cell(NamedTuple):
    """The searches of one model: eps of the protection, share of protected training images, MAP of each search."""

    eps: float
    share: float
    rows: Rows


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
    if name == "noise" or name.startswith("attack:"):
        if eps is None:
            raise RequestError(f"{name.partition(':')[0]} needs eps, e.g. 8/255")
        Linf(eps)
        if name == "noise":
            return replace(by_noise(eps, context.seed), views=views), {}
        model, card = load_any(name.removeprefix("attack:"), context.device)
        facts = card.data if card else {}
        return replace(by_attack(model, eps, steps, context.seed), views=views), facts
    net, known = load_protector(name)
    if eps is not None:
        Threat(net.norm, eps)
    return replace(by_protector(net.to(context.device), eps, known.method), views=views), known.data


def _jobs(
    source: str,
    protocol: str | None,
    methods: Sequence[str],
    bits: Sequence[int],
    backbones: Sequence[str | None],
    augment: str | None,
    sets: Mapping[str, Any] | Sequence[str],
) -> list[Job]:
    from hamguard.trainers.words import read_job

    shared = {"data.source": source, "data.protocol": protocol, "training.augment": augment}
    return [
        read_job(
            {},
            {**shared, "method": method, "model.backbone": backbone, "model.bits": length},
            sets,
            kind="model",
        )
        for method, backbone, length in product(methods, backbones, bits)
    ]
