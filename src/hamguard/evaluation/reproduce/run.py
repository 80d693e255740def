"""Experiments by name, their recipes inside the package, and what becomes of their rows."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files
from pathlib import Path

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Experiment, Scale

PAPERS = ("ppl", "prosgan", "hag", "cmla", "saat")
SCALES = ("small", "paper")


def experiments() -> dict[str, Experiment]:
    """All experiments by name, in the order of the papers."""
    for paper in PAPERS:
        import_module(f"hamguard.evaluation.reproduce.{paper}")
    return EXPERIMENTS


def experiment_named(name: str) -> Experiment:
    """An experiment.

    Raises:
        RequestError: there is none; the message lists all and the nearest.
    """
    return experiments()[check_choice("experiment", name, experiments())]


def recipe_of(experiment: Experiment, scale: Scale) -> Path:
    """The recipe file of an experiment.

    Raises:
        RequestError: the experiment has no such form.
    """
    path = Path(str(files("hamguard") / "recipes" / scale / f"{experiment.recipe or experiment.name}.toml"))
    if not path.is_file():
        raise RequestError(f"{experiment.name} has no recipe at scale {scale}")
    return path
