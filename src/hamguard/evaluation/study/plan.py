"""A study spelled out: every model, attack, defense and party that a recipe stands for, each checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.study.cross_recipe import CrossRecipe
from hamguard.evaluation.study.grid_recipe import (
    AttacksPart,
    GeneratorPart,
    GridRecipe,
    ModelsPart,
    PlannedAttack,
    ProtectionsPart,
)
from hamguard.evaluation.study.pair_requests import flags_of, job_of, net_request, pair_hardening
from hamguard.evaluation.study.recipe import StudyRecipe
from hamguard.evaluation.study.recipe_section import NetPart, TrainingPart
from hamguard.trainers.job import DataSection, Job


@dataclass(frozen=True)
class DefenseCell:
    """A defense of one model.

    Attributes:
        name: what rows call the hardened model.
        table: its table in the recipe.
        request: how it is trained.
    """

    name: str
    table: str
    request: Job


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
        defenses: what it is hardened by.
    """

    name: str
    table: str
    data: str
    seed: int
    request: Job | None
    load: str = ""
    defenses: tuple[DefenseCell, ...] = ()


@dataclass(frozen=True)
class AttackCell:
    """One attack, for every model that its table names.

    Attributes:
        name: what rows, tables and cells call it.
        table: its table in the recipe.
        spec: the attack.
        eps, norm: of its table.
        models: tables of the models that it is for; None for all.
        defended: also on hardened models.
        generator: how the generator is trained that it needs; None where it needs none.
        equal_rmse: its radius is where its RMSE is that of the generator, which it does not need itself.
        sheet: draw queries before and after.
    """

    name: str
    table: str
    spec: AttackSpec
    eps: float | None = None
    norm: str | None = None
    models: tuple[str, ...] | None = None
    defended: bool = True
    generator: GeneratorPart | None = None
    equal_rmse: bool = False
    sheet: bool = False

    def meets(self, cell: ModelCell, *, hardened: bool) -> bool:
        """Whether it is carried out on a model, as it was trained or hardened."""
        return (self.defended or not hardened) and (self.models is None or cell.table in self.models)


@dataclass(frozen=True)
class StudyPlan:
    """All cells of a recipe.

    Attributes:
        models: in the order of the recipe, seed by seed.
        attacks: in the order of the recipe.
    """

    models: tuple[ModelCell, ...]
    attacks: tuple[AttackCell, ...]


def expand(recipe: StudyRecipe) -> StudyPlan:
    """Spell a study out, and check every request that it will make.

    Raises:
        RequestError: an unknown method or setting; the message names the table.
    """
    plan = _pairs_of_nets(recipe) if isinstance(recipe, CrossRecipe) else _grid(recipe)
    _check_names(plan)
    return plan


def _pairs_of_nets(recipe: CrossRecipe) -> StudyPlan:
    """The cells of a study of cross-modal models."""
    models = [
        cell
        for seed in recipe.seeds
        for name, part in recipe.models.items()
        for cell in _nets(recipe, name, part, seed)
    ]
    attacks = []
    if guided := recipe.guided:
        attacks = [
            AttackCell(method, "guided", _at("guided", guided.attack, method), defended=False)
            for method in guided.methods
        ]
    return StudyPlan(tuple(models), tuple(attacks))


def _nets(recipe: CrossRecipe, name: str, part: NetPart, seed: int) -> list[ModelCell]:
    """The cells of one table of cross-modal models."""
    cells, hard = [], recipe.defenses
    data = part.data or tuple(recipe.data)
    for where, backbone, bits in product(data, part.backbone, part.bits):
        title = _title(recipe, name, part, (where, backbone, bits, seed))
        request = _at(f"models.{name}", net_request, "pair", name, part, recipe.data[where], (backbone, bits, seed))
        hardened = hard.methods if hard and name in (hard.models or recipe.models) else ()
        defenses = tuple(
            DefenseCell(f"{title}-{kind}", "", _at("defenses", pair_hardening, recipe, kind, where, seed))
            for kind in hardened
        )
        cells.append(ModelCell(title, name, where, seed, request, defenses=defenses))
    return cells


def _title(recipe: StudyRecipe, name: str, part: NetPart, one: tuple[str, str | None, int, int]) -> str:
    """What rows call a model of a table: its data, backbone, bits and seed where there are several."""
    where, backbone, bits, seed = one
    words = [name]
    words += [where] if len(part.data or recipe.data) > 1 else []
    words += [str(backbone or "default")] if len(part.backbone) > 1 else []
    words += [str(bits)] if len(part.bits) > 1 else []
    words += [f"seed{seed}"] if len(recipe.seeds) > 1 else []
    return "-".join(words)


