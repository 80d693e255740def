"""A matrix of transfer: pictures are made once on every source and asked of every scored model (H.2)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank
from hamguard.core.context import always
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.places import cache_folder
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Bytes, Floats
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import EPS, AttackSpec, code_digests
from hamguard.evaluation.attack.targets import PROTOCOLS, choose_targets
from hamguard.evaluation.attack.transfer_scores import TransferMatrix, transfer_matrix, transfer_rows
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.per_query import averaged
from hamguard.models.trial import ZERO_GRADIENT, notes_of
from hamguard.retrieval.metrics import average_precision, with_labels

TASK = "query->database"


@dataclass(frozen=True)
class Maker:
    """A model that images are made on, and the attack on it: each has its own, because a trained generator belongs to one."""

    ground: Ground
    spec: AttackSpec


@dataclass(frozen=True)
class Transfer:
    """A measured matrix.

    Attributes:
        spec: the attack, as made on the first source.
        matrix: average precision of every scored model, clean and under each source's pictures.
        noise: average precision under noise of the same threat, `(V, Q)`.
        rows: clean, random-noise and attacked figures, and the scores.
    """

    spec: AttackSpec
    matrix: TransferMatrix
    noise: Floats
    rows: Rows


def measure_transfer(makers: Sequence[Maker], scored: Sequence[Ground], *, work: Path | None = None) -> Transfer:
    """Attack every source once and score its pictures on every model.

    Args:
        makers: the sources; attacks of one threat and one direction.
        scored: models that are asked, all with the same query pictures (`check_same_queries`).
        work: folder of finished sources and batches of an unfinished matrix, which is emptied of them at the end; by default in
            the user's cache.

    Raises:
        RequestError: no model, attacks of several threats or directions, data without labels, other targets on other data, or an
            attack that cannot be carried out.
        RunError: NaN gradients, or a full disk.
    """
    _check(makers, scored)
    spec, context = makers[0].spec, makers[0].ground.context
    place = work or context.work or cache_folder() / "transfer"
    folders = [place / _key(maker) for maker in makers]
    made: list[Measured] = []
    with context.stage(spec.name) as progress:
        for number, (maker, folder) in enumerate(zip(makers, folders, strict=True)):

            def told(share: float, text: str, number: int = number, name: str = maker.ground.name) -> None:
                progress((number + share) / len(makers), f"{name}: {text}")

            # saved images are read, not made again, so a run that was stopped goes on at the first source that has none
            made.append(
                measure_attack(maker.ground, maker.spec, save_images=folder, context=context.but(stage=always(told)))
            )
    targets = made[0].targets.labels if made[0].targets else None
    threat = spec.threat or Threat("linf", EPS)
    clean = {ground.name: ground.query for ground in scored}
    attacked = {
        maker.ground.name: {ground.name: _codes(ground, maker, one) for ground in scored}
        for maker, one in zip(makers, made, strict=True)
    }
    matrix = transfer_matrix(clean, attacked, {ground.name: ground.database for ground in scored}, targets=targets)
    noise = np.stack([_scored(ground.noisy(threat), ground, targets) for ground in scored])
    facts = {ground.name: _base(ground, made[0]) for ground in scored}
    rows = _controls(matrix, noise, facts, threat, makers[0].ground.seed)
    rows += _pairs(matrix, makers, made, attacked, facts)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return Transfer(spec, matrix, noise, Rows(rows))


def _codes(ground: Ground, maker: Maker, made: Measured) -> CodeBank:
    return made.sides.attacked if ground is maker.ground else ground.codes_of(made.made.pixels)


def _check(makers: Sequence[Maker], scored: Sequence[Ground]) -> None:
    if not makers or not scored:
        raise RequestError(f"a transfer matrix needs sources and scored models, got {len(makers)} and {len(scored)}")
    specs = [maker.spec for maker in makers]
    if len({(spec.threat, spec.toward, spec.rule) for spec in specs}) > 1:
        raise RequestError("all sources of a matrix need one threat, one direction and one target rule")
    for ground in scored:
        if not ground.labeled:
            raise RequestError(f"transfer is told in MAP, which needs labels, and {ground.dataset.name} has none")
    rule = specs[0].rule
    if rule in PROTOCOLS and len({_targets(maker.ground, rule) for maker in makers}) > 1:
        raise RequestError(
            f"the rule {rule} draws other targets on other databases or training parts, and the models' differ; give a saved "
            "list or label:NAME as `targets`"
        )


def _targets(ground: Ground, rule: str) -> str:
    split, labels = ground.split, ground.dataset.labels
    return choose_targets(
        rule,
        ground.query.labels,
        ground.database.labels,
        reference=labels[split.train],
        ids=ground.query.ids,
        class_names=ground.dataset.class_names,
        seed=ground.seed,
    ).digest


def _key(maker: Maker) -> str:
    """Name of the folder of a source's pictures: everything that decides them."""
    ground = maker.ground
    return digest_json(
        {
            "attack": maker.spec.content,
            "code": code_digests(maker.spec.attack),
            "model": ground.model.digest,
            "seed": ground.seed,
            "pictures": ground.dataset.images.digest,
            "split": ground.split.digest,
            "queries": len(ground.query),
            "batch": ground.batch_size,
        }
    )


