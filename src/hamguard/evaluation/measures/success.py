"""How often an attack away from the own code succeeds (H.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hamguard.codes.binary import hamming_pairs
from hamguard.core.rows import Row, Rows
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.measures.criteria import (
    Success,
    away_criteria,
    code_curve,
    curve_rows,
    measure_success,
    success_rows,
)
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.retrieval.metrics import average_precision


def attacked_by(subject: Subject, spec: AttackSpec) -> tuple[Measured, Row]:
    """An attack with its rows, and the facts of further rows about it."""
    found = measure_attack(subject.ground, spec)
    return found, replace(found.rows[-1], task="query", metric=None, at=None, value=None, ci95=None, n=None, ties=None)


def rate_lines(found: Sequence[Success], rows: Rows, means: Sequence[str]) -> list[Line]:
    """A line a criterion, with what it means."""
    lines = []
    for one, text in zip(found, means, strict=True):
        values, row = np.where(one.failed, np.nan, one.attacked), rows.where(metric=one.name, at=one.at)[-1]
        lines.append(Line(f"{one.name.partition('[')[0]}: {text}", text, "lower", "share", row, values))
    return lines


@register("success")
def success(subject: Subject) -> Found:
    """How often an attack away from the own code succeeds, on codes and on the search, and how far pictures moved."""
    ground, clean = subject.ground, subject.clean
    made, base = attacked_by(subject, AttackSpec.read("pgd", eps=subject.eps, steps=subject.steps))
    attacked = made.sides.attacked
    criteria = away_criteria(clean, ground.database if subject.labeled else None)
    found = [measure_success(one, attacked, clean) for one in criteria]
    rates = [*success_rows(found, base, seed=ground.seed), *curve_rows(attacked, clean, base, seed=ground.seed)]
    rows, lines = Rows([*made.rows, *rates]), []
    if subject.labeled:
        before, after = rows.where(metric="map", attack=None).one(), rows.where(metric="map")[-1]
        ap = average_precision(attacked, ground.database)
        lines.append(Line("MAP, clean", "quality of the search without an attack", "higher", "share", before))
        lines.append(Line("MAP, attacked", "what the attack leaves of it", "higher", "share", after, ap))
    moved = hamming_pairs(attacked.packed, clean.packed).astype(np.float64)
    last = rows.where(metric="bits-moved")[-1]
    lines.append(Line("bits moved", "bits of the code that the attack turns", "lower", "bits", last, moved))
    tops = [f"nothing relevant among the first {one.at}" for one in found[2:]]
    texts = ["half of the bits turned", "half of the precision among the first 100 gone", *tops][: len(found)]
    share = np.arange(1, clean.bits + 1) / clean.bits
    return Found(rows, [*lines, *rate_lines(found, rows, texts)], {"turned": (share, code_curve(attacked, clean))})
