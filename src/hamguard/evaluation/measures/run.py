"""The measures of robustness on one model: success, minimal perturbation, radius, curves, sensitivity, CLEVER (H.1 to H.5).

All attacks are PGD on the own code (toward: on the anchor code), because the measures ask how robust a model is against one fixed
attack; the worst over many attacks is what an audit looks for. Retrieval figures come from 8-bit pictures encoded again. Distances
(minimal perturbation, flip curves) come from unrounded pictures, because they are finer than a level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.methods.noise import noise
from hamguard.attacks.threat import Linf
from hamguard.codes.binary import hamming_pairs
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.attack.measure import Ground, Measured, measure_attack
from hamguard.evaluation.attack.plan import AttackPlan, attack_facts, threat_facts
from hamguard.evaluation.measures.clever import Clever, Sampling, bit_clever, clever_rows, guide_clever, rival_codes
from hamguard.evaluation.measures.minimal import (
    CURVE,
    MOST,
    FlipCurve,
    flip_curve,
    flip_rows,
    minimal_perturbation,
    minimal_rows,
)
from hamguard.evaluation.measures.plan import (
    MEASURES,
    PUBLISHED,
    Bench,
    Found,
    Line,
    MeasurePlan,
    check_measures,
    measure_names,
    register,
)
from hamguard.evaluation.measures.radius import flip_radius, radius_rows
from hamguard.evaluation.measures.rows import mean_row, noted
from hamguard.evaluation.measures.sensitivity import lipschitz_rows, local_lipschitz, loss_sensitivity, sensitivity_rows
from hamguard.evaluation.measures.success import (
    BitsMoved,
    Success,
    away_criteria,
    code_curve,
    curve_rows,
    measure_success,
    success_rows,
    toward_criteria,
)
from hamguard.evaluation.search.model_rows import base_row
from hamguard.models.trial import ZERO_GRADIENT, gradient_kind
from hamguard.retrieval.metrics import average_precision

Progress = Callable[[float, str], None]
DRAWS = 4
"""Noisy pictures that a point of the noise curve is a mean over."""


def measure_model(
    ground: Ground, plan: MeasurePlan, *, work: Path, progress: Progress | None = None
) -> dict[str, Found]:
    """Carry out the measures of a plan on a model.

    Args:
        ground: the model on its query pictures.
        plan: which measures, and their settings; without names all that the data allow.
        work: folder of finished batches of attacks.
        progress: told which measure is at work.

    Returns:
        What each measure found, by its name.

    Raises:
        RequestError: an unknown measure, one that needs labels on data without, or settings out of range.
        RunError: a gradient is not finite.
    """
    check_measures(plan.measures)
    Linf(plan.eps)  # a budget out of range costs no work
    banks = (ground.query, ground.database)
    base = base_row(ground.name, ground.model, ground.card, ground.dataset, ground.split, banks, ground.seed)
    if gradient_kind(ground.model) == "zero":
        base = replace(base, notes=(*base.notes, ZERO_GRADIENT))
    bench = Bench(ground, plan, work, base)
    names = list(plan.measures) or default_measures(labeled=bench.labeled)
    for name in names:
        if MEASURES[name].labeled and not bench.labeled:
            raise RequestError(f"measure {name} needs labels, and {ground.dataset.name} has none")
    found = {}
    for number, name in enumerate(names):
        if progress:
            progress(number / len(names), name)
        found[name] = MEASURES[name].run(bench)
    return found


def default_measures(*, labeled: bool) -> list[str]:
    """Measures that are carried out where none is named: all but the CLEVER of guides, as far as labels are there."""
    return [name for name in measure_names() if name != "clever-guide" and (labeled or not MEASURES[name].labeled)]


def pick(rows: Sequence[Row], metric: str, at: int | None = None) -> Row:
    """The last row of a metric."""
    return [row for row in rows if row.metric == metric and (at is None or row.at == at)][-1]


def _fractions(bits: int) -> dict[str, int]:
    """Numbers of bits by the names that tables use for any length of code."""
    return {"1 bit": 1, **{f"K/{part} bits": max(1, bits // part) for part in (8, 4, 2)}}


def _attacked(bench: Bench, plan: AttackPlan) -> tuple[Measured, Row]:
    """An attack with its rows, and the facts of further rows about it."""
    found = measure_attack(bench.ground, plan, work=bench.work)
    return found, replace(found.rows[-1], task="query", metric=None, at=None, value=None, ci95=None, n=None, ties=None)


def _rates(found: Sequence[Success], rows: Sequence[Row], means: Sequence[str]) -> list[Line]:
    lines = []
    for one, text in zip(found, means, strict=True):
        values = np.where(one.failed, np.nan, one.attacked)
        lines.append(
            Line(f"{one.name.partition('[')[0]}: {text}", text, "lower", "share", pick(rows, one.name, one.at), values)
        )
    return lines


@register("success")
def success(bench: Bench) -> Found:
    """How often an attack away from the own code succeeds, on codes and on the search, and how far pictures moved."""
    ground, plan = bench.ground, bench.plan
    made, base = _attacked(bench, AttackPlan(method="pgd", eps=plan.eps, steps=plan.steps))
    attacked = made.sides.attacked
    criteria = away_criteria(bench.clean, ground.database if bench.labeled else None)
    found = [measure_success(one, attacked, bench.clean) for one in criteria]
    rows = [
        *made.rows,
        *success_rows(found, base, seed=ground.seed),
        *curve_rows(attacked, bench.clean, base, seed=ground.seed),
    ]
    lines = []
    if bench.labeled:
        clean = next(row for row in made.rows if row.metric == "map" and row.attack is None)
        ap = average_precision(attacked, ground.database)
        lines.append(Line("MAP, clean", "quality of the search without an attack", "higher", "share", clean))
        lines.append(Line("MAP, attacked", "what the attack leaves of it", "higher", "share", pick(rows, "map"), ap))
    moved = hamming_pairs(attacked.packed, bench.clean.packed).astype(np.float64)
    lines.append(
        Line(
            "bits moved",
            "bits of the code that the attack turns",
            "lower",
            "bits",
            pick(made.rows, "bits-moved"),
            moved,
        )
    )
    tops = [f"nothing relevant among the first {one.at}" for one in found[2:]]
    texts = ["half of the bits turned", "half of the precision among the first 100 gone", *tops][: len(found)]
    lines += _rates(found, rows, texts)
    share = np.arange(1, bench.clean.bits + 1) / bench.clean.bits
    return Found(rows, lines, {"turned": (share, code_curve(attacked, bench.clean))})


@register("toward", labeled=True)
def toward(bench: Bench) -> Found:
    """How often an attack toward the anchor code of a label without overlap succeeds, on codes and on the search."""
    ground, plan = bench.ground, bench.plan
    made, base = _attacked(
        bench, AttackPlan(method="pgd", guide="anchor", targets="no-overlap", eps=plan.eps, steps=plan.steps)
    )
    assert made.targets is not None
    criteria = toward_criteria(
        bench.clean.bits, target=made.sides.ideal.packed, targets=made.targets.labels, database=ground.database
    )
    found = [measure_success(one, made.sides.attacked, bench.clean) for one in criteria]
    rows = [*made.rows, *success_rows(found, base, seed=ground.seed)]
    aimed = Line("t-MAP, toward", "how well the target label is found", "lower", "share", pick(rows, "t-map"))
    texts = [f"within {one.at} bits of the target's code" for one in found[:-2]]
    texts += ["first answer carries the target label", "most of the first 10 answers carry it"]
    return Found(rows, [aimed, *_rates(found, rows, texts)])


def _maker(plan: MeasurePlan) -> Callable[[float], Attack]:
    return lambda eps: replace(pgd(steps=plan.steps, threat=Linf(eps)), rounding=False)


def _quiet(eps: float) -> Attack:
    return replace(noise(threat=Linf(eps)), rounding=False)


def _said(bench: Bench, method: str, attack: Attack) -> Row:
    """Base of rows about an attack of many budgets."""
    plan = AttackPlan(method=method, steps=bench.plan.steps if method == "pgd" else None)
    threat = {key: value for key, value in threat_facts(plan, attack).items() if key != "eps"}
    return replace(bench.base, attack=attack_facts(plan, attack), threat=threat, task="query")


@register("minimal")
def minimal(bench: Bench) -> Found:
    """Least budget at which PGD turns half of the bits, by bisection for every picture."""
    ground, make = bench.ground, _maker(bench.plan)
    found = minimal_perturbation(
        ground.model, bench.x, BitsMoved(bench.clean), make, seed=ground.seed, batch_size=ground.batch_size
    )
    rows = minimal_rows(found, _said(bench, "pgd", make(bench.plan.eps)), seed=ground.seed)
    radius = np.where(found.failed, np.nan, found.radius)
    lines = [
        Line(
            f"least eps, {name}",
            f"least budget that turns half of the bits, {text}",
            "higher",
            "eps",
            pick(rows, f"min-eps-{name}"),
            radius if name == "median" else None,
        )
        for name, text in (("median", "median"), ("p10", "most fragile tenth"), ("p90", "sturdiest tenth"))
    ]
    lines.append(
        Line(
            "least eps, unsolved",
            f"pictures that no budget up to {MOST * 255:g}/255 turns",
            "higher",
            "share",
            pick(rows, "min-eps-unsolved"),
        )
    )
    eps = np.linspace(0, MOST, 257)
    curves = {"solved": (eps, found.rate(eps.tolist()))} if len(found.values) else {}
    return Found(rows, lines, curves)


@register("radius")
def radius(bench: Bench) -> Found:
    """Distance to the nearest border of a bit, linear estimates for several bits, and a flip that was reached."""
    ground = bench.ground
    found = flip_radius(ground.model, bench.x)
    rows = radius_rows(found, bench.base, seed=ground.seed)
    lines = [
        Line(
            f"flip radius, {name}",
            f"estimated budget that turns {name}, median",
            "higher",
            "eps",
            pick(rows, "flip-radius-median", m),
            found.at_least(m),
        )
        for name, m in _fractions(bench.clean.bits).items()
    ]
    lines.append(
        Line(
            "flip radius, reached",
            "budget of a change that was found to turn a bit, median",
            "higher",
            "eps",
            pick(rows, "flip-reached-median"),
            found.reached,
        )
    )
    return Found(rows, lines)


@register("flips")
def flips(bench: Bench) -> Found:
    """Bits that turn as the budget grows, under random noise and under PGD."""
    ground, plan, K = bench.ground, bench.plan, bench.clean.bits
    eps = sorted({*CURVE, plan.eps})
    rows: list[Row] = []
    lines, curves = [], {}
    for method, make, draws in (("noise", _quiet, DRAWS), ("pgd", _maker(plan), 1)):
        found: FlipCurve = flip_curve(
            ground.model, bench.x, make, eps, seed=ground.seed, draws=draws, batch_size=ground.batch_size
        )
        own = flip_rows(found, _said(bench, method, make(plan.eps)), seed=ground.seed)
        if draws > 1:
            own = [noted(row, f"noise: mean over {draws} draws a picture") for row in own]
        place = eps.index(plan.eps)
        what = "random noise turns" if method == "noise" else "PGD turns (unrounded)"
        lines.append(Line(f"flips, {method}", f"bits that {what}", "lower", "bits", own[place], found.flipped[place]))
        curves[method] = (np.array([0.0, *eps]), np.array([0.0, *(found.means / K)]))
        rows += own
    return Found(rows, lines, curves)


@register("sensitivity")
def sensitivity(bench: Bench) -> Found:
    """Length of the loss gradient at clean pictures, on raw outputs and behind tanh."""
    rows, lines = [], []
    for alpha, name in ((0.0, "logits"), (1.0, "tanh")):
        found = loss_sensitivity(bench.ground.model, bench.x, alpha=alpha)
        rows += sensitivity_rows(found, bench.base, seed=bench.ground.seed)
        text = "mean length of the gradient of the own-code loss" + (" behind tanh" if alpha else "")
        lines.append(Line(f"loss sensitivity, {name}", text, "lower", "number", rows[-1], found.length))
    return Found(rows, lines)


@register("lipschitz")
def lipschitz(bench: Bench) -> Found:
    """Steepest change of an output that was found within the budget, of raw outputs and of tanh codes."""
    ground = bench.ground
    found = local_lipschitz(ground.model, bench.x, ball=Linf(bench.plan.eps), seed=ground.seed)
    rows = lipschitz_rows(found, bench.base, seed=ground.seed)
    each: list[tuple[str, str, Floats]] = [
        ("logits", "steepest raw output, per unit of eps", found.slope),
        ("tanh", "steepest tanh output; far below the raw one: saturated", found.relaxed_slope),
        ("mean bit", "raw outputs, mean over bits", found.bits.mean(1)),
    ]
    return Found(
        rows,
        [
            Line(f"Lipschitz, {name}", text, "lower", "number", row, values)
            for (name, text, values), row in zip(each, rows, strict=True)
        ],
    )


def _sampling(bench: Bench) -> Sampling:
    plan = bench.plan
    return Sampling(Linf(plan.eps), plan.batches, plan.points, bench.ground.seed)


def _drawn(bench: Bench) -> str:
    plan, (batches, points) = bench.plan, PUBLISHED
    return f"CLEVER: {plan.batches} batches of {plan.points} points; the paper takes {batches} of {points:,}"


def _clever_lines(found: Clever, rows: Sequence[Row], counts: dict[str, int], what: str) -> list[Line]:
    name = f"clever[{found.what}]"
    lines = [
        Line(
            f"CLEVER{what}, {text}",
            f"estimated lower bound of the budget that {_does(what, text)}, mean",
            "higher",
            "eps",
            pick(rows, name, m),
            found.at_least(m),
        )
        for text, m in counts.items()
    ]
    capped = pick(rows, f"{name}-capped", 1)
    poor = pick(rows, f"{name}-poor-fit")
    ball = f"{found.radius * 255:g}/255"
    lines.append(Line(f"CLEVER{what}, capped", f"pictures whose score is all of {ball}", "higher", "share", capped))
    return [*lines, Line(f"CLEVER{what}, poor fits", "fits to be doubted", "lower", "share", poor)]


def _does(what: str, text: str) -> str:
    return "leads to another class" if what else f"turns {text}"


@register("clever")
def clever(bench: Bench) -> Found:
    """CLEVER of every bit: estimated lower bounds of the budget that turns 1, K/8, K/4 and K/2 bits."""
    ground, K = bench.ground, bench.clean.bits
    nearest = None if bench.plan.all_bits else max(1, K // 2)
    found = bit_clever(ground.model, bench.x, _sampling(bench), nearest=nearest)
    base = noted(bench.base, _drawn(bench))
    rows = clever_rows(found, base, seed=ground.seed)
    facts = replace(rows[0], value=None, ci95=None)
    for k in range(K):
        asked = found.score[~np.isnan(found.score[:, k]), k]  # of pictures that have it among their nearer half
        if len(asked):
            rows.append(mean_row(facts, "clever[one bit]", asked, seed=ground.seed, at=k))
    return Found(rows, _clever_lines(found, rows, _fractions(K), ""))


@register("clever-guide", labeled=True)
def clever_guide(bench: Bench) -> Found:
    """CLEVER of class codes: estimated lower bound of the budget that leads nearer to another class; not among the defaults."""
    ground = bench.ground
    own, rivals = rival_codes(ground.reference, ground.query.labels)
    own, rivals = own.to(bench.x), rivals.to(bench.x)
    rows: list[Row] = []
    lines: list[Line] = []
    for relaxation, what in (("tanh", " of guides, tanh"), ("none", " of guides, logits")):
        found = guide_clever(ground.model, bench.x, own, rivals, _sampling(bench), relaxation=relaxation)
        rows += clever_rows(found, noted(bench.base, _drawn(bench)), seed=ground.seed)
        lines += _clever_lines(found, rows, {"nearest class": 1}, what)
    return Found(rows, lines)
