"""A cross-modal study: models trained, searched, attacked in both modalities, hardened and attacked again, cell by cell.

Each model is a chain of cells of its own, run by a process with one thread, so that figures do not depend on how many run at once;
transfer joins them in the end. A study that was killed goes on with the same command and loses at most the running cell; training
goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.losses.cmla import CmlaLoss
from hamguard.attacks.methods.cmla import cmla, cmla_text
from hamguard.attacks.threat import Linf
from hamguard.attacks.words import WordEdits
from hamguard.codes.bank import CodeBank
from hamguard.core.archives import read_npz
from hamguard.core.context import Context, always
from hamguard.core.errors import RequestError
from hamguard.core.files import read_sealed, write_npz, write_sealed
from hamguard.core.noted import TRADEOFF
from hamguard.core.rows import Row
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.evaluation.attack.cross_modal import (
    attacked_rows,
    cmla_facts,
    cmla_rows,
    cmla_threat,
    codes_of,
    word_rows,
)
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.run import AttackedSet
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, Loaded, Modality
from hamguard.evaluation.search.cross_modal import agreement_row, cross_curves, cross_rows
from hamguard.evaluation.study.cells import Cells, Told
from hamguard.evaluation.study.cross_recipe import CrossRecipe
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job

METRICS = ("map", "precision@1000")
BATCH = 128  # images or texts attacked at once


@dataclass(frozen=True)
class Study:
    """A recipe at work.

    Attributes:
        recipe: what was asked for.
        dataset: pictures and texts.
        split: their parts.
        out: folder of models, cells and results.
        cells: finished pieces.
        device: where to compute.
    """

    recipe: CrossRecipe
    dataset: Dataset
    split: Split
    out: Path
    cells: Cells
    device: torch.device | str = "cpu"

    def ground(self, name: str, queries: int | None = None) -> Ground:
        """A trained model of the study on its data."""
        loaded = Loaded.open(self.out / "models" / name, name=name, texts="needed", device=self.device)
        context = Context(device=self.device, seed=self.recipe.seed, batch_size=BATCH)
        asked = queries or self.recipe.queries
        return Ground.open(loaded, Data(self.dataset, self.split), queries=asked, texts="needed", context=context)


def open_study(
    recipe: CrossRecipe, out: Path, *, root: Path | None = None, told: Told = print, parent: int = 0
) -> Study:
    """Open the data of a recipe.

    Raises:
        RequestError: the data are not here, or the folder is a file.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; --out must be a folder")
    data = recipe.data.open(root)
    return Study(recipe, data.dataset, data.split, out, Cells(out / "cells", told, parent))


def run_chain(study: Study, name: str) -> list[Row]:
    """All cells of one model: train, search, attack, trade off, harden, attack again.

    Raises:
        RequestError: something does not fit together.
        RunError: a training failed.
        StoppedError: the study was stopped.
    """
    recipe, cells = study.recipe, study.cells
    cells.told(f"{name}: training")
    data, start = Data(study.dataset, study.split), study.out / "models" / name
    context = Context(device=study.device, stage=always(lambda share, text: cells.check()))
    trained = run_job(recipe.training(name), data, start, context=context)
    ground = study.ground(name)
    rows = _searched(study, ground)
    rows += _cmla(study, ground, recipe.attack.steps, plain=True)
    if recipe.words:
        rows += _words(study, ground, recipe.words.edits)
    if recipe.tradeoff:
        rows += _tradeoff(study, name)
    if recipe.guided:
        rows += _guided(study, ground)
    for kind in recipe.defenses.methods if recipe.defenses else ():
        hardened = f"{name}-{kind}"
        cells.told(f"{hardened}: training")
        begun = Start(name, trained.model, trained.card, start, trained.text_card)
        run_job(recipe.hardening(kind), data, study.out / "models" / hardened, start=[begun], context=context)
        other = study.ground(hardened)
        rows += _searched(study, other)
        rows += _cmla(study, other, recipe.attack.defended_steps or recipe.attack.steps, plain=False)
    return rows


