"""What a study asks of trainings: what all tables share, and the requests of models and of defenses of cross-modal ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hamguard.defenses.cross_modal import CrossDefense
from hamguard.evaluation.study.cross_recipe import CrossRecipe
from hamguard.evaluation.study.recipe_section import NetPart, TrainingPart
from hamguard.models.backbones import check_backbone
from hamguard.trainers.job import DataSection, Job
from hamguard.trainers.words import read_job


def job_of(kind: str, flags: Mapping[str, Any], settings: Mapping[str, Any]) -> Job:
    """The training that a table asks for; values of `set` are what the recipe file holds."""
    job = read_job({}, flags, settings, kind=kind)
    if job.model and job.model.backbone:
        check_backbone(job.model.backbone)
    return job


def _of_data(data: DataSection) -> dict[str, Any]:
    """The data of a request."""
    return {f"data.{name}": getattr(data, name) for name in DataSection.model_fields}


def flags_of(part: TrainingPart, data: DataSection, seed: int) -> dict[str, Any]:
    """What all requests of a table share."""
    own = {"seed": seed, "training.epochs": part.epochs, "training.batch_size": part.batch_size}
    return {**own, **_of_data(data)}


def net_request(
    kind: Literal["model", "pair"], name: str, part: NetPart, data: DataSection, one: tuple[str | None, int, int]
) -> Job:
    """The request of a model of a table, or of a cross-modal one: backbone, bits and seed `one` on its data.

    Raises:
        RequestError: an unknown method or setting.
    """
    backbone, bits, seed = one
    flags = {
        **flags_of(part, data, seed),
        "method": part.method or name,
        "model.bits": bits,
        "model.backbone": backbone,
        "model.weights": part.weights,
        "preset": part.preset,
    }
    return job_of(kind, flags, part.set)


def pair_hardening(recipe: CrossRecipe, kind: CrossDefense, data: str, seed: int) -> Job:
    """The request of a defense of cross-modal models on a data set.

    Raises:
        RequestError: an unknown setting.
    """
    part = recipe.defenses
    assert part is not None
    own = {"method": kind, "seed": seed, "eps": part.eps, "training.epochs": part.epochs}
    flags = {**own, **_of_data(recipe.data[data])}
    return job_of("hardened-pair", flags, part.settings(kind))
