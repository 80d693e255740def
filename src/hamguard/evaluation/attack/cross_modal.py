"""Attacks across modalities, measured: images or texts that ask are changed, and both of their searches are asked again.

Images are scored as 8-bit files hold them, bags of words as they are, edited texts after they were read again. One run gives all
numbers of steps that were asked for: the rate of Adam is constant, so the point after 100 of 500 steps is that of a run of 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.attacks.attack import Attack
from hamguard.attacks.search.noise import RandomNoise
from hamguard.codes.binary import hamming_pairs
from hamguard.codes.histograms import distance_histograms
from hamguard.core.context import Context
from hamguard.core.rows import Row
from hamguard.evaluation.attack.ready import Ready
from hamguard.evaluation.attack.rows import Sides
from hamguard.evaluation.attack.run import AttackedSet, Source, run_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, other_modality
from hamguard.evaluation.per_query import averaged
from hamguard.evaluation.search.cross_modal import task_row
from hamguard.evaluation.search.score import EXACT, Convention, measure, parse_metric, score_row


def across_rows(
    ground: Ground,
    ready: Ready,
    made: AttackedSet,
    *,
    work: Path,
    metrics: Sequence[str],
    convention: Convention,
    context: Context,
) -> tuple[list[Row], Sides]:
    """Rows of noise where it was asked for, then of each number of gradients; and the codes.

    Args:
        ground: the model that is asked.
        ready: the attack.
        made: what it made of the queries.
        work: folder of finished batches of the noise.
        metrics: what to measure.
        convention: ties, denominator, empty queries.
        context: how progress is shown, and the processes that share the work.
    """
    spec, clean = ready.spec, ground.query_of(ready.spec.modality)
    scores: dict[str, Any] = {"metrics": metrics, "convention": convention}
    rows: list[Row] = []
    noise = clean
    if spec.control and spec.threat is not None:
        control = noise_beside(ground, spec, ready.own, work=work, context=context)
        noise = ground.codes_of(control.items, modality=spec.modality)
        rows += pair_rows(ground, spec, control, steps=0, control=True, **scores)
    for mark in (*spec.marks, spec.steps):
        rows += pair_rows(ground, spec, made.at(mark), steps=mark, **scores)
    return rows, Sides(clean, noise, ready.ideal, ground.codes_of(made.items, modality=spec.modality))


def noise_beside(
    ground: Ground, spec: AttackSpec, own: Source, *, work: Path, context: Context | None = None
) -> AttackedSet:
    """Uniform noise inside the attack's threat, the control: nothing was spent on it."""
    ball, rounding = spec.attack.threat, spec.attack.rounding
    attack = Attack[Any](search=RandomNoise(), threat=ball, rounding=rounding, modality=spec.modality, name="noise")
    made = run_attack(ground, [replace(own, attack=attack)], None, work=work, context=context)
    zeros = np.zeros_like(made.forwards)
    return replace(made, forwards=zeros, backwards=zeros, seconds=0.0)


def pair_rows(
    ground: Ground,
    spec: AttackSpec,
    made: AttackedSet,
    *,
    steps: int,
    control: bool = False,
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
) -> list[Row]:
    """Rows of both searches of the changed modality, then how far codes and items moved.

    Args:
        ground: the model that is asked, which may be another than the one that the items were made on.
        spec: the attack.
        made: changed images or bags, with D of each or the number of edits.
        steps: how many gradients it took.
        control: it is noise of the same size.
        metrics: what to measure.
        convention: ties, denominator, empty queries.
    """
    bank, passes, modality = ground.codes_of(made.items, modality=spec.modality), made.passes, spec.modality
    attack, threat = spec.facts, spec.threat_after(steps)
    if control:
        attack |= {"method": "noise", "values": {}}
    seconds = round(made.seconds, 3) if made.seconds else None
    rows: list[Row] = []
    base = Row()
    for searched in (other_modality(modality), modality):
        base = task_row(ground, f"{modality}->{searched}")
        hashes = {**base.hashes, "query_codes": bank.digest}
        base = replace(
            base, attack=attack, threat=threat, forwards=passes[0], backwards=passes[1], seconds=seconds, hashes=hashes
        )
        table = distance_histograms(bank, ground.database_of(searched))
        for text in metrics:
            name_at = parse_metric(text)
            score = measure(*name_at, bank, ground.database_of(searched), table, convention)
            rows.append(replace(score_row(score, base, name_at, 0.0, ground.seed, bank.bits), seconds=seconds))
    moved = hamming_pairs(bank.packed, ground.query_of(modality).packed).astype(np.float64)
    for metric, values in (("bits-moved", moved), ("edits" if made.texts else "D", made.distance)):
        rows.append(averaged(replace(base, task=modality, metric=metric), values, seed=ground.seed))
    return rows
