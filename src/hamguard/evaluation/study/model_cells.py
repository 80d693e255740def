"""The cells of one model, as it was trained or hardened: its search, attacks on it, its audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hamguard.attacks.budget import Budget, Threat
from hamguard.codes.bank import CodeBank
from hamguard.core.rows import Row
from hamguard.evaluation.attack.equal_rmse import with_equal_rmse
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.search.curves import curve_rows
from hamguard.evaluation.search.model_rows import model_rows
from hamguard.evaluation.study.pair_cells import pair_cells
from hamguard.evaluation.study.plan import AttackCell, ModelCell
from hamguard.evaluation.study.study import Queries, Study, facts_of, generator, hardened, trained


def model_chain(study: Study, cell: ModelCell) -> tuple[list[Row], Ground]:
    """All cells of one model: train, search, attack, audit; harden and do it again.

    Returns:
        The rows, and the model before any defense.

    Raises:
        RequestError: something does not fit together.
        RunError: a training failed.
        StoppedError: the study was stopped.
    """
    start = trained(study, cell)
    rows = _cells(study, cell, start, hard=False)
    for defense in cell.defenses:
        rows += _cells(study, cell, hardened(study, cell, start, defense), hard=True)
    return rows, start


def _cells(study: Study, cell: ModelCell, ground: Ground, *, hard: bool) -> list[Row]:
    rows = pair_cells(study, cell, ground, hard=hard) if ground.cross else clean_cell(study, ground)
    for attack in study.plan.attacks:
        if attack.meets(cell, hardened=hard):
            rows += attack_cell(study, ground, attack, generator(study, ground, cell, attack))
    return rows + audit_cell(study, ground)


def clean_cell(study: Study, ground: Ground) -> list[Row]:
    """Rows of the search as it is; learned codes are searched, too, where the method has them."""
    recipe = study.recipe

    def work() -> list[Row]:
        how: dict[str, Any] = {"metrics": recipe.metrics, "convention": recipe.convention}
        rows = model_rows(ground, **how, folder=study.folder(ground))
        if recipe.curves:
            rows += curve_rows(*ground.search(), ground.base)
        return rows

    facts = facts_of(ground, ground.name, recipe.scored, recipe.curves)
    rows = study.cells.rows(f"{ground.name}-clean", facts, work)
    study.found.clean[ground.name] = rows[0]
    return rows


def attack_cell(study: Study, ground: Ground, cell: AttackCell, generator: Path | None = None) -> list[Row]:
    """Rows of one attack on one model, and the main figure of every query for comparisons."""
    recipe, cells = study.recipe, study.cells
    folder = str(generator) if generator else ""
    spec = cell.spec if cell.equal_rmse else with_generator(cell.spec, folder or None)
    name = f"{ground.name}-{cell.name}"
    asked = [cell.spec.content, generator.name if generator else None]
    facts = facts_of(ground, ground.name, *asked, recipe.scored, recipe.curves)
    sheet = cells.path(name, facts, ".png") if cell.sheet and study.drawn else None

    def work() -> list[Row]:
        how: dict[str, Any] = {"metrics": recipe.metrics, "convention": recipe.convention}
        now, note = with_equal_rmse(ground, spec, folder) if cell.equal_rmse else (spec, "")
        found = measure_attack(ground, now, **how, context=study.watching())
        if cells.process_group.leads and sheet and study.drawn:
            study.drawn(sheet, ground, found)
        rows: list[Row] = [replace(row, notes=(*row.notes, note)) for row in found.rows] if note else found.rows
        if recipe.curves:
            rows = [*rows, *curve_rows(_judged(found), ground.database, _main(rows, spec))]
        return rows

    rows = cells.rows(name, facts, work, beside=[sheet] if sheet else [])
    main = _main(rows, spec)
    study.found.queries[ground.name, cell.name] = Queries(main, rows, cells.kept.of(main))
    if sheet:
        caption = f"{ground.name} under {cell.name}: queries before and after, with their answers"
        study.found.pictures.append((caption, sheet))
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


def audit_cell(study: Study, ground: Ground) -> list[Row]:
    """Rows of the audit's worst case."""
    part, cells = study.recipe.audit, study.cells
    if part is None:
        return []
    few = ground.first(part.queries)
    budget = Budget(Threat(part.norm, part.eps), steps=part.steps, queries=part.answers or None)
    plan = AuditPlan(budget, answers=part.answers > 0, substitute=False, checks=() if part.checks else ("none",))

    def work() -> list[Row]:
        if not cells.process_group.leads:
            return []
        watched = few.context.but(work=study.store / "work", stage=cells.watching().stage)
        return run_audit(replace(few, context=watched), plan).rows

    return cells.rows(f"{ground.name}-audit", facts_of(few, ground.name, asdict(plan)), work)