def _grid(recipe: GridRecipe) -> StudyPlan:
    """The cells of a grid of hash models."""
    models = [
        cell
        for seed in recipe.seeds
        for name, part in recipe.models.items()
        for cell in _models(recipe, name, part, seed)
    ]
    attacks = [
        AttackCell(
            "-".join([name, *_budget(part, asked)]),
            name,
            asked.spec,
            asked.eps,
            part.norm,
            part.models,
            part.defended,
            recipe.attacks[part.rmse_of].generator if part.rmse_of else part.generator,
            bool(part.rmse_of),
            part.sheet,
        )
        for name, part in recipe.attacks.items()
        for asked in _at(f"attacks.{name}", part.attacks, name)
    ]
    first = next(iter(recipe.data))
    for name, part in recipe.attacks.items():
        for where, source in recipe.data.items() if part.generator else ():
            _at(f"attacks.{name}.generator", generator_request, part.generator, where, source, 0)
    for name in recipe.defenses:
        _at(f"defenses.{name}", hardening, recipe, name, first, 0)
    for name, guard in recipe.protections.items():
        if (guard.method or name) == "ppl":
            _at(f"protections.{name}", protector_request, guard, recipe.data[first], guard.eps[0], 0)
        elif strange := sorted(guard.model_fields_set & {"made_on", *TrainingPart.model_fields}):
            raise RequestError(f"table protections.{name}: noise is not trained; leave out {', '.join(strange)}")
        _at(f"protections.{name}.parties", parties, guard, recipe.data[first], 0)
    plan = StudyPlan(tuple(models), tuple(attacks))
    _check_joins(recipe, plan)
    return plan


def pairs(attacks: Sequence[AttackCell], first: str, second: str) -> list[tuple[AttackCell, AttackCell]]:
    """Attacks of two tables at the same radius and in the same direction, which can be compared query by query."""
    return [
        (one, other)
        for one in attacks
        for other in attacks
        if (one.table, other.table) == (first, second) and _of_one_budget(one, other)
    ]


def _of_one_budget(one: AttackCell, other: AttackCell) -> bool:
    norms = [cell.norm or (cell.spec.threat.norm if cell.spec.threat else "linf") for cell in (one, other)]
    return norms[0] == norms[1] and (one.eps, one.spec.toward) == (other.eps, other.spec.toward)


def _check_names(plan: StudyPlan) -> None:
    """Two cells of one name would hide each other in tables and comparisons."""
    for kind, names in (("models", [m.name for m in plan.models]), ("attacks", [a.name for a in plan.attacks])):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise RequestError(f"two {kind} are called {twice}; rename a table, or leave out a value that stands twice")


def _check_joins(recipe: GridRecipe, plan: StudyPlan) -> None:
    """Transfer and comparisons that would come to nothing cost no training."""
    groups: dict[tuple[str, int], set[str]] = {}
    for cell in plan.models:
        groups.setdefault((cell.data, cell.seed), set()).add(cell.name)
    if part := recipe.transfer:
        if not part.joint and all(len(names) < 2 for names in groups.values()):
            raise RequestError(
                "transfer needs at least two models on the same data, or lists of models in transfer.joint"
            )
        for table in part.attacks:
            if recipe.attacks[table].rmse_of:
                raise RequestError(f"transfer cannot take {table}: its eps is found on the model that it is scored on")
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


def _models(recipe: GridRecipe, name: str, part: ModelsPart, seed: int) -> list[ModelCell]:
    cells = []
    for where, backbone, bits in product(part.data or tuple(recipe.data), part.backbone, part.bits):
        title = _title(recipe, name, part, (where, backbone, bits, seed))
        guards = _defenses(recipe, title, name, where, seed)
        if part.load:
            cells.append(ModelCell(title, name, where, seed, None, part.load, guards))
            continue
        request = _at(f"models.{name}", net_request, "model", name, part, recipe.data[where], (backbone, bits, seed))
        cells.append(ModelCell(title, name, where, seed, request, defenses=guards))
    return cells


def _defenses(recipe: GridRecipe, title: str, table: str, data: str, seed: int) -> tuple[DefenseCell, ...]:
    """What a model of a table is hardened by."""
    return tuple(
        DefenseCell(f"{title}+{name}", name, _at(f"defenses.{name}", hardening, recipe, name, data, seed))
        for name, part in recipe.defenses.items()
        if table in (part.models or (table,))
    )


def _budget(part: AttacksPart, asked: PlannedAttack) -> list[str]:
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
        **flags_of(part, recipe.data[data], seed),
        "method": part.method or name,
        "eps": part.eps,
        "norm": part.norm,
        "preset": part.preset,
    }
    return job_of("hardened", flags, part.set)


def generator_request(part: GeneratorPart, name: str, data: DataSection, seed: int) -> Job:
    """The request of a generator on the data of a table, by its name.

    Raises:
        RequestError: an unknown setting.
    """
    there = part.at(name)
    return job_of("generator", {**flags_of(there, data, seed), "preset": there.preset}, there.set)


def protector_request(part: ProtectionsPart, data: DataSection, eps: float, seed: int) -> Job:
    """The request of a protector.

    Raises:
        RequestError: an unknown setting.
    """
    flags: Mapping[str, Any] = {**flags_of(part, data, seed), "preset": part.preset, "settings.eps": eps}
    return job_of("protector", flags, part.set)


def parties(part: ProtectionsPart, data: DataSection, seed: int) -> list[tuple[Job, float]]:
    """Who searches: training request and share of protected pictures.

    Raises:
        RequestError: an unknown method or setting.
    """
    asked = part.parties
    found = []
    for method, backbone, bits, share in product(asked.method, asked.backbone, asked.bits, asked.share):
        flags = {
            **flags_of(asked, data, seed),
            "method": method,
            "model.bits": bits,
            "model.backbone": backbone,
            "preset": asked.preset,
        }
        found.append((job_of("model", flags, asked.set), share))
    return found
