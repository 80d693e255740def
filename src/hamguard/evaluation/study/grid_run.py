"""All cells of a grid in their order, and what joins several of them: transfer, protections, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hamguard import __version__
from hamguard.core.context import Context, ProcessGroup, always
from hamguard.core.errors import RequestError
from hamguard.core.noted import PAIRED
from hamguard.core.rows import Row, Rows, write_rows
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.transfer import Maker, measure_transfer
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.protection.four_searches import Party, Sides, cell_digest, needed, run_cell
from hamguard.evaluation.protection.protections import Protection, by_noise, by_protector, protected_pictures
from hamguard.evaluation.study.cells import Cells, Told
from hamguard.evaluation.study.grid import Drawn, Grid, Shown, check_before, facts_of, generator_cell, model_chain
from hamguard.evaluation.study.grid_plan import AttackCell, ModelCell, pairs, parties, protector_request
from hamguard.evaluation.study.grid_recipe import GridRecipe, ProtectionsPart
from hamguard.models.protector_store import load_protector
from hamguard.retrieval.intervals import paired_difference
from hamguard.trainers.job import Job
from hamguard.trainers.run import run_job

ROWS = "rows.jsonl"


@dataclass(frozen=True)
class GridResult:
    """A finished grid.

    Attributes:
        rows: all rows, in the order of the recipe; equal ones once.
        pictures: caption and file of each sheet.
        clean: main row of each model's search, by model.
        attacked: main row of each attack, by model and attack.
        cells: all rows of each attack, by model and attack.
    """

    rows: list[Row]
    pictures: list[tuple[str, Path]]
    clean: dict[str, Row]
    attacked: dict[tuple[str, str], Row]
    cells: dict[tuple[str, str], list[Row]]


def run_grid(
    recipe: GridRecipe,
    store: Path,
    *,
    root: Path | None = None,
    device: torch.device | str = "cpu",
    process_group: ProcessGroup | None = None,
    told: Told = lambda text: None,
    drawn: Drawn | None = None,
    shown: Shown | None = None,
) -> GridResult:
    """Run a grid, or what is left of it.

    Args:
        recipe: the grid.
        store: folder of cells and models, shared by grids.
        root: folder of the named data sets.
        device: where to compute.
        process_group: processes that work together.
        told: is told which cell begins.
        drawn: draws the sheet of an attack.
        shown: draws pictures before and after a protection.

    Raises:
        RequestError: something does not fit together.
        RunError: a cell failed.
        StoppedError: a person stopped the run; finished cells stay.
    """
    if store.exists() and not store.is_dir():
        raise RequestError(f"{store} is a file; --cells must be a folder")
    grid = Grid(recipe, Cells(store, told, process_group=process_group or ProcessGroup()), root, device, drawn, shown)
    if recipe.protections and grid.cells.process_group.size > 1:
        raise RequestError("protections run in one process; start them without torchrun")
    plan = grid.plan
    check_before(grid)
    rows: list[Row] = []
    grounds: list[tuple[ModelCell, Ground]] = []
    for cell in plan.models:
        found, ground = model_chain(grid, cell, plan.attacks)
        rows += found
        if recipe.transfer:
            grounds.append((cell, ground))
    rows += _transfer(grid, grounds, plan.attacks)
    for name, part in recipe.protections.items():
        rows += _protected(grid, name, part)
    rows += _compared(grid, plan.models, plan.attacks)
    attacked = {key: one.row for key, one in grid.queries.items()}
    cells = {key: one.rows for key, one in grid.queries.items()}
    return GridResult(Rows(rows).once(), grid.pictures, grid.clean, attacked, cells)


def write_result(found: GridResult, out: Path) -> Path:
    """Write the rows of a grid.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    write_rows(out / ROWS, found.rows)
    return out / ROWS


def _transfer(grid: Grid, grounds: Sequence[tuple[ModelCell, Ground]], attacks: Sequence[AttackCell]) -> list[Row]:
    """Pictures made on each model, or on several together, asked of every model on the same data, seed by seed."""
    part, rows = grid.recipe.transfer, []
    if part is None:
        return []
    for data, seed in dict.fromkeys((cell.data, cell.seed) for cell, _ in grounds):
        same = [(cell, ground) for cell, ground in grounds if (cell.data, cell.seed) == (data, seed)]
        for attack in (one for one in attacks if one.table in part.attacks):
            if len(same) > 1:
                rows += _matrix(grid, data, seed, same, attack)
            for names in part.joint:
                if set(names) <= {cell.name for cell, _ in same}:
                    rows += _joint(grid, names, same, attack)
    return rows


def _matrix(
    grid: Grid, data: str, seed: int, same: Sequence[tuple[ModelCell, Ground]], attack: AttackCell
) -> list[Row]:
    grounds = [ground for _, ground in same]
    folders = [generator_cell(grid, ground, cell, attack) for cell, ground in same]

    def work() -> list[Row]:
        if not grid.cells.process_group.leads:
            return []
        makers = [
            Maker(ground, with_generator(attack.spec, str(folder) if folder else None))
            for ground, folder in zip(grounds, folders, strict=True)
        ]
        return measure_transfer(makers, grounds, work=grid.store / "work").rows

    facts = [
        facts_of(ground, ground.name, folder.name if folder else None)
        for ground, folder in zip(grounds, folders, strict=True)
    ]
    return grid.cells.rows(f"transfer-{data}-{attack.name}", [seed, facts, attack.spec.content], work)


