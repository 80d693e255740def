"""A grid spelled out: every model, attack, defense and party that a recipe stands for, each checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.study.grid_recipe import (
    Asked,
    AttacksPart,
    GridRecipe,
    ModelsPart,
    ProtectionsPart,
    TrainingPart,
)
from hamguard.evaluation.study.recipe_section import words_of
from hamguard.trainers.job import DataSection, Job
from hamguard.trainers.words import read_job


@dataclass(frozen=True)
class ModelCell:
    """One model.

    Attributes:
        name: what rows call it.
        table: its table in the recipe.
        data: name of its data.
        seed: of its training, attacks and intervals.
        request: how it is trained; None where it is loaded.
        load: the model to load, else empty.
    """

    name: str
    table: str
    data: str
    seed: int
    request: Job | None
    load: str = ""


@dataclass(frozen=True)
class AttackCell:
    """One attack, for every model that its table names; `eps` and `norm` are those of its table."""

    name: str
    table: str
    spec: AttackSpec
    eps: float | None
    norm: str


@dataclass(frozen=True)
class GridPlan:
    """All cells of a recipe.

    Attributes:
        models: in the order of the recipe, seed by seed.
        attacks: in the order of the recipe.
    """

    models: tuple[ModelCell, ...]
    attacks: tuple[AttackCell, ...]


def expand(recipe: GridRecipe) -> GridPlan:
    """Spell a grid out, and check every request that it will make.

    Raises:
        RequestError: an unknown method or setting; the message names the table.
    """
    models = [
        cell
        for seed in recipe.seeds
        for name, part in recipe.models.items()
        for cell in _at(f"models.{name}", _models, recipe, name, part, seed)
    ]
    attacks = [
        AttackCell("-".join([name, *_budget(part, asked)]), name, asked.spec, asked.eps, part.norm)
        for name, part in recipe.attacks.items()
        for asked in _at(f"attacks.{name}", part.attacks, name)
    ]
    first = next(iter(recipe.data))
    for name, part in recipe.attacks.items():
        if part.generator:
            _at(f"attacks.{name}.generator", generator_request, part.generator, recipe.data[first], 0)
    for name in recipe.defenses:
        _at(f"defenses.{name}", hardening, recipe, name, first, 0)
    for name, guard in recipe.protections.items():
        if (guard.method or name) == "ppl":
            _at(f"protections.{name}", protector_request, guard, recipe.data[first], guard.eps[0], 0)
        _at(f"protections.{name}.parties", parties, guard, recipe.data[first], 0)
    plan = GridPlan(tuple(models), tuple(attacks))
    _check_names(plan)
    _check_joins(recipe, plan)
    return plan


def pairs(attacks: Sequence[AttackCell], first: str, second: str) -> list[tuple[AttackCell, AttackCell]]:
    """Attacks of two tables at the same radius and in the same direction, which can be compared query by query."""
    return [
        (one, other)
        for one in attacks
        for other in attacks
        if (one.table, other.table) == (first, second)
        and (one.eps, one.norm, one.spec.toward) == (other.eps, other.norm, other.spec.toward)
    ]


def _check_names(plan: GridPlan) -> None:
    """Two cells of one name would hide each other in tables and comparisons."""
    for kind, names in (("models", [m.name for m in plan.models]), ("attacks", [a.name for a in plan.attacks])):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise RequestError(f"two {kind} are called {twice}; rename a table, or leave out a value that stands twice")


def _check_joins(recipe: GridRecipe, plan: GridPlan) -> None:
    """Transfer and comparisons that would come to nothing cost no training."""
    groups: dict[tuple[str, int], set[str]] = {}
    for cell in plan.models:
        groups.setdefault((cell.data, cell.seed), set()).add(cell.name)
    if part := recipe.transfer:
        if not part.joint and all(len(names) < 2 for names in groups.values()):
            raise RequestError(
                "transfer needs at least two models on the same data, or lists of models in transfer.joint"
            )
        known = [cell.name for cell in plan.models]
        for names in part.joint:
            if len(names) < 2:
                raise RequestError(f"transfer.joint takes lists of at least two models, got {list(names)}")
            for name in names:
                check_choice("model in transfer.joint", name, known)
            if not any(set(names) <= group for group in groups.values()):
                raise RequestError(f"transfer.joint: {', '.join(names)} are not on the same data with the same seed")
            for table in part.attacks:
                if recipe.attacks[table].generator:
                    raise RequestError(f"transfer.joint cannot take {table}: a generator is trained against one model")
    for first, second in recipe.compare.attacks:
        one, other = (set(recipe.attacks[name].models or recipe.models) for name in (first, second))
        if not pairs(plan.attacks, first, second) or not one & other:
            raise RequestError(
                f"compare.attacks: {first} and {second} share no eps, norm and direction on any model, so nothing is compared"
            )


def _at(table: str, work: Any, *words: Any) -> Any:
    try:
        return work(*words)
    except RequestError as error:
        raise RequestError(f"table {table}: {error}") from error


def _flags(part: TrainingPart, data: DataSection, seed: int) -> dict[str, Any]:
    """What all requests of a table share."""
    return {
        "seed": seed,
        "data.source": data.source,
        "data.protocol": data.protocol,
        "data.size": data.size,
        "data.split_seed": data.split_seed,
        "data.drop_duplicates": data.drop_duplicates or None,
        "training.epochs": part.epochs,
        "training.batch_size": part.batch_size,
    }


def _models(recipe: GridRecipe, name: str, part: ModelsPart, seed: int) -> list[ModelCell]:
    cells = []
    several = len(recipe.seeds) > 1
    data = part.data or tuple(recipe.data)
    for where, backbone, bits in product(data, part.backbone, part.bits):
        words = [name]
        words += [where] if len(data) > 1 else []
        words += [str(backbone or "default")] if len(part.backbone) > 1 else []
        words += [str(bits)] if len(part.bits) > 1 else []
        words += [f"seed{seed}"] if several else []
        title = "-".join(words)
        if part.load:
            cells.append(ModelCell(title, name, where, seed, None, part.load))
            continue
        flags = {
            **_flags(part, recipe.data[where], seed),
            "method": part.method or name,
            "model.bits": bits,
            "model.backbone": backbone,
            "model.weights": part.weights,
            "preset": part.preset,
        }
        cells.append(ModelCell(title, name, where, seed, read_job({}, flags, words_of(part.set), kind="model")))
    return cells


def _budget(part: AttacksPart, asked: Asked) -> list[str]:
    """What tells an attack from the others of its table, as parts of its name."""
    words = ["own" if asked.eps is None else f"{asked.eps:.4g}"] if len(part.eps) > 1 else []
    return words + ([str(asked.steps or "default")] if len(part.steps) > 1 else [])


def hardening(recipe: GridRecipe, name: str, data: str, seed: int) -> Job:
    """The request of a defense on a data set.

    Raises:
        RequestError: an unknown method or setting.
    """
    part = recipe.defenses[name]
    flags = {
        **_flags(part, recipe.data[data], seed),
        "method": part.method or name,
        "eps": part.eps,
        "norm": part.norm,
        "preset": part.preset,
    }
    return read_job({}, flags, words_of(part.set), kind="hardened")


def generator_request(part: TrainingPart, data: DataSection, seed: int) -> Job:
    """The request of a generator.

    Raises:
        RequestError: an unknown setting.
    """
    return read_job({}, {**_flags(part, data, seed), "preset": part.preset}, words_of(part.set), kind="generator")


def protector_request(part: ProtectionsPart, data: DataSection, eps: float, seed: int) -> Job:
    """The request of a protector.

    Raises:
        RequestError: an unknown setting.
    """
    flags: Mapping[str, Any] = {**_flags(part, data, seed), "preset": part.preset, "settings.eps": eps}
    return read_job({}, flags, words_of(part.set), kind="protector")


def parties(part: ProtectionsPart, data: DataSection, seed: int) -> list[tuple[Job, float]]:
    """Who searches: training request and share of protected pictures.

    Raises:
        RequestError: an unknown method or setting.
    """
    asked = part.parties
    found = []
    for method, backbone, bits, share in product(asked.method, asked.backbone, asked.bits, asked.share):
        flags = {
            **_flags(asked, data, seed),
            "method": method,
            "model.bits": bits,
            "model.backbone": backbone,
            "preset": asked.preset,
        }
        found.append((read_job({}, flags, words_of(asked.set), kind="model"), share))
    return found
