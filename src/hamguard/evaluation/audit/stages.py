"""The attacks of an audit, one stage after the other; each sees only the queries that still hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hamguard.core.types import Ints
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.plan import BATTERY, LONG, Cell, Gradients
from hamguard.evaluation.audit.substitute import train_substitute
from hamguard.evaluation.audit.worst import Stage, Worst
from hamguard.models.store import AnyModel

Told = Callable[[str], None]
"""Told which stage begins."""

TRANSFER = Cell("center", "inner")
"""What makes pictures on another model: center needs no fit, and relaxed codes are right on models that hide nothing."""

THROUGH = (Cell("own", "logarithm"), Cell("center", "logarithm"))
"""What follows gradients through steps: outputs there are no relaxed codes, so the loss takes them as they are."""


def begin(bench: Bench) -> Worst:
    """The clean queries, and where the battery could bring them."""
    return Worst(bench.clean, np.minimum.reduce(list(bench.floors.values())), bench.clean_pixels)


def gradient_stages(bench: Bench, worst: Worst, told: Told) -> None:
    """The battery; gradients through steps and saturated parts, where the model has any; the best of all again, longer, twice."""
    for cell in BATTERY:
        _gradient(bench, worst, cell, cell.name, told)
    if len(worst.open) and bench.masks():
        for cell in THROUGH:
            _gradient(bench, worst, cell, f"{cell.name}, through steps", told, gradients="through")
    if len(worst.open):
        best = best_stage(worst, worst.open)
        _gradient(
            bench,
            worst,
            Cell(best.guide, best.loss),
            f"{best.name}, longer",
            told,
            steps=LONG * bench.plan.steps,
            restarts=2,
            gradients=best.gradients,
        )


def best_stage(worst: Worst, numbers: Ints) -> Stage:
    """The gradient stage that takes most from some queries; every stage has attacked the queries that still hold.

    Raises:
        ValueError: there was no stage.
    """

    def taken(stage: Stage) -> float:
        at = np.isin(stage.numbers, numbers)
        return float((worst.clean[stage.numbers[at]] - stage.ap[at]).mean()) if at.any() else 0.0

    return max((stage for stage in worst.stages if stage.kind == "gradient"), key=taken)


def _gradient(
    bench: Bench,
    worst: Worst,
    cell: Cell,
    name: str,
    told: Told,
    *,
    steps: int | None = None,
    restarts: int = 1,
    gradients: Gradients = "rescaled",
) -> None:
    numbers, steps = worst.open, steps or bench.plan.steps
    if len(numbers) == 0:
        if worst.stages:
            return
        numbers = bench.sample()  # nothing to break, but checks ask about a gradient attack
    told(name)
    folder = f"{len(worst.stages):02d}"
    # every stage starts elsewhere: with single labels guides have one code, and equal stages would be wasted
    got = bench.run(
        cell, numbers, name=folder, steps=steps, restarts=restarts, gradients=gradients, turn=len(worst.stages)
    )
    worst.offer(numbers, got.made.pixels, got.ap)
    worst.note(
        name,
        "gradient",
        numbers,
        got.ap,
        got.spent,
        guide=cell.guide,
        loss=cell.loss,
        steps=steps,
        restarts=restarts,
        gradients=gradients,
    )


def transfer_stages(bench: Bench, worst: Worst, sources: Sequence[AnyModel], told: Told) -> None:
    """Pictures made on other models, or on a substitute that imitates the audited one.

    They attack the queries that still hold and the sample of the checks, so that a check can compare them with the gradients of
    the audited model.
    """
    made_on = dict(zip(bench.plan.sources, sources, strict=True))
    if not made_on and bench.plan.substitute:
        told("a substitute is trained")
        made_on["a substitute"] = train_substitute(bench)
    for name, model in made_on.items():
        numbers = np.union1d(worst.open, bench.sample())
        told(f"pictures made on {name}")
        bank = bench.ground.codes_of_part("train", model)
        got = bench.run(
            TRANSFER, numbers, name=f"{len(worst.stages):02d}", steps=bench.plan.steps, model=model, bank=bank
        )
        worst.offer(numbers, got.made.pixels, got.ap)
        worst.note(
            f"made on {name}",
            "transfer",
            numbers,
            got.ap,
            got.spent,
            guide=TRANSFER.guide,
            loss=TRANSFER.loss,
            steps=bench.plan.steps,
            restarts=1,
        )
