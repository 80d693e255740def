"""What a detector of attacked queries is worth: false alarms, and attacks that do not know it beside attacks that do.

The unaware attack is mainstay, or hag where there are no labels. The aware one is the worst of several: each goal of `evasion`
under each weight, and the unaware pictures themselves. Of a query it keeps the undetected picture with the lowest average
precision, or where every picture is detected the one with the lowest. All figures are of 8-bit pictures, encoded again.

Without labels, what the clean query finds first (`TOP` items and those as near) counts as relevant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hamguard.attacks.budget import BUDGET, Budget
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming
from hamguard.core.checks import check_range
from hamguard.core.context import always
from hamguard.core.errors import RequestError
from hamguard.core.places import cache_folder
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.data.split import Split
from hamguard.defenses.detect import Detector, calibrate, threshold_of
from hamguard.evaluation.attack.run import AttackedSet, Source, forget, run_attack, run_key
from hamguard.evaluation.attack.spec import AttackSpec, describe
from hamguard.evaluation.audit.plan import STEPS
from hamguard.evaluation.defense.evasion import Decoys, evasion
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.per_query import averaged
from hamguard.retrieval.metrics import average_precision

RATE, NEIGHBORS, WEIGHTS = 0.05, 10, (0.1, 1.0)
"""Share of false alarms, training codes that are looked at, and weights of the criteria in the aware attacks."""

TOP = 10  # first answers of a clean query that count as relevant where there are no labels
GOALS: tuple[Literal["leave", "decoy"], ...] = ("leave", "decoy")
AWARE = "worst of all aware"


@dataclass(frozen=True)
class Judged:
    """Pictures before the detector and the search.

    Attributes:
        name: what made them.
        aware: whether it knows the detector; None for clean pictures.
        values: criteria, `(Q, M)`.
        score: largest rank, `(Q,)`.
        alarms: whether the alarm rings, `(Q,)` bool.
        ap: average precision, `(Q,)`.
        facts: what rows say of the attack.
        made: passes and time.
    """

    name: str
    aware: bool | None
    values: Floats
    score: Floats
    alarms: Array
    ap: Floats
    facts: dict[str, Any] | None = None
    made: AttackedSet | None = None

    def broken(self, clean: Floats) -> Array:
        """Queries that are undetected and have lost more than half of their clean average precision, `(Q,)` bool."""
        found: Array = ~self.alarms & (self.ap < clean / 2)
        return found


@dataclass(frozen=True)
class Detection:
    """A detector and what it is worth.

    Attributes:
        budget: threat and gradients of each attack.
        rate: share of false alarms that was calibrated for.
        detector: the detector.
        rows: its rows.
        judged: clean pictures, the unaware attack, every aware attack, and the worst of all.
        metric: name of the mean of average precisions.
    """

    budget: Budget
    rate: float
    detector: Detector
    rows: Rows
    judged: tuple[Judged, ...]
    metric: str


@dataclass(frozen=True)
class Watched:
    """A model whose queries a detector looks at: where pictures are judged.

    Attributes:
        ground: the model on its data.
        detector: the detector.
        labels: of the queries, `(Q, C)`.
        database: codes of the database with labels.
    """

    ground: Ground
    detector: Detector
    labels: Bytes
    database: CodeBank

    @classmethod
    def of(cls, ground: Ground, detector: Detector) -> Watched:
        """With the labels of the data, or without any with what clean queries find first."""
        if ground.labeled:
            return cls(ground, detector, ground.query.labels, ground.database)
        near = first_answers(ground.query.packed, ground.database.packed)
        own = np.eye(len(ground.query), dtype=np.uint8)
        return cls(ground, detector, own, replace(ground.database, labels=near.T.astype(np.uint8)))

    def judge(
        self,
        name: str,
        pixels: Bytes,
        aware: bool | None = None,
        facts: dict[str, Any] | None = None,
        made: AttackedSet | None = None,
    ) -> Judged:
        """Detector and search on pictures of all queries, in their order."""
        values = self.detector.measure(self.ground.model, pixels, device=self.ground.device)
        codes = replace(self.ground.codes_of(pixels), labels=self.labels)
        ap = average_precision(codes, self.database)
        return Judged(name, aware, values, self.detector.scores(values), self.detector.alarms(values), ap, facts, made)


def first_answers(query: Bytes, database: Bytes) -> Array:
    """The `TOP` nearest items of each query and all that are as near as the last, packed codes to `(Q, N)` bool."""
    dist = hamming(query, database)  # (Q, N)
    last = min(TOP, dist.shape[1]) - 1
    found: Array = dist <= np.partition(dist, last, axis=1)[:, last : last + 1]
    return found


def check_validation(split: Split, rate: float, queries: int | None = None) -> Ints:
    """Rows of the validation pictures to calibrate on, `(n,)`: those that are not among the first `queries` queries.

    Raises:
        RequestError: the rate is out of range, or there are too few.
    """
    validation = np.setdiff1d(split.validation, split.query[:queries])
    if len(validation) == 0 < len(split.validation):
        raise RequestError(
            "all validation pictures are queries, too, and none is left to calibrate on; ask with fewer `queries`"
        )
    threshold_of(np.zeros(len(validation)), rate)
    return validation


def calibrated(ground: Ground, *, rate: float = RATE, neighbors: int = NEIGHBORS) -> Detector:
    """The detector of a model on its data: neighbors are training pictures that are neither validation pictures nor queries.

    Raises:
        RequestError: no or too few validation pictures, no training picture left, or a rate or number of neighbors out of range.
        RunError: the model returns NaN.
    """
    split = ground.split
    validation = check_validation(split, rate, len(ground.query))  # before anything is encoded
    apart = ~np.isin(split.train, np.concatenate([validation, ground.rows]))
    if not apart.any():
        raise RequestError("no training picture is left to be a neighbor: all are validation pictures or queries, too")
    return calibrate(
        ground.model,
        ground.dataset.images,
        validation,
        ground.reference.select(apart),
        rate=rate,
        k=neighbors,
        seed=ground.seed,
        device=ground.device,
    )


def measure_detection(
    ground: Ground,
    budget: Budget = BUDGET,
    *,
    rate: float = RATE,
    neighbors: int = NEIGHBORS,
    weights: Sequence[float] = WEIGHTS,
) -> Detection:
    """Calibrate a detector and attack it.

    Args:
        ground: the model on its data.
        budget: threat and gradients of each attack.
        rate: share of false alarms to calibrate for.
        neighbors: training codes that are looked at, at least 2.
        weights: of the criteria in the aware attacks, at least one.

    Raises:
        RequestError: as `calibrated`, or no weight.
        RunError: NaN outputs or gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    check_range("number of weights", len(weights), 1)
    budget = budget.filled(steps=STEPS)
    detector = calibrated(ground, rate=rate, neighbors=neighbors)
    watched, labeled = Watched.of(ground, detector), ground.labeled
    work = ground.context.work or cache_folder() / "detection"
    method = "mainstay" if labeled else "hag"
    unaware = AttackSpec.read(method, eps=budget.threat.eps, norm=budget.threat.norm, steps=budget.steps)
    decoys = Decoys.drawn(detector, ground.seed)
    common: dict[str, Any] = {"steps": budget.steps, "threat": budget.threat, "labeled": labeled}
    attacks: list[tuple[str, bool, Any, dict[str, Any]]] = [(method, False, unaware.attack, unaware.facts)]
    for goal in GOALS:
        for weight in weights:
            one = evasion(detector, decoys, goal, weight, **common)
            told = {"method": "detector-aware", "labels": "aware" if labeled else "free", "values": describe(one)}
            attacks.append((one.name, True, one, told))
    tried, folders = [], []
    labels = ground.query.labels if labeled else None
    for name, aware, each, facts in attacks:
        source = Source(each, ground.model, ground.reference)
        key = run_key(replace(unaware, attack=each), [source], ground, labels)
        folders.append(work / (f"{key}-{detector.digest}" if aware else key))
        with ground.context.stage(name) as progress:
            watched_run = ground.context.but(stage=always(progress))
            made = run_attack(ground, [source], labels, work=folders[-1], fold=True, context=watched_run)
        tried.append(watched.judge(name, made.pixels, aware, {**facts, "adaptive": aware}, made))
    clean = watched.judge("clean", ground.dataset.images.pixels(ground.rows))
    judged = (clean, *tried, worst_of(tried))
    metric = "map" if labeled else "map-of-first-answers"
    done = Detection(budget, rate, detector, Rows(), judged, metric)
    done = replace(done, rows=detection_rows(ground, done, neighbors))
    for folder in folders:
        forget(folder)
    return done


