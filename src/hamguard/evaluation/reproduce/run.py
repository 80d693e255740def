"""Recipes of experiments inside the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import get_args

from hamguard.core.errors import RequestError
from hamguard.evaluation.reproduce.experiment import Experiment, Scale

SCALES: tuple[Scale, ...] = get_args(Scale)


def recipe_of(experiment: Experiment, scale: Scale) -> Path:
    """The recipe file of an experiment: its own at that scale, else the one that it shares.

    Raises:
        RequestError: the experiment has no such form.
    """
    if scale not in experiment.scales:
        raise RequestError(f"{experiment.name} has no recipe at scale {scale}, only at {', '.join(experiment.scales)}")
    folder = Path(str(files("hamguard") / "recipes" / scale))
    for name in (experiment.name, experiment.recipe):
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise RequestError(f"{experiment.name} has no recipe at scale {scale}")