def _joint(grid: Grid, names: Sequence[str], same: Sequence[tuple[ModelCell, Ground]], attack: AttackCell) -> list[Row]:
    part = grid.recipe.transfer
    assert part is not None
    known = {cell.name: ground for cell, ground in same}
    spec = replace(attack.spec, sources=tuple(known[name].loaded for name in names), combine=part.combine)
    rows: list[Row] = []
    for target in known.values():

        def work(target: Ground = target) -> list[Row]:
            return measure_attack(
                target,
                spec,
                work=grid.store / "work",
                metrics=grid.recipe.metrics,
                process_group=grid.cells.process_group,
            ).rows

        facts = [
            facts_of(target, target.name),
            spec.content,
            grid.recipe.metrics,
        ]
        rows += grid.cells.rows(f"{'+'.join(names)}-to-{target.name}-{attack.name}", facts, work)
    return rows


def _protected(grid: Grid, name: str, part: ProtectionsPart) -> list[Row]:
    """Four searches of every party under every protection of a table."""
    rows: list[Row] = []
    recipe = grid.recipe
    for data in part.data or tuple(recipe.data):
        for seed in recipe.seeds:
            for eps in part.eps:
                opened = grid.data(data)
                protection = _protection(grid, name, part, data, eps, seed)
                bare = Sides(opened.dataset, opened.dataset.images, opened.split, protection, recipe.queries)
                asked = parties(part, recipe.data[data], seed)
                rows += _searches(grid, f"{name}-{data}-{eps:.4g}", bare, asked, sheet=part.sheet)
    return rows


def _searches(
    grid: Grid, name: str, bare: Sides, asked: Sequence[tuple[Job, float]], *, sheet: bool = False
) -> list[Row]:
    """Cells of all parties under one protection; the pictures are protected when the first of them needs it."""
    rows: list[Row] = []
    made: list[Sides] = []

    def sides() -> Sides:
        if not made:
            wanted = needed(bare.split, bare.queries)
            pictures = protected_pictures(bare.clean.images, wanted, bare.protection, device=grid.device)
            made.append(replace(bare, protected=pictures))
        return made[0]

    for request, share in asked:
        party = Party(request, share)

        def work(party: Party = party) -> list[Row]:
            return run_cell(
                sides(),
                party,
                grid.store / f"privacy-{__version__}",
                context=Context(device=grid.device, stage=always(lambda share, text: grid.cells.check())),
            )

        net = f"{request.network.backbone or 'default'}-" if len({one.network.backbone for one, _ in asked}) > 1 else ""
        title = f"{name}-{request.method}-{net}{request.network.bits}-{party.trained_on}".replace(" ", "-")
        found = grid.cells.rows(title, cell_digest(bare, party), work)
        several = f"-seed{request.seed}" if len(grid.recipe.seeds) > 1 else ""
        rows += [
            replace(row, model=f"{title}{several}") for row in found
        ]  # not the folder, which has a hash for a name
    if sheet and grid.shown:
        path = grid.cells.path(f"{name}-pictures", [bare.clean.digest, bare.protection.digest], ".png")
        if not path.is_file():
            grid.shown(path, sides())
        grid.pictures.append((f"{name}: pictures before and after, and the difference, stretched", path))
    return rows


def _protection(grid: Grid, name: str, part: ProtectionsPart, data: str, eps: float, seed: int) -> Protection:
    if (part.method or name) == "noise":
        return by_noise(eps, seed)
    learned_on = part.made_on or data
    learned = grid.data(learned_on)
    request = protector_request(part, grid.recipe.data[learned_on], eps, seed)
    folder = grid.place("protectors", f"{name}-{learned_on}-{eps:.4g}", [request.digest, learned.split.digest])
    context = grid.context(f"{name} at {eps:.4g}: training the protector on {learned_on}")
    run_job(request, learned, folder, context=context)
    return by_protector(load_protector(folder)[0].to(grid.device), eps)


def _compared(grid: Grid, models: Sequence[ModelCell], attacks: Sequence[AttackCell]) -> list[Row]:
    """Differences of two attacks, and of a defense and its start, over the same queries, with their paired interval."""
    found: list[Row | None] = []
    compare = grid.recipe.compare
    for cell in models:
        titles = [cell.name, *(f"{cell.name}+{name}" for name in grid.recipe.defenses)]
        for title in titles:
            for first, second in compare.attacks:
                for one, other in pairs(attacks, first, second):
                    found.append(_difference(grid, (title, one.name), (title, other.name), cell.seed))
        for title in titles[1:] if compare.defenses else ():
            for attack in attacks:
                found.append(_difference(grid, (title, attack.name), (cell.name, attack.name), cell.seed))
    return [row for row in found if row]


def _difference(grid: Grid, first: tuple[str, str], second: tuple[str, str], seed: int) -> Row | None:
    """Mean of first minus second over the queries, each a model and an attack; None where one of them was not run."""
    one, other = grid.queries.get(first), grid.queries.get(second)
    if one is None or other is None or one.row.metric != other.row.metric:
        return None
    gap = paired_difference(one.attacked, other.attacked, seed=seed)
    versus = second[1] if first[0] == second[0] else second[0]
    note = PAIRED
    return replace(
        one.row,
        attack={**(one.row.attack or {}), "versus": versus},
        metric=f"{one.row.metric}-difference",
        value=gap.value,
        ci95=(gap.low, gap.high),
        n=gap.n,
        seconds=None,
        forwards=None,
        backwards=None,
        notes=(*one.row.notes, note),
    )