def run_transfer(study: Study, names: Sequence[str]) -> list[Row]:
    """Items made on one model, asked of the others."""
    rows: list[Row] = []
    last = max(study.recipe.attack.steps)
    grounds = {name: study.ground(name) for name in names}
    for source in names:
        for side, attack in _attacks(study.recipe, study.recipe.attack.steps):
            made = read_npz(_kept(study, grounds[source], side, attack), "attacked items", sealed=True)
            for target in names:
                own, other = (grounds[name].both.vocabulary.digest for name in (source, target))
                if target == source or (side == "text" and own != other):
                    continue  # a bag of another vocabulary means something else
                facts = [
                    grounds[source].both.digest,
                    grounds[target].both.digest,
                    side,
                    repr(attack),
                    len(made["made"]),
                ]

                def work(
                    target: str = target,
                    side: Modality = side,
                    attack: Any = attack,
                    made: Any = made,
                    source: str = source,
                ) -> list[Row]:
                    return attacked_rows(
                        grounds[target],
                        side,
                        _again(made, last),
                        attack=cmla_facts(attack, side, source),
                        threat=cmla_threat(attack, last, side),
                        metrics=METRICS,
                    )

                rows += study.cells.rows(f"{source}-to-{target}-{side}-{attack.threat.eps:.3g}", facts, work)
    return rows


def _again(kept: Mapping[str, Any], steps: int) -> AttackedSet:
    """Items that were kept, as the run left them."""
    count = len(kept["made"])
    return AttackedSet(kept["made"], np.full(count, steps + 1), np.full(count, steps), 0.0, distance=kept["distance"])


def _attacks(recipe: CrossRecipe, steps: Sequence[int]) -> list[tuple[Modality, Any]]:
    """CMLA in its default form on pictures, and on texts at every radius."""
    most = max(steps)
    texts = [cmla_text(steps=most, threat=Linf(eps)) for eps in recipe.attack.text_eps]
    return [("image", cmla(steps=most, threat=Linf(recipe.attack.eps))), *(("text", one) for one in texts)]


def _facts(ground: Ground, *more: Any) -> list[Any]:
    """What decides a cell of a model."""
    return [ground.both.digest, ground.split.digest, len(ground.rows), ground.seed, *more]


def _searched(study: Study, ground: Ground) -> list[Row]:
    """Clean rows of the four searches, and their curves beside."""
    path = study.cells.path(f"{ground.name}-curves", _facts(ground, "clean"), ".json")
    if _lacks(path):
        write_sealed(path, {"cell": path.name, **_curves(ground, {})})
    rows = study.cells.rows(
        f"{ground.name}-clean", _facts(ground, METRICS), lambda: cross_rows(ground, metrics=METRICS)
    )
    return rows + study.cells.rows(f"{ground.name}-agreement", _facts(ground), lambda: [agreement_row(ground)])


def _curves(ground: Ground, attacked: Mapping[Modality, CodeBank]) -> dict[str, Any]:
    """Curves of the searches, of attacked queries where some are given."""
    recall, at = cross_curves(ground, attacked)

    def plain(curves: Any) -> dict[str, list[list[float]]]:
        return {task: [np.round(x, 6).tolist(), np.round(y, 6).tolist()] for task, (x, y) in curves.items()}

    return {"precision_recall": plain(recall), "precision_at": plain(at)}


def _kept(study: Study, ground: Ground, side: Modality, attack: Any) -> Path:
    return study.cells.path(f"{ground.name}-{side}-{attack.threat.eps:.3g}", _facts(ground, side, repr(attack)), ".npz")


