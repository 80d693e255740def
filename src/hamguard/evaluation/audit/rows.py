"""Rows of an audit: clean, floor and noise; every stage; the worst case; its distortion; the query-only curve; the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hamguard.codes.binary import hamming_pairs
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.audit.answers import AnswerCurve
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.checks.check import Check
from hamguard.evaluation.audit.plan import LOSSES
from hamguard.evaluation.audit.worst import Stage, Worst, spent_by
from hamguard.evaluation.originals import scored_as, scores
from hamguard.evaluation.per_query import averaged
from hamguard.evaluation.search.score import random_bank
from hamguard.images.distortion import measure_distortion


def audit_rows(bench: Bench, worst: Worst, curve: AnswerCurve | None, checks: Sequence[Check]) -> list[Row]:
    """All rows.

    The row of the result has the attack `audit`; its `n` are all queries. A stage's row has the MAP of the queries that it
    attacked, those that still held, and says in `attack` what the worst MAP of all queries was once it was done. Without labels
    all of these are shares whose originals are found, and there is one result, of attackers who know no label.
    """
    ground, seed = bench.ground, bench.ground.seed
    base, labeled = scored_as(ground.base, ground.database), ground.labeled
    threat = bench.facts

    def scored(ap: Floats, row: Row = base, **more: Any) -> Row:
        return averaged(replace(row, **more), ap, seed=seed)

    rows = [scored(worst.clean)]
    bare = replace(base, model="random codes", method=None, backbone=None, train=None, hashes={})
    chance = scores(random_bank(ground.query, seed), random_bank(ground.database, seed + 1))
    rows.append(scored(chance, bare, metric=f"random_{base.metric}"))
    noise = scores(ground.noisy(bench.threat), ground.database)
    rows.append(scored(noise, attack={"method": "noise", "labels": "free"}, threat=threat))
    for guide, ap in bench.floors.items():
        rows.append(scored(ap, attack={"method": "ideal-code", "guide": guide, "toward": False}))
    rows.append(scored(worst.floor, attack={"method": "ideal-code", "guide": "worst of all", "toward": False}))
    for stage in worst.stages:
        rows.append(_stage_row(scored, stage, threat, str(base.metric)))
    forwards, backwards = spent_by(worst.stages, bench.count)
    spent: dict[str, Any] = {
        "seconds": round(sum(stage.seconds for stage in worst.stages), 3),
        "forwards": int(np.ceil(forwards.mean())),
        "backwards": int(np.ceil(backwards.mean())),
    }
    facts = {
        "method": "audit",
        "labels": "aware" if labeled else "free",
        "stages": len(worst.stages),
        "held": len(worst.open),
    }
    result = scored(worst.ap, attack=facts, threat=threat, **spent)
    rows.append(result)
    if labeled:
        rows.append(scored(worst.label_free(), attack={"method": "audit", "labels": "free"}, threat=threat))
    rows += _moved(bench, worst, result, seed)
    if curve is not None:
        for asked, ap in zip(curve.asked.tolist(), curve.ap, strict=True):
            told = {"method": "query-only", "labels": "free", "asked": asked, "distances": curve.distances}
            rows.append(scored(ap, attack=told, threat=threat, metric=f"{base.metric}-after-answers"))
    for check in checks:
        rows.append(
            replace(
                base,
                attack={"method": "self-check", "check": check.name, "passed": check.passed},
                threat=threat,
                task="audit",
                metric="check",
                at=None,
                ties=None,
                value=check.value,
                n=len(bench.sample()),
                notes=(check.sentence,),
            )
        )
    return rows


def _stage_row(scored: Any, stage: Stage, threat: dict[str, Any], metric: str) -> Row:
    facts: dict[str, Any] = {
        "method": {"gradient": "adaptive", "transfer": "transfer", "answers": "query-only"}[stage.kind],
        "stage": stage.name,
        "guide": stage.guide or None,
        "loss": LOSSES.get(stage.loss),
        "labels": "free" if stage.guide in ("", "own") else "aware",
        f"worst_{metric}_after": stage.after,
    }
    budget = {**threat, "steps": stage.steps, "restarts": stage.restarts}
    made: Row = scored(
        stage.ap,
        attack=facts,
        threat=budget,
        metric=f"{metric}-of-those-attacked",
        seconds=round(stage.seconds, 3),
        forwards=int(np.ceil(stage.forwards.mean())),
        backwards=int(np.ceil(stage.backwards.mean())),
    )
    return made


def _moved(bench: Bench, worst: Worst, base: Row, seed: int) -> list[Row]:
    """How far the codes and the pixels of the worst pictures moved."""
    codes = bench.ground.codes_of(worst.pixels)
    distortion = measure_distortion(bench.clean_pixels, worst.pixels)
    values: dict[str, Floats] = {
        "bits-moved": hamming_pairs(codes.packed, bench.ground.query.packed).astype(np.float64),
        "rmse": distortion.rmse,
        "linf": distortion.linf,
        "l2": distortion.l2,
        "ssim": distortion.ssim,
        "psnr": distortion.psnr,
    }
    rows = []
    for metric, each in values.items():
        rows.append(averaged(replace(base, task="query", metric=metric, at=None, ties=None), each, seed=seed))
    return rows