def worst_of(tried: Sequence[Judged]) -> Judged:
    """For each query the undetected picture with the lowest average precision, or the lowest where all are detected."""
    ap, alarms = np.stack([one.ap for one in tried]), np.stack([one.alarms for one in tried])  # (A, Q)
    pick = np.where(alarms, ap + 2, ap).argmin(0)  # (Q,); an average precision is at most 1
    at = np.arange(ap.shape[1])
    made = [one.made for one in tried if one.made is not None]
    passes = AttackedSet(
        np.stack([one.pixels for one in made])[pick, at],
        np.stack([one.forwards for one in made]).sum(0),
        np.stack([one.backwards for one in made]).sum(0),
        sum(one.seconds for one in made),
    )
    values, score = np.stack([one.values for one in tried])[pick, at], np.stack([one.score for one in tried])[pick, at]
    facts = {
        "method": "detector-aware",
        "labels": (tried[0].facts or {}).get("labels"),
        "adaptive": True,
        "tried": [one.name for one in tried],
        "kept_of_each": np.bincount(pick, minlength=len(tried)).tolist(),
    }
    return Judged(AWARE, True, values, score, alarms[pick, at], ap[pick, at], facts, passes)


def auroc(clean: Floats, attacked: Floats) -> float:
    """Probability that an attacked value is above a clean one, equal ones half, `(n,)` and `(m,)` to [0, 1]."""
    low = np.searchsorted(np.sort(clean), attacked, side="left")
    high = np.searchsorted(np.sort(clean), attacked, side="right")
    return float((low + high).mean() / 2 / len(clean))


