"""A grid at work, cell by cell: train, search, attack, audit, harden, attack again, transfer, protect, compare.

Every cell is known by the content of what was asked: hashes of data, split and weights, and the whole request. It is worked out
once, kept in a folder that grids share, and found again after a kill. With several processes (torchrun) the pictures of an attack
are divided among them; a cell is written by the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from hamguard.attacks.budget import Budget, Threat
from hamguard.codes.bank import CodeBank
from hamguard.codes.histograms import distance_histograms
from hamguard.core.archives import read_npz
from hamguard.core.context import Context, ProcessGroup, always
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError, RunError
from hamguard.core.files import write_npz
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.data.opened import Data
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.protection.four_searches import Sides
from hamguard.evaluation.search.curves import curve_rows
from hamguard.evaluation.search.model_rows import model_rows
from hamguard.evaluation.search.score import measure, parse_metric
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.grid_plan import AttackCell, GridPlan, ModelCell, expand, generator_request, hardening
from hamguard.evaluation.study.grid_recipe import GridRecipe
from hamguard.models.store import load_any, load_folder
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job
from hamguard.training.distributed import wait
from hamguard.training.encode import packed_codes

Drawn = Callable[[Path, Ground, Measured], None]
Shown = Callable[[Path, Sides], None]


@dataclass(frozen=True)
class Queries:
    """An attack on a model, query by query.

    Attributes:
        row: its main row: the first metric, under the target labels where it approaches a target.
        rows: all its rows.
        attacked: the same figure of each attacked query, `(Q,)`.
    """

    row: Row
    rows: list[Row]
    attacked: Floats


@dataclass
class Grid:
    """A recipe at work.

    Attributes:
        recipe: what was asked for.
        cells: finished pieces, shared by grids.
        root: folder of the named data sets.
        device: where to compute.
        drawn: draws the sheet of an attack into a file.
        shown: draws pictures before and after a protection into a file.
        pictures: caption and file of each sheet.
        clean: main row of each model's search.
        queries: by (model, attack), what comparisons ask for.
    """

    recipe: GridRecipe
    cells: Cells
    root: Path | None = None
    device: torch.device | str = "cpu"
    drawn: Drawn | None = None
    shown: Shown | None = None
    pictures: list[tuple[str, Path]] = field(default_factory=list)
    clean: dict[str, Row] = field(default_factory=dict)
    queries: dict[tuple[str, str], Queries] = field(default_factory=dict)
    _opened: dict[str, Data] = field(default_factory=dict)

    @property
    def plan(self) -> GridPlan:
        """Every model and attack."""
        return expand(self.recipe)

    @property
    def store(self) -> Path:
        """Folder of cells, models and unfinished work."""
        return self.cells.folder

    def data(self, name: str) -> Data:
        """A data set of the recipe, opened once.

        Raises:
            RequestError: the data are not here, or do not agree with themselves.
        """
        if name not in self._opened:
            self._opened[name] = self.recipe.data[name].open(self.root)
        return self._opened[name]

    def place(self, kind: str, name: str, facts: Any) -> Path:
        """Folder of something trained: its name for people, the hash of all facts for us."""
        return self.store / kind / f"{name}-{digest_json([facts, self.cells.process_group.size])}"

    def context(self, name: str, process_group: ProcessGroup | None = None) -> Context:
        """Where a training runs: it says that it began, and stops where nobody waits any more."""
        said: list[str] = []

        def progress(share: float, text: str) -> None:
            if not said:
                said.append(name)
                self.cells.told(name)
            self.cells.check()

        return Context(
            device=self.device, process_group=process_group or self.cells.process_group, stage=always(progress)
        )


def train_cell(grid: Grid, cell: ModelCell) -> Ground:
    """The trained (or loaded) model of a cell on its data.

    Raises:
        RequestError: something does not fit together.
        RunError: the loss became NaN.
        StoppedError: a person stopped the run.
    """
    data = grid.data(cell.data)
    if cell.request is None:
        return _ground(grid, cell, cell.load, data)
    folder = grid.place("models", cell.name, [cell.request.digest, data.split.digest])
    run_job(cell.request, data, folder, context=grid.context(f"{cell.name}: training"))
    return _ground(grid, cell, str(folder), data)


def check_before(grid: Grid) -> None:
    """Open all data and load all given models: what is wrong with them costs no training.

    Raises:
        RequestError: data that are not here or carry no labels, a model that is none, does not fit its data or returns NaN, or one
            that cannot be trained on though a defense asks for it.
    """
    recipe, models = grid.recipe, grid.plan.models
    wanted = [cell.data for cell in models]
    for part in recipe.protections.values():
        wanted += [*(part.data or recipe.data), *([part.made_on] if part.made_on else [])]
    for name in dict.fromkeys(wanted):
        dataset = grid.data(name).dataset
        if not dataset.labels.any():
            raise RequestError(
                f"table data.{name}: {dataset.name} has no labels, so nothing is relevant; a grid needs them"
            )
    for cell in models:
        if cell.request is not None:
            continue
        data = grid.data(cell.data)
        try:
            model, card = load_any(cell.load)
            packed_codes(model, data.dataset.images, data.split.query[:1])
        except (RequestError, RunError) as error:
            raise RequestError(f"table models.{cell.table}: {error}") from error
        trained = [name for name, part in recipe.defenses.items() if cell.table in (part.models or (cell.table,))]
        if trained and card is None:
            raise RequestError(
                f"table defenses.{trained[0]}: {cell.load} is no model folder, so it cannot be trained on"
            )


def _ground(grid: Grid, cell: ModelCell, folder: str, data: Data, name: str = "") -> Ground:
    loaded = Loaded.open(folder, name=name or cell.name, device=torch.device(grid.device))
    context = Context(device=grid.device, seed=cell.seed)
    return Ground.open(loaded, data, queries=grid.recipe.queries, context=context)


def facts_of(ground: Ground, *more: Any) -> list[Any]:
    """What decides a cell of a model."""
    return [ground.model.digest, ground.split.digest, len(ground.query), ground.seed, ground.batch_size, *more]


def clean_cell(grid: Grid, ground: Ground, folder: Path | None = None) -> list[Row]:
    """Rows of the search as it is; learned codes are searched, too, where the method has them."""
    recipe = grid.recipe

    def work() -> list[Row]:
        rows = model_rows(ground, metrics=recipe.metrics, folder=folder)
        if recipe.curves:
            rows += curve_rows(*ground.search(), ground.base)
        return rows

    facts = facts_of(ground, ground.name, recipe.metrics, recipe.curves)
    rows = grid.cells.rows(f"{ground.name}-clean", facts, work)
    grid.clean[ground.name] = rows[0]
    return rows


def attack_cell(grid: Grid, ground: Ground, cell: AttackCell, generator: Path | None = None) -> list[Row]:
    """Rows of one attack on one model; the main figure of every query is kept beside them for comparisons."""
    recipe, part = grid.recipe, grid.recipe.attacks[cell.table]
    spec = with_generator(cell.spec, str(generator) if generator else None)
    asked = cell.spec.content
    name = f"{ground.name}-{cell.name}"
    facts = facts_of(ground, ground.name, asked, generator.name if generator else None, recipe.metrics, recipe.curves)
    kept, sheet = (grid.cells.path(name, facts, suffix) for suffix in (".npz", ".png"))
    sheet = sheet if part.sheet and grid.drawn else Path()
    process_group = grid.cells.process_group

    def work() -> list[Row]:
        found = measure_attack(
            ground,
            spec,
            work=grid.store / "work",
            metrics=recipe.metrics,
            process_group=process_group,
            progress=lambda share, text: grid.cells.check(),
        )
        if process_group.leads:
            _keep_values(kept, ground, found, recipe.metrics[0])
            if sheet.name and grid.drawn:
                grid.drawn(sheet, ground, found)
        rows: list[Row] = found.rows
        if recipe.curves:
            rows = [*rows, *curve_rows(_judged(found), ground.database, _main(rows, spec))]
        return rows

    rows = grid.cells.rows(name, facts, work, beside=[kept, *([sheet] if sheet.name else [])])
    values = read_npz(kept, "figures of queries", sealed=True)["attacked"]
    grid.queries[ground.name, cell.name] = Queries(_main(rows, spec), rows, values)
    if sheet.name:
        grid.pictures.append((f"{ground.name} under {cell.name}: queries before and after, with their answers", sheet))
    return rows


def _main(rows: Sequence[Row], spec: AttackSpec) -> Row:
    """The row that tables and comparisons show: rows of an attack begin with the first metric."""
    return next(
        row
        for row in rows
        if row.attack and row.attack["method"] == spec.name and str(row.metric).startswith("t-") == spec.toward
    )


def _judged(found: Measured) -> CodeBank:
    """Codes of the attacked queries with the labels that count: those of the targets where there are any."""
    bank = found.sides.attacked
    return bank if found.targets is None else replace(bank, labels=found.targets.labels)


def _keep_values(path: Path, ground: Ground, found: Measured, metric: str) -> None:
    bank = _judged(found)
    score = measure(*parse_metric(metric), bank, ground.database, distance_histograms(bank, ground.database))
    write_npz(path, {"attacked": score.values})


def audit_cell(grid: Grid, ground: Ground) -> list[Row]:
    """Rows of the audit's worst case."""
    part = grid.recipe.audit
    if part is None:
        return []
    few = ground.first(part.queries)
    budget = Budget(Threat(part.norm, part.eps), steps=part.steps, queries=part.answers or None)
    plan = AuditPlan(budget, answers=part.answers > 0, substitute=False, checks=() if part.checks else ("none",))

    def work() -> list[Row]:
        if not grid.cells.process_group.leads:
            return []
        watched = few.context.but(
            work=grid.store / "work", stage=lambda what: nullcontext(lambda share, text: grid.cells.check())
        )
        return run_audit(replace(few, context=watched), plan).rows

    return grid.cells.rows(f"{ground.name}-audit", facts_of(few, ground.name, asdict(plan)), work)