def _scored(query: CodeBank, ground: Ground, targets: Bytes | None) -> Floats:
    return average_precision(query if targets is None else with_labels(query, targets), ground.database)


def _base(ground: Ground, made: Measured) -> Row:
    """Facts of a scored model's rows."""
    row = replace(ground.base, task=TASK, ties="expected", n=len(ground.query))
    if made.targets:
        row = replace(row, hashes={**row.hashes, "targets": made.targets.digest})
        row = replace(row, notes=(*row.notes, *made.targets.notes))
    return row


def _controls(matrix: TransferMatrix, noise: Floats, facts: dict[str, Row], threat: Threat, seed: int) -> list[Row]:
    """Rows of the clean and of the noisy pictures on every model."""
    named = {"method": "noise", "preset": "default", "toward": False, "labels": "free", "guide": None}
    budget = {"norm": threat.norm, "eps": threat.eps, "grid": "8 bit"}
    rows = []
    for name, clean, noisy in zip(matrix.victims, matrix.clean, noise, strict=True):
        for ap, attack, spent in ((clean, None, None), (noisy, named, budget)):
            row = averaged(replace(facts[name], metric=matrix.metric), ap, seed=seed)
            rows.append(replace(row, attack=attack, threat=spent))
    return rows


def _pairs(
    matrix: TransferMatrix,
    makers: Sequence[Maker],
    made: Sequence[Measured],
    attacked: dict[str, dict[str, CodeBank]],
    facts: dict[str, Row],
) -> list[Row]:
    """Rows of every pair, each with the attack that its source carried out and what that spent."""
    rows = transfer_rows(matrix, Row(), facts=facts, seed=makers[0].ground.seed)
    spent = {maker.ground.name: one.rows[-1] for maker, one in zip(makers, made, strict=True)}
    source_notes = {
        maker.ground.name: (
            *notes_of(maker.ground.model),
            *(note for note in spent[maker.ground.name].notes if ZERO_GRADIENT in note),
        )
        for maker in makers
    }
    digests = {maker.ground.name: maker.ground.model.digest for maker in makers}
    found = []
    for row in rows:
        source = str((row.attack or {})["made_on"][0])
        ran = spent[source]
        hashes = {"made_on": digests[source], "query_codes": attacked[source][str(row.model)].digest}
        found.append(
            replace(
                row,
                attack={**(ran.attack or {}), "made_on": [source]},
                threat=ran.threat,
                seconds=ran.seconds,
                forwards=ran.forwards,
                backwards=ran.backwards,
                hashes={**row.hashes, **hashes},
                notes=tuple(dict.fromkeys((*row.notes, *source_notes[source]))),
            )
        )
    return found
