"""The cells of one cross-modal model: four searches with their curves, CMLA on images and texts, edited words, the trade-off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.cmla import cmla, cmla_text, cmla_words
from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank
from hamguard.core.archives import read_npz
from hamguard.core.files import write_npz
from hamguard.core.noted import TRADEOFF
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Modality
from hamguard.evaluation.attack.cross_modal import pair_rows
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.rows import Sides
from hamguard.evaluation.attack.run import AttackedSet
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import ACROSS, Ground
from hamguard.evaluation.search.cross_modal import agreement_row, cross_curves, cross_points, cross_rows
from hamguard.evaluation.study.cross_recipe import AttackPart, CrossRecipe
from hamguard.evaluation.study.plan import ModelCell
from hamguard.evaluation.study.study import Study, facts_of

METRICS = ("map", "precision@1000")


@dataclass(frozen=True)
class CmlaCell:
    """CMLA on one modality.

    Attributes:
        attack: the attack, with as many steps as the last mark.
        marks: numbers of gradients to look after.
    """

    attack: Attack[Any]
    marks: Sequence[int]

    @property
    def modality(self) -> Modality:
        """What is changed."""
        return self.attack.modality

    def spec(self, *, control: bool = False) -> AttackSpec:
        """What is asked of the attack."""
        return AttackSpec(self.attack, across=True, marks=tuple(self.marks), control=control)

    @property
    def published(self) -> bool:
        """Whether it is the one-sided printed form."""
        return self.attack.threat.one_sided

    def name(self, model: str) -> str:
        """What people call the cell."""
        return f"{model}-{'published' if self.published else 'cmla'}-{self.modality}-{self.attack.threat.eps:.3g}"

    def facts(self, ground: Ground) -> list[Any]:
        """What decides it."""
        return facts_of(ground, self.modality, repr(self.attack), list(self.marks))

    def made(self, study: Study, ground: Ground) -> Path:
        """File of the changed items after the last mark."""
        return study.cells.path(self.name(ground.name), self.facts(ground), ".npz")


def cmla_cells(part: AttackPart, *, published: bool = False, hard: bool = False) -> list[CmlaCell]:
    """CMLA on images, and on texts: ours at every radius, the published form at its own; none where no steps were asked for."""
    marks = part.marks(published=published, hard=hard)
    if not marks:
        return []
    if published:
        return [CmlaCell(make(steps=max(marks), preset="paper"), marks) for make in (cmla, cmla_text)]
    texts = [CmlaCell(cmla_text(steps=max(marks), threat=Linf(eps)), marks) for eps in part.text_eps]
    return [CmlaCell(cmla(steps=max(marks), threat=Linf(part.eps)), marks), *texts]


def pair_cells(study: Study, cell: ModelCell, ground: Ground, *, hard: bool) -> list[Row]:
    """All cells of a cross-modal model but its attacks of one modality; a hardened one is searched and attacked alone."""
    recipe = recipe_of(study)
    part, rows = recipe.attack, _searched(study, ground)
    for published in (False, True):
        for one in cmla_cells(part, published=published, hard=hard):
            rows += _attacked(study, ground, one, hard=hard)
    if hard:
        return rows
    for most in recipe.words.edits if recipe.words else ():
        edits = AttackSpec(cmla_words(most=most))

        def work(edits: AttackSpec = edits) -> list[Row]:
            return measure_attack(ground, edits, metrics=METRICS, context=study.watching()).rows

        rows += study.cells.rows(f"{ground.name}-words-{most}", facts_of(ground, repr(edits.attack)), work)
    return rows + _tradeoff(study, cell)


def recipe_of(study: Study) -> CrossRecipe:
    """The recipe of a study of cross-modal models."""
    assert isinstance(study.recipe, CrossRecipe)
    return study.recipe


def _searched(study: Study, ground: Ground) -> list[Row]:
    """Clean rows of the four searches, and their curves beside."""
    name, facts = ground.name, facts_of(ground)
    study.found.curves[f"{name} clean"] = study.cells.facts(f"{name}-curves", facts, lambda: _curves(ground, {}))
    rows = study.cells.rows(f"{name}-clean", [*facts, METRICS], lambda: cross_rows(ground, metrics=METRICS))
    if recipe_of(study).curves:
        rows += study.cells.rows(f"{name}-points", facts, lambda: cross_points(ground))
    return rows + study.cells.rows(f"{name}-agreement", facts, lambda: [agreement_row(ground)])


def _curves(ground: Ground, attacked: Mapping[Modality, CodeBank]) -> dict[str, Any]:
    """Curves of the searches, of attacked queries where some are given."""
    recall, at = cross_curves(ground, attacked)

    def plain(curves: Any) -> dict[str, list[list[float]]]:
        return {task: [np.round(x, 6).tolist(), np.round(y, 6).tolist()] for task, (x, y) in curves.items()}

    return {"precision_recall": plain(recall), "precision_at": plain(at)}


def _attacked(study: Study, ground: Ground, cell: CmlaCell, *, hard: bool) -> list[Row]:
    """CMLA with noise of the same size beside it; the last items are kept for transfer, curves and the sheet."""
    made, name, facts, recipe = cell.made(study, ground), cell.name(ground.name), cell.facts(ground), recipe_of(study)

    def work() -> list[Row]:
        found = measure_attack(ground, cell.spec(control=True), metrics=METRICS, context=study.watching())
        if study.cells.process_group.leads:
            write_npz(made, {"made": found.made.items, "distance": found.made.distance})
        return found.rows

    def attacked() -> CodeBank:
        items = read_npz(made, "attacked items", sealed=True)["made"]
        return ground.codes_of(items, modality=cell.modality)

    rows = study.cells.rows(name, facts, work, beside=[made])
    if not (hard or cell.published):
        lines = study.cells.facts(f"{name}-curves", facts, lambda: _curves(ground, {cell.modality: attacked()}))
        study.found.curves[f"{ground.name} attacked {cell.modality}"] = lines
    if recipe.attack.sheet and not hard:
        _sheet(study, ground, cell, rows)
    if recipe.curves:
        base = next(row for row in reversed(rows) if row.metric == "map" and row.task == ACROSS[cell.modality])
        rows += study.cells.rows(
            f"{name}-points", facts, lambda: cross_points(ground, (cell.modality, attacked(), base))
        )
    return rows


def _sheet(study: Study, ground: Ground, cell: CmlaCell, rows: Sequence[Row]) -> None:
    """Queries before and after the last gradient, with their answers; drawn once."""
    sheet = cell.made(study, ground).with_suffix(".png")
    if study.drawn and not sheet.is_file():
        items = read_npz(cell.made(study, ground), "attacked items", sealed=True)["made"]
        clean, attacked = ground.query_of(cell.modality), ground.codes_of(items, modality=cell.modality)
        spent = np.zeros(len(items), np.int64)
        made = AttackedSet(items, spent, spent, 0.0)
        study.drawn(sheet, ground, Measured(cell.spec(), made, Rows(rows), Sides(clean, clean, clean, attacked)))
    if sheet.is_file():
        caption = f"{cell.name(ground.name)}: queries before and after, with their answers"
        study.found.pictures.append((caption, sheet))


def _tradeoff(study: Study, cell: ModelCell) -> list[Row]:
    """CMLA under every weight of the intra term, on both sides; texts at the largest radius, where there is something to trade."""
    recipe = recipe_of(study)
    part, rows = recipe.tradeoff, []
    if part is None:
        return []
    name, ground = cell.name, study.ground(cell.name, cell, queries=part.queries)
    rows += study.cells.rows(
        f"{name}-tradeoff-clean", facts_of(ground, METRICS, "tradeoff"), lambda: _marked(cross_rows(ground))
    )
    forms = ((cmla, Linf(recipe.attack.eps)), (cmla_text, Linf(max(recipe.attack.text_eps))))
    for weight, (make, threat) in product(part.weights, forms):
        one = CmlaCell(make(steps=part.steps, intra=weight, threat=threat), (part.steps,))

        def work(one: CmlaCell = one) -> list[Row]:
            return _marked(measure_attack(ground, one.spec(), context=study.watching()).rows)

        rows += study.cells.rows(f"{name}-intra-{weight:g}-{one.modality}", one.facts(ground), work)
    return rows


def _marked(rows: Sequence[Row]) -> list[Row]:
    """Rows of the trade-off, told apart from those of the main table by a note."""
    return [replace(row, notes=(*row.notes, TRADEOFF)) for row in rows]


def transferred(study: Study, grounds: Mapping[str, Ground]) -> list[Row]:
    """Items made on one model, asked of the others."""
    part, rows = recipe_of(study).attack, []
    last = max(part.steps, default=0)
    for (source, maker), cell in product(grounds.items(), cmla_cells(part)):
        kept = read_npz(cell.made(study, maker), "attacked items", sealed=True)
        gradients = np.full(len(kept["made"]), last)
        made = AttackedSet(kept["made"], gradients + 1, gradients, 0.0, distance=kept["distance"])
        for target, ground in grounds.items():
            same = maker.both.encoder.digest == ground.both.encoder.digest
            if target == source or not _alike(maker, ground) or (cell.modality == "text" and not same):
                continue  # a bag of another vocabulary means something else

            def work(
                ground: Ground = ground, cell: CmlaCell = cell, made: AttackedSet = made, maker: Ground = maker
            ) -> list[Row]:
                spec = AttackSpec(cell.attack, across=True, sources=(maker.loaded,))
                return pair_rows(ground, spec, made, steps=last, metrics=METRICS)

            name = f"{source}-to-{target}-{cell.modality}-{cell.attack.threat.eps:.3g}"
            rows += study.cells.rows(name, [cell.facts(maker), facts_of(ground)], work)
    return rows


def _alike(maker: Ground, ground: Ground) -> bool:
    """Whether two models may be compared: on the same data, with the same seed and code length."""
    one, other = ((at.split.digest, at.seed, at.model.bits) for at in (maker, ground))
    return one == other
