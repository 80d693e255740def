"""The attacks of an audit, one stage after the other; each sees only the queries that still hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hamguard.core.types import Ints
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.plan import LONG, Cell, Gradients
from hamguard.evaluation.audit.substitute import train_substitute
from hamguard.evaluation.audit.worst import Stage, Worst
from hamguard.models.store import AnyModel

TRANSFER = Cell("center", "inner")
"""What makes pictures on another model: center needs no fit, and relaxed codes are right on models that hide nothing."""

THROUGH = (Cell("own", "logarithm"), Cell("center", "logarithm"))
"""What follows gradients through steps: outputs there are no relaxed codes, so the loss takes them as they are."""


def begin(bench: Bench) -> Worst:
    """The clean queries, and where the battery could bring them."""
    return Worst(bench.clean, np.minimum.reduce(list(bench.floors.values())), bench.clean_pixels)


def gradient_stages(bench: Bench, worst: Worst) -> None:
    """The battery; gradients through steps and saturated parts, where the model has any; the best of all again, longer, twice."""
    for cell in bench.battery:
        _gradient(bench, worst, cell, cell.name)
    if len(worst.open) and bench.masks():
        for cell in dict.fromkeys(map(bench.blind, THROUGH)):
            _gradient(bench, worst, cell, f"{cell.name}, through steps", gradients="through")
    if len(worst.open):
        best = best_stage(worst, worst.open)
        _gradient(
            bench,
            worst,
            Cell(best.guide, best.loss),
            f"{best.name}, longer",
            steps=LONG * bench.steps,
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
    *,
    steps: int | None = None,
    restarts: int = 1,
    gradients: Gradients = "rescaled",
) -> None:
    numbers, steps = worst.open, steps or bench.steps
    if len(numbers) == 0:
        if worst.stages:
            return
        numbers = bench.sample()  # nothing to break, but checks ask about a gradient attack
    turn = len(worst.stages)
    # every stage starts elsewhere: with single labels guides have one code, and equal stages would be wasted
    with bench.stage(name):
        got = bench.run(
            cell, numbers, name=f"{turn:02d}", steps=steps, restarts=restarts, gradients=gradients, turn=turn
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


def transfer_stages(bench: Bench, worst: Worst, made_on: Mapping[str, AnyModel], cell: Cell = TRANSFER) -> None:
    """Pictures made on other models, such as a substitute that imitates the audited one.

    They attack the queries that still hold and the sample of the checks, so that a check can compare them with the gradients of
    the audited model.
    """
    cell = bench.blind(cell)
    for name, model in made_on.items():
        numbers = np.union1d(worst.open, bench.sample())
        with bench.stage(f"pictures made on {name}"):
            bank = bench.ground.codes_of_part("train", model)
            got = bench.run(cell, numbers, name=f"{len(worst.stages):02d}", model=model, bank=bank)
        worst.offer(numbers, got.made.pixels, got.ap)
        worst.note(
            f"made on {name}",
            "transfer",
            numbers,
            got.ap,
            got.spent,
            guide=cell.guide,
            loss=cell.loss,
            steps=bench.steps,
            restarts=1,
        )


def substitute_of(bench: Bench) -> AnyModel:
    """A small network that was trained to imitate the audited one."""
    with bench.stage("a substitute is trained"):
        return train_substitute(bench)