def share_interval(hits: Array) -> tuple[float, float]:
    """Wilson's 95% interval of a share, `(n,)` bool; it has a width where all are alike, which a bootstrap has not."""
    from scipy.stats import binomtest

    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def detection_rows(ground: Ground, done: Detection, neighbors: int) -> Rows:
    """False alarms and clean MAP, then for each attack detection rate, MAP, evaded and broken, and AUROCs."""
    base, detector, threat = ground.base, done.detector, done.budget.threat
    defense: dict[str, Any] = {
        "method": "detect",
        "criteria": list(detector.names),
        "rate": done.rate,
        "neighbors": neighbors,
        "threshold": detector.threshold,
        "validation": detector.clean.shape[1],
        "model": base.defense,
    }
    base = replace(base, defense=defense, hashes={**base.hashes, "detector": detector.digest})
    spent = {"norm": threat.norm, "eps": threat.eps, "steps": done.budget.steps, "restarts": 1, "grid": "8 bit"}
    clean, rows = done.judged[0], Rows()

    def share(row: Row, name: str, hits: Array) -> Row:
        return replace(row, task="query", metric=name, value=float(hits.mean()), ci95=share_interval(hits), n=len(hits))

    def mean(row: Row, ap: Floats) -> Row:
        found = replace(row, task="query->database", metric=done.metric, ties="expected")
        return averaged(found, ap, seed=ground.seed)

    for one in done.judged:
        row = base
        if one.made is not None:
            row = replace(
                base,
                attack=one.facts,
                threat=spent,
                seconds=round(one.made.seconds, 3),
                forwards=int(np.ceil(one.made.forwards.mean())),
                backwards=int(np.ceil(one.made.backwards.mean())),
            )
        rows += [share(row, "false-alarms" if one.aware is None else "detected", one.alarms), mean(row, one.ap)]
        if one.aware is None:
            continue
        rows.append(share(row, "evaded-and-broken", one.broken(clean.ap)))
        for name, a, b in (
            ("score", clean.score, one.score),
            *((name, clean.values[:, m], one.values[:, m]) for m, name in enumerate(detector.names)),
        ):
            rows.append(replace(row, task="query", metric=f"auroc-{name}", value=auroc(a, b), n=len(a)))
    return rows