def _cmla(study: Study, ground: Ground, steps: Sequence[int], *, plain: bool) -> list[Row]:
    """CMLA on both sides, with noise of the same size beside it; the last items are kept for transfer and curves."""
    recipe, rows = study.recipe, []
    wanted: list[tuple[Modality, Any, Sequence[int]]] = [(*one, steps) for one in _attacks(recipe, steps)]
    if plain and (printed := recipe.attack.published_steps):
        most = max(printed)
        wanted.append(("image", cmla(steps=most, preset="paper"), printed))
        wanted.append(("text", cmla_text(steps=most, preset="paper"), printed))
    for side, attack, steps in wanted:  # noqa: PLR1704 - each form has its own
        kept = _kept(study, ground, side, attack)

        def work(
            side: Modality = side, attack: Any = attack, kept: Path = kept, steps: Sequence[int] = steps
        ) -> list[Row]:
            found, rows = cmla_rows(ground, attack, side, marks=steps, noise=True, metrics=METRICS)
            _keep(kept, found[max(steps)])
            return rows

        form = "published" if attack.threat.one_sided else "cmla"
        name = f"{ground.name}-{form}-{side}-{attack.threat.eps:.3g}"
        rows += study.cells.rows(name, _facts(ground, side, repr(attack), list(steps)), work)
        if plain and not attack.threat.one_sided:
            _attacked_curves(study, ground, side, kept)
    return rows


def _attacked_curves(study: Study, ground: Ground, side: Modality, kept: Path) -> None:
    path = kept.with_suffix(".json")
    if _lacks(path) and kept.is_file():
        bank = codes_of(ground, side, read_npz(kept, "attacked items", sealed=True)["made"])
        write_sealed(path, {"cell": path.name, **_curves(ground, {side: bank})})


def _lacks(path: Path) -> bool:
    """Whether curves are not there, or damaged."""
    try:
        return bool(read_sealed(path, "curves").get("cell") != path.name)
    except RequestError:
        return True


def _keep(path: Path, made: AttackedSet) -> None:
    write_npz(path, {"made": made.items, "distance": made.distance})


def _words(study: Study, ground: Ground, edits: Sequence[int]) -> list[Row]:
    rows: list[Row] = []
    for most in edits:
        asked = WordEdits(most)

        def work(asked: WordEdits = asked) -> list[Row]:
            return word_rows(ground, asked, metrics=METRICS)[1]

        rows += study.cells.rows(f"{ground.name}-words-{most}", _facts(ground, repr(asked)), work)
    return rows


def _tradeoff(study: Study, name: str) -> list[Row]:
    """CMLA under every weight of the intra term, on both sides; texts at the largest radius, where there is something to trade."""
    part, rows = study.recipe.tradeoff, []
    assert part is not None
    ground = study.ground(name, part.queries)
    rows += study.cells.rows(
        f"{name}-tradeoff-clean", _facts(ground, METRICS, "tradeoff"), lambda: _marked(cross_rows(ground))
    )
    text_eps = max(study.recipe.attack.text_eps)
    for weight in part.weights:
        sides: tuple[tuple[Modality, Any], ...] = (
            ("image", cmla(steps=part.steps, intra=weight, threat=Linf(study.recipe.attack.eps))),
            ("text", cmla_text(steps=part.steps, intra=weight, threat=Linf(text_eps))),
        )
        for side, attack in sides:
            assert isinstance(attack.loss, CmlaLoss)

            def work(side: Modality = side, attack: Any = attack) -> list[Row]:
                return _marked(cmla_rows(ground, attack, side, marks=(part.steps,))[1])

            rows += study.cells.rows(f"{name}-intra-{weight:g}-{side}", _facts(ground, side, repr(attack)), work)
    return rows


def _marked(rows: Sequence[Row]) -> list[Row]:
    """Rows of the trade-off, told apart from those of the main table by a note."""
    return [replace(row, notes=(*row.notes, TRADEOFF)) for row in rows]


def _guided(study: Study, ground: Ground) -> list[Row]:
    """Image-side attacks of one modality, with the search for texts beside."""
    part, rows = study.recipe.guided, []
    assert part is not None
    for method in part.methods:
        spec = AttackSpec.read(method, eps=part.eps, steps=part.steps)

        def work(spec: AttackSpec = spec) -> list[Row]:
            return measure_attack(ground, spec, work=study.out / "work").rows

        rows += study.cells.rows(f"{ground.name}-{method}", _facts(ground, spec.content), work)
    return rows
