"""Rows of an attack: the clean picture, noise, the guide code itself and the attacked picture, measured alike.

Every figure is computed from 8-bit pictures, encoded again. Away from a guide the score is the MAP under the true labels,
lower is better for the attacker; toward one it is the t-MAP, the MAP under the target labels, and the clean picture under those
labels ("original") stands beside it. The gain is the share of the way from the clean picture to the guide code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming_pairs
from hamguard.codes.histograms import distance_histograms
from hamguard.core.noted import SOFT_NOISE
from hamguard.core.rows import Row
from hamguard.core.types import Bytes, Floats
from hamguard.evaluation.originals import TOP, found_within, places_of, scored_as, scores
from hamguard.evaluation.per_query import averaged
from hamguard.evaluation.search.score import Convention, measure, parse_metric, random_bank, score_row
from hamguard.images.distortion import Distortion
from hamguard.retrieval.intervals import ratio_interval


@dataclass(frozen=True)
class Sides:
    """Query codes of one attack, all over the same pictures in the same order.

    Attributes:
        clean: of the clean pictures.
        noise: of noisy pictures under the same threat.
        ideal: the guide code itself (toward), or its opposite (away); what an attack could reach by following its guide.
        attacked: of the attacked pictures.
    """

    clean: CodeBank
    noise: CodeBank
    ideal: CodeBank
    attacked: CodeBank


@dataclass(frozen=True)
class Facts:
    """What the rows of one attack say.

    Attributes:
        base: model, data and hashes.
        attack: the attack.
        threat: its threat model.
        seconds: time that the attack took.
        forwards: mean forward passes a picture, rounded up.
        backwards: mean backward passes a picture, rounded up.
        noise: the ball of the noise beside it; None for that of the attack.
        control: the attack is noise itself, which has no guide and needs no control.
        left: bits that may be left wrong where the attack has succeeded; None where it goes on as long as it may.
        guide_seconds: time that the guide took to make its codes for all queries, its training included.
        notes: what a reader must know of the attacked pictures alone.
    """

    base: Row
    attack: dict[str, Any]
    threat: dict[str, Any]
    seconds: float
    forwards: int
    backwards: int
    noise: Threat | None = None
    control: bool = False
    left: int | None = None
    guide_seconds: float | None = None
    notes: tuple[str, ...] = ()


def attack_rows(
    facts: Facts,
    sides: Sides,
    searched: Mapping[str, CodeBank],
    distortion: Distortion,
    *,
    targets: Bytes | None = None,
    metrics: Sequence[str] = ("map",),
    convention: Convention,
    seed: int = 0,
) -> list[Row]:
    """All rows of one attack.

    Args:
        facts: what they say.
        sides: the codes.
        searched: clean database codes by the name of the search; the first is the main one, an empty name the usual one.
        distortion: of the attacked pictures.
        targets: target labels, `(Q, C)`, of an attack toward a guide; None away from one.
        metrics: as for `evaluate`; the first also gives the gain.
        convention: ties, denominator, empty queries.
        seed: seed of the bootstrap.

    Returns:
        Clean, random codes, noise, ideal code, attacked, gain, then bits moved and distortion of the attacked pictures; the number
        of pixels that moved only where the threat is `l0` or `l2`, and the share that reached its goal, with their L2, only where
        the attack has one. Without labels the rows of the search say whether originals are found (`evaluation.originals`).
    """
    rows: list[Row] = []
    named = _named(facts, sides)
    main = next(iter(searched.values()))
    for task, database in searched.items():
        named = _named(replace(facts, base=replace(facts.base, task=task or None)), sides)
        if not database.labels.any():
            rows += _originals(named, sides, database, seed)
            continue
        if targets is None:
            rows += _scores(named, sides, database, None, metrics, convention, seed)
        else:
            rows += _scores({"clean": named["clean"]}, sides, database, None, metrics, convention, seed)
            rows += _scores(named, sides, database, targets, metrics, convention, seed)
            rows += _scores({"attacked": named["attacked"]}, sides, database, None, metrics[:1], convention, seed)
    return rows + _moved(named["attacked"], sides, main, distortion, seed, facts.left)


def _named(facts: Facts, sides: Sides) -> dict[str, Row]:
    """The facts of each side, keyed by its name; `random` has no attack and no model."""
    threat = {key: facts.threat[key] for key in ("norm", "eps", "grid")}
    notes = facts.base.notes
    if threat["eps"] is None and facts.noise is not None:
        threat |= {"norm": facts.noise.norm, "eps": facts.noise.eps}
        notes = (*notes, SOFT_NOISE)
    ideal = {"method": "ideal-code", **{key: facts.attack[key] for key in ("toward", "labels", "guide", "targets")}}
    noise = {"method": "noise", "preset": "default", "toward": False, "labels": "free", "guide": None}
    bare = replace(facts.base, model="random codes", method=None, backbone=None, train=None, hashes={})

    def hashed(bank: CodeBank) -> dict[str, str]:
        return {**facts.base.hashes, "query_codes": bank.digest}

    attacked = replace(
        facts.base,
        attack=facts.attack,
        threat=facts.threat,
        hashes=hashed(sides.attacked),
        seconds=facts.seconds,
        forwards=facts.forwards,
        backwards=facts.backwards,
        notes=(*facts.base.notes, *facts.notes),
    )
    if facts.control:
        return {"clean": facts.base, "random": bare, "attacked": attacked}
    return {
        "clean": facts.base,
        "random": bare,
        "noise": replace(facts.base, attack=noise, threat=threat, hashes=hashed(sides.noise), notes=notes),
        "ideal": replace(facts.base, attack=ideal, hashes=hashed(sides.ideal), seconds=facts.guide_seconds),
        "attacked": attacked,
    }


def _scores(
    named: dict[str, Row],
    sides: Sides,
    database: CodeBank,
    targets: Bytes | None,
    metrics: Sequence[str],
    convention: Convention,
    seed: int,
) -> list[Row]:
    rows, first = [], {}
    for side, base in named.items():
        bank = random_bank(sides.clean, seed) if side == "random" else getattr(sides, side)
        bank = bank if targets is None else replace(bank, labels=targets)
        searched = random_bank(database, seed + 1) if side == "random" else database
        table = distance_histograms(bank, searched)
        for number, text in enumerate(metrics[:1] if side == "random" else metrics):
            name_at = parse_metric(text)
            score = measure(*name_at, bank, searched, table, convention)
            row = score_row(score, base, name_at, 0.0, seed, bank.bits)
            prefix = ("random_" if side == "random" else "") + ("" if targets is None else "t-")
            rows.append(replace(row, metric=f"{prefix}{row.metric}", seconds=base.seconds))
            if number == 0:
                first[side] = score.per_query
    if {"clean", "ideal", "attacked"} <= set(first):
        rows.append(_gain(named["attacked"], first, rows[-1], seed))
    return rows


def _originals(named: dict[str, Row], sides: Sides, database: CodeBank, seed: int) -> list[Row]:
    """Without labels: whether the originals are still found, by the clean pictures, noise, guide codes and the attacked ones."""
    if places_of(sides.attacked, database) is None:
        return []
    rows, first = [], {}
    for side, base in named.items():
        bank = random_bank(sides.clean, seed) if side == "random" else getattr(sides, side)
        found = scores(bank, random_bank(database, seed + 1) if side == "random" else database)
        row = averaged(replace(scored_as(base, database), bits=bank.bits), found, seed=seed)
        rows.append(replace(row, metric=f"random_{row.metric}") if side == "random" else row)
        first[side] = found
    if "ideal" in first:
        rows.append(_gain(named["attacked"], first, rows[-1], seed))
    return rows


def _gain(base: Row, first: dict[str, Floats], like: Row, seed: int) -> Row:
    """`(clean - attacked) / (clean - ideal)`, the same with both signs turned toward a target."""
    got, could = first["attacked"] - first["clean"], first["ideal"] - first["clean"]
    metric = "gain" if not str(like.metric).startswith("t-") else "t-gain"
    row = replace(base, task=like.task, metric=metric, ties=like.ties, n=len(got))
    if abs(float(could.mean())) < 1e-12:
        return replace(row, notes=(*row.notes, "the guide code scores as the clean picture does: no gain is defined"))
    return replace(row, value=float(got.mean() / could.mean()), ci95=ratio_interval(got, could, seed=seed))


def _moved(
    base: Row, sides: Sides, database: CodeBank, distortion: Distortion, seed: int, left: int | None
) -> list[Row]:
    """How far codes and pixels moved; and where the originals are searched, whether they are still found."""
    rows = []

    def row(metric: str, values: Floats, at: int | None = None, note: str = "") -> None:
        task = "attacked->original" if metric == "found" else "query"
        found = averaged(replace(base, task=task, metric=metric, at=at), values, seed=seed)
        if note and (left := len(values) - int(found.n or 0)):
            found = replace(found, notes=(*found.notes, f"{metric}: {left} {note}"))
        rows.append(found)

    place = places_of(sides.attacked, database) if database.labels.any() else None
    if place is not None:
        row("found", found_within(sides.attacked, database, place), at=TOP)
    row("bits-moved", hamming_pairs(sides.attacked.packed, sides.clean.packed).astype(np.float64))
    row("rmse", distortion.rmse)
    row("linf", distortion.linf)
    row("l2", distortion.l2)
    row("changed", distortion.changed)
    if (base.threat or {}).get("norm") in ("l0", "l2"):
        row("pixels", distortion.pixels)
    if left is not None:
        reached = hamming_pairs(sides.attacked.packed, sides.ideal.packed) <= left
        row("reached", reached.astype(np.float64), at=left)
        row("l2-reached", np.where(reached, distortion.l2, np.nan), at=left)
    row("ssim", distortion.ssim, note="of the pictures are smaller than its window")
    row("psnr", distortion.psnr, note="of the pictures did not change and have no ratio")
    return rows