def generator_cell(grid: Grid, ground: Ground, cell: ModelCell, attack: AttackCell) -> Path | None:
    """Folder of the generator that an attack needs against this model; None where it needs none."""
    part = grid.recipe.attacks[attack.table].generator
    if part is None:
        return None
    request = generator_request(part, grid.recipe.data[cell.data], cell.seed)
    folder = grid.place("generators", f"{ground.name}-{attack.table}", [request.digest, ground.model.digest])
    if grid.cells.process_group.leads:
        context = grid.context(f"{ground.name}: training the generator of {attack.table}", ProcessGroup())
        victim = Start(ground.name, ground.model, ground.card)
        run_job(request, ground.data, folder, start=[victim], context=context)
    wait(grid.cells.process_group)
    return folder


def harden_cell(grid: Grid, ground: Ground, cell: ModelCell, start: Path, name: str) -> tuple[Ground, Path]:
    """The hardened model of a cell.

    Raises:
        RequestError: a model that is no folder of ours cannot be trained on.
    """
    request = hardening(grid.recipe, name, cell.data, cell.seed)
    title = f"{cell.name}+{name}"
    folder = grid.place("models", title, [request.digest, ground.split.digest, ground.model.digest])
    data = ground.data
    begun = Start(ground.name, ground.model, ground.card, start)
    run_job(request, data, folder, start=[begun], context=grid.context(f"{title}: training"))
    hardened = _ground(grid, cell, str(folder), data, title)
    return hardened, folder


