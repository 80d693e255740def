"""What joins several models of a study: transfer, protections, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from hamguard.core.digests import digest_json
from hamguard.core.noted import PAIRED
from hamguard.core.rows import Row
from hamguard.evaluation.attack.files import forget_pictures
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import Combine
from hamguard.evaluation.attack.transfer import Maker, measure_transfer
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.per_query import without_values
from hamguard.evaluation.protection.four_searches import Party, Sides
from hamguard.evaluation.protection.protections import Protection, by_noise, by_protector
from hamguard.evaluation.study.cross_recipe import CrossRecipe
from hamguard.evaluation.study.grid_recipe import GridRecipe, ProtectionsPart
from hamguard.evaluation.study.pair_cells import transferred
from hamguard.evaluation.study.plan import AttackCell, ModelCell, pairs, parties, protector_request
from hamguard.evaluation.study.searches import Searches
from hamguard.evaluation.study.study import Study, facts_of, generator, protector
from hamguard.models.protector_store import load_protector
from hamguard.retrieval.intervals import paired_difference


def joined(study: Study, grounds: Sequence[tuple[ModelCell, Ground]]) -> list[Row]:
    """Rows of everything that joins several models.

    Args:
        study: the study, whose models are finished.
        grounds: its models on their data, where `needs_grounds` says so.
    """
    recipe, rows = study.recipe, []
    if isinstance(recipe, CrossRecipe):
        rows += transferred(study, {cell.name: ground for cell, ground in grounds}) if grounds else []
    else:
        rows += _transfer(study, recipe, grounds)
    for name, part in recipe.protections.items():
        rows += _protected(study, name, part)
    return rows + _compared(study)


def needs_grounds(study: Study) -> bool:
    """Whether models are needed again once all of them are finished."""
    transfer = study.recipe.transfer
    return len(study.plan.models) > 1 if transfer is True else bool(transfer)


def _transfer(study: Study, recipe: GridRecipe, grounds: Sequence[tuple[ModelCell, Ground]]) -> list[Row]:
    """Images made on each model, or on several together, asked of every model on the same data, seed by seed."""
    part, rows = recipe.transfer, []
    if part is None:
        return []
    for data, seed in dict.fromkeys((cell.data, cell.seed) for cell, _ in grounds):
        same = [(cell, ground) for cell, ground in grounds if (cell.data, cell.seed) == (data, seed)]
        for attack in (one for one in study.plan.attacks if one.table in part.attacks):
            if len(same) > 1:
                rows += _matrix(study, f"transfer-{data}-{attack.name}", seed, same, attack)
            for names in part.joint:
                if set(names) <= {cell.name for cell, _ in same}:
                    rows += [row for how in part.combine for row in _joint(study, how, names, same, attack)]
    return rows


def _matrix(
    study: Study, name: str, seed: int, same: Sequence[tuple[ModelCell, Ground]], attack: AttackCell
) -> list[Row]:
    grounds = [ground for _, ground in same]
    folders = [generator(study, ground, cell, attack) for cell, ground in same]

    def work() -> list[Row]:
        if not study.cells.process_group.leads:
            return []
        makers = [
            Maker(ground, with_generator(attack.spec, str(folder) if folder else None))
            for ground, folder in zip(grounds, folders, strict=True)
        ]
        return measure_transfer(makers, grounds, work=study.store / "work").rows

    facts = [
        facts_of(ground, ground.name, folder.name if folder else None)
        for ground, folder in zip(grounds, folders, strict=True)
    ]
    return study.cells.rows(name, [seed, facts, attack.spec.content], work)


def _joint(
    study: Study, how: Combine, names: Sequence[str], same: Sequence[tuple[ModelCell, Ground]], attack: AttackCell
) -> list[Row]:
    known = {cell.name: ground for cell, ground in same}
    spec = replace(attack.spec, sources=tuple(known[name].loaded for name in names), combine=how)
    folder = study.store / "work" / f"joint-{digest_json([[known[name].model.digest for name in names], spec.content])}"
    alone = study.cells.process_group.size == 1  # else every process would write the same files
    rows: list[Row] = []
    asked: list[str] = []  # models that this run has asked the images of
    for target in known.values():

        def work(target: Ground = target) -> list[Row]:
            scored: dict[str, Any] = {"metrics": study.recipe.metrics, "convention": study.recipe.convention}
            # the first target's images are written, over what an older run left, and the others read them
            scored |= {"save_images": folder if alone else None, "replace_images": not asked}
            asked.append(target.name)
            scored["context"] = study.watching()
            return measure_attack(target, spec, **scored).rows

        facts = [facts_of(target, target.name), spec.content, study.recipe.scored]
        rows += study.cells.rows(f"{'+'.join(names)}-{how}-to-{target.name}-{attack.name}", facts, work)
    forget_pictures(folder)
    return rows


def _protected(study: Study, name: str, part: ProtectionsPart) -> list[Row]:
    """Four searches of every party under every protection of a table."""
    rows: list[Row] = []
    recipe = study.recipe
    assert isinstance(recipe, GridRecipe)
    for where, seed, eps in product(part.data or tuple(recipe.data), recipe.seeds, part.eps):
        data, protection = study.data(where), _protection(study, name, part, where, eps, seed)
        bare = Sides(data.dataset, data.dataset.images, data.split, protection, recipe.queries)
        context = study.cells.watching().but(seed=0)
        searches = Searches(f"{name}-{where}-{eps:.4g}", study.cells, bare, study.store / "parties", context)
        asked = [Party(request, share) for request, share in parties(part, recipe.data[where], seed)]
        several = f"-seed{seed}" if len(recipe.seeds) > 1 else ""
        for party in asked:  # rows are not called after the folder, which has a hash for a name
            title = f"{searches.title(party, asked)}{several}"
            rows += [replace(row, model=title) for row in searches.rows(party, asked)]
        if part.sheet and study.shown:
            path = study.cells.path(f"{searches.name}-pictures", [data.dataset.digest, protection.digest], ".png")
            if not path.is_file():
                study.shown(path, searches.sides())
            caption = f"{searches.name}: pictures before and after, and the difference, stretched"
            study.found.pictures.append((caption, path))
    return rows


def _protection(study: Study, name: str, part: ProtectionsPart, data: str, eps: float, seed: int) -> Protection:
    if (part.method or name) == "noise":
        return by_noise(eps, seed)
    learned_on = part.made_on or data
    request = protector_request(part, study.recipe.sources[learned_on], eps, seed)
    folder = protector(study, name, request, learned_on, eps)
    return by_protector(load_protector(folder)[0].to(study.context.device), eps)


def _compared(study: Study) -> list[Row]:
    """Differences of two attacks, and of a defense and its start, over the same queries, with their paired interval."""
    found: list[Row | None] = []
    compare, attacks = study.recipe.compare, study.plan.attacks
    for cell in study.plan.models:
        hardened = [defense.name for defense in cell.defenses]
        for title in (cell.name, *hardened):
            for first, second in compare.attacks:
                for one, other in pairs(attacks, first, second):
                    found.append(_difference(study, (title, one.name), (title, other.name), cell.seed))
        for title in hardened if compare.defenses else ():
            for attack in attacks:
                found.append(_difference(study, (title, attack.name), (cell.name, attack.name), cell.seed))
    return [row for row in found if row]


def _difference(study: Study, first: tuple[str, str], second: tuple[str, str], seed: int) -> Row | None:
    """Mean of first minus second over the queries, each a model and an attack; None where one of them was not run."""
    one, other = study.found.queries.get(first), study.found.queries.get(second)
    if one is None or other is None or one.row.metric != other.row.metric:
        return None
    if one.attacked is None or other.attacked is None:
        return None
    both = np.isfinite(one.attacked) & np.isfinite(other.attacked)
    gap = paired_difference(one.attacked[both], other.attacked[both], seed=seed)
    versus = second[1] if first[0] == second[0] else second[0]
    return replace(
        without_values(one.row),
        attack={**(one.row.attack or {}), "versus": versus},
        metric=f"{one.row.metric}-difference",
        value=gap.value,
        ci95=(gap.low, gap.high),
        n=gap.n,
        seconds=None,
        forwards=None,
        backwards=None,
        notes=(*one.row.notes, PAIRED),
    )
