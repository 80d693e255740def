"""The measures of robustness on one model: success, minimal perturbation, radius, curves, sensitivity, CLEVER (H.1 to H.5).

All attacks are PGD on the own code (toward: on the anchor code), because the measures ask how robust a model is against one fixed
attack; the worst over many attacks is what an audit looks for. Retrieval figures come from 8-bit images encoded again. Distances
(minimal perturbation, flip curves) come from unrounded images, because they are finer than a level.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hamguard.attacks.budget import Budget
from hamguard.core.checks import check_choice
from hamguard.core.context import no_bar
from hamguard.core.errors import RequestError
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.registry import MEASURES, Found, Subject, check_measures, default_measures
from hamguard.models.trial import ZERO_GRADIENT, gradient_kind

Options = Mapping[str, Mapping[str, Any]]
"""Options of measures, by the measure's name."""


def measure_model(
    ground: Ground,
    budget: Budget,
    measures: Sequence[str] = (),
    *,
    options: Options | None = None,
) -> dict[str, Found]:
    """Carry out measures on a model.

    Args:
        ground: the model on its query images.
        budget: linf radius of attacks and balls, and gradients of attacks.
        measures: names; empty for all that the data allow.
        options: of measures, by name; those of a measure that is not carried out are left alone.

    Returns:
        What each measure found, by its name.

    Raises:
        RequestError: an unknown measure or option, a measure that needs labels on data without, a budget that is not linf, or
            settings out of range.
        RunError: a gradient is not finite.
    """
    check_measures(measures)
    check_budget(budget)
    own = read_options(options or {})
    base = ground.base
    if gradient_kind(ground.model) == "zero":
        base = replace(base, notes=(*base.notes, ZERO_GRADIENT))
    quiet = replace(ground, context=ground.context.but(stage=no_bar))  # one bar tells which measure is at work
    subject = Subject(quiet, budget, base)
    names = list(measures) or default_measures(labeled=subject.labeled)
    for name in names:
        if MEASURES.facts(name)["labeled"] and not subject.labeled:
            raise RequestError(f"measure {name} needs labels, and {ground.dataset.name} has none")
    found = {}
    with ground.context.stage(f"measuring {ground.name}") as progress:
        for number, name in enumerate(names):
            progress(number / len(names), name)
            found[name] = MEASURES[name](subject, **own.get(name, {}))
    return found


def check_budget(budget: Budget) -> None:
    """Check that measures can be told within a budget.

    Raises:
        RequestError: it is not linf.
    """
    if budget.threat.norm != "linf":
        raise RequestError(f"robustness measures take a linf budget, got {budget.threat.norm}")


def read_options(options: Options) -> dict[str, dict[str, Any]]:
    """Options as values, their names checked, before any work.

    Raises:
        RequestError: an unknown measure or option, or words that its measure does not know.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, given in options.items():
        allowed, read = list(inspect.signature(MEASURES[name]).parameters)[1:], MEASURES.facts(name)["read"]
        for key, value in given.items():
            if not allowed:
                raise RequestError(f"measure {name} has no options, got {key}")
            check_choice(f"option of measure {name}", key, allowed)
            found.setdefault(name, {})[key] = read[key](value) if key in read else value
    return found