def model_chain(grid: Grid, cell: ModelCell, attacks: Sequence[AttackCell]) -> tuple[list[Row], Ground]:
    """All cells of one model; the ground is given back for transfer."""
    recipe = grid.recipe
    ground = train_cell(grid, cell)
    folder = _folder(grid, cell, ground)
    rows = clean_cell(grid, ground, folder)
    own = [one for one in attacks if cell.table in (recipe.attacks[one.table].models or (cell.table,))]
    for attack in own:
        rows += attack_cell(grid, ground, attack, generator_cell(grid, ground, cell, attack))
    rows += audit_cell(grid, ground)
    for name, part in recipe.defenses.items():
        if cell.table not in (part.models or (cell.table,)):
            continue
        assert folder is not None, "check_before refuses it"
        hardened, made = harden_cell(grid, ground, cell, folder, name)
        rows += clean_cell(grid, hardened, made)
        for attack in own:
            if recipe.attacks[attack.table].defended:
                rows += attack_cell(grid, hardened, attack, generator_cell(grid, hardened, cell, attack))
        rows += audit_cell(grid, hardened)
    return rows, ground


def _folder(grid: Grid, cell: ModelCell, ground: Ground) -> Path | None:
    """Model folder of a cell; None for a foreign model."""
    if cell.request is not None:
        return grid.place("models", cell.name, [cell.request.digest, ground.split.digest])
    try:
        load_folder(Path(cell.load))
    except RequestError:
        return None
    return Path(cell.load)
