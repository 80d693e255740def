"""The recipe of a grid: data x models x attacks x defenses x protections x seeds; checked as a whole before any work."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from hamguard.attacks.methods.registry import method_facts
from hamguard.core.errors import RequestError
from hamguard.core.types import Norm as Denominator
from hamguard.core.types import Ties
from hamguard.evaluation.attack.spec import AttackSpec, Reference
from hamguard.evaluation.search.score import EXACT, Convention, check_defined, parse_metric
from hamguard.evaluation.study.recipe_section import NAME, Bits, Eps, Many, NetPart, Section, TrainingPart
from hamguard.trainers.job import DataSection

Name = Annotated[str, Field(pattern=NAME)]
Norm = Literal["linf", "l2"]
Share = Annotated[float, Field(ge=0, le=1)]


class ModelsPart(NetPart):
    """Models to train, one for each combination of the lists, or one to load."""

    load: str | None = Field(None, description="model folder, package.module:factory or torch.export file, instead")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.load and self.model_fields_set - {"load", "data"}:
            given = ", ".join(sorted(self.model_fields_set - {"load", "data"}))
            raise ValueError(f"a model that is loaded is not trained; leave out {given}")
        return self


@dataclass(frozen=True)
class PlannedAttack:
    """An attack of a table, and what the table said of its budget: None takes the method's own."""

    eps: float | None
    steps: int | None
    spec: AttackSpec


class GeneratorPart(TrainingPart):
    """How the generator of an attack is trained; `set` takes every further setting of its method."""

    on: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="further settings on one data set, by the name of its table"
    )

    def at(self, data: str) -> TrainingPart:
        """How it is trained on a data set, by the name of its table."""
        return self.model_copy(update={"set": {**self.set, **self.on.get(data, {})}})


class AttacksPart(Section):
    """Attacks, one for each combination of the lists, on every model."""

    method: str | None = Field(None, description="attack; the name of the table where not given")
    eps: Many[Eps | Literal["own"]] = Field((8 / 255,), description="radius in pixel units; `own`: the method's own")
    norm: Literal["linf", "l2", "l0"] | None = Field(
        None, description="norm of the radius, `linf`, `l2` or `l0`; the method's own where not given"
    )
    steps: Many[Annotated[int, Field(ge=1)] | None] = Field(
        (None,), description="gradients; the method's own where not given"
    )
    restarts: int | None = Field(None, ge=1, description="starts; the method's own where not given")
    preset: str = Field("default", description="published form of the attack, see its card")
    guide: str | None = Field(None, description="code that is left or approached, where the attack takes any")
    targets: str | None = Field(None, description="how target labels are chosen; not given: leave the guide")
    reference: Reference = Field(
        "train", description="what builds guides: codes of `train` or `database`, or the fixed codes of `classes`"
    )
    set: dict[str, Any] = Field(default_factory=dict, description="further options, as `--set` takes them")
    models: Many[str] | None = Field(None, description="names of model tables; all of them where not given")
    defended: bool = Field(True, description="also on hardened models")
    generator: GeneratorPart | None = Field(None, description="how the generator of prosgan is trained")
    rmse_of: str | None = Field(
        None, description="table of a generator; eps is where the RMSE on training pictures is that of its pictures"
    )
    sheet: bool = Field(False, description="draw queries before and after, with their answers")

    @model_validator(mode="after")
    def _one_radius(self) -> Self:
        if self.rmse_of and self.model_fields_set & {"eps", "generator"}:
            raise ValueError("rmse_of finds eps, and takes the generator of another table; leave out eps and generator")
        return self

    def attacks(self, table: str) -> list[PlannedAttack]:
        """The attacks of this table, checked.

        Raises:
            RequestError: an unknown method or option.
        """
        method = self.method or table
        needs = method_facts(method).needs_generator
        if needs != (self.generator is not None):
            raise RequestError(f"{method} {'needs' if needs else 'takes no'} table generator")
        common: dict[str, Any] = {"norm": self.norm, "restarts": self.restarts, "preset": self.preset}
        common |= {"guide": self.guide, "targets": self.targets, "options": self.set}
        found = []
        for eps, steps in product(self.eps, self.steps):
            radius = None if eps == "own" or self.rmse_of else eps
            spec = AttackSpec.read(method, eps=radius, steps=steps, **common)
            found.append(PlannedAttack(radius, steps, replace(spec, reference=self.reference)))
        return found


class DefensesPart(TrainingPart):
    """Adversarial training of every model."""

    method: str | None = Field(None, description="defense; the name of the table where not given")
    eps: Eps = Field(8 / 255, description="radius of the adversaries it trains on")
    norm: Norm = Field("linf", description="norm of the radius, `linf` or `l2`")
    models: Many[str] | None = Field(None, description="names of model tables; all of them where not given")


class AuditPart(Section):
    """Worst case over the battery of the audit."""

    eps: Eps = Field(8 / 255, description="radius in pixel units")
    norm: Norm = Field("linf", description="norm of the radius, `linf` or `l2`")
    steps: int = Field(20, ge=1, description="gradients of each attack of the battery")
    queries: int = Field(60, ge=2, description="the first N of the queries")
    answers: int = Field(
        0, ge=0, description="answers of the search that an attacker without gradients may ask for; 0: none"
    )
    checks: bool = Field(True, description="ask whether the figure is the worst case")


class TransferPart(Section):
    """Pictures made on one model, or on several together, asked of the others on the same data."""

    attacks: Many[str] = Field(description="names of attack tables")
    joint: tuple[tuple[str, ...], ...] = Field((), description="lists of models that pictures are made on together")
    combine: Many[Literal["joint", "sum", "sum-project", "mean"]] = Field(
        ("sum-project",), description="how they are joined, one or several of `joint`, `sum`, `sum-project`, `mean`"
    )


class PartiesPart(TrainingPart):
    """Who searches: models trained on clean (share 0) or protected (share 1) pictures."""

    method: Many[str] = Field(description="hash methods")
    bits: Many[Bits] = Field((16,), description="code length")
    backbone: Many[str | None] = Field((None,), description="network; by picture size where not given")
    share: Many[Share] = Field((0.0, 1.0), description="share of the training pictures that are protected")


class ProtectionsPart(TrainingPart):
    """What protects pictures before they are published, and who searches them."""

    method: Literal["ppl", "noise"] | None = Field(
        None, description="`ppl` or `noise`; the name of the table where not given"
    )
    eps: Many[Annotated[float, Field(gt=0)]] = Field(
        description='radius in pixel units; of another norm where `set` says so: `set = { norm = "l2" }`'
    )
    made_on: str | None = Field(None, description="data that the protector learns from; those it protects by default")
    data: Many[str] | None = Field(None, description="names of data tables; all of them where not given")
    sheet: bool = Field(False, description="draw pictures before and after")
    parties: PartiesPart = Field(description="who searches, see below")


class ComparePart(Section):
    """Pairs of attacks (names of tables) whose figures are compared query by query."""

    attacks: tuple[tuple[str, str], ...] = Field(
        (), description="pairs of names of attack tables, compared at equal eps"
    )
    defenses: bool = Field(True, description="hardened models against their start, under the same attack")


class GridRecipe(Section):
    """A whole grid; parts that are left out are not run."""

    texts: ClassVar[Literal["none"]] = "none"
    """What `Ground.open` takes."""
    batch_size: ClassVar[int] = 64
    """Images attacked at once."""
    parallel: ClassVar[bool] = False
    """Whether each model is worked on by a process of its own."""

    study: Literal["grid"] = Field(description="kind of study, `grid`")
    title: str = Field("Grid", description="line above the page")
    seeds: Many[int] = Field((0,), description="one grid of models for each")
    queries: int | None = Field(None, ge=2, description="first N of the query part; all where not given")
    metrics: Many[str] = Field(
        ("map",), description="what is measured, as `--metric` takes it; the first decides gains and comparisons"
    )
    ties: Ties = Field("expected", description="order of equal distances, as `--ties` takes it")
    norm: Denominator = Field("relevant", description="denominator of map@N, as `--norm` takes it")
    curves: bool = Field(False, description="keep points of the PR and precision@N curves, clean and attacked")
    data: dict[Name, DataSection] = Field(min_length=1)
    models: dict[Name, ModelsPart] = Field(default_factory=dict)
    attacks: dict[Name, AttacksPart] = Field(default_factory=dict)
    defenses: dict[Name, DefensesPart] = Field(default_factory=dict)
    audit: AuditPart | None = None
    transfer: TransferPart | None = None
    protections: dict[Name, ProtectionsPart] = Field(default_factory=dict)
    compare: ComparePart = ComparePart()

    @property
    def sources(self) -> Mapping[str, DataSection]:
        """Data by name."""
        return self.data

    @property
    def convention(self) -> Convention:
        """How figures are counted."""
        return Convention(self.ties, self.norm)

    @property
    def scored(self) -> Sequence[Any]:
        """Everything that decides figures once codes are there; cells are known by it."""
        return self.metrics if self.convention == EXACT else (*self.metrics, self.ties, self.norm)


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "models": ModelsPart,
    "attacks": AttacksPart,
    "defenses": DefensesPart,
    "audit": AuditPart,
    "transfer": TransferPart,
    "protections": ProtectionsPart,
    "compare": ComparePart,
    "attacks.generator": GeneratorPart,
    "protections.parties": PartiesPart,
}


def check_names(recipe: GridRecipe, path: Path | str) -> None:
    """Check the names of tables that other tables use; models, attacks and defenses are checked where the grid is spelled out.

    Raises:
        RequestError: a name that no table has, an unknown metric, or nothing to run.
    """
    if not recipe.models and not recipe.protections:
        raise RequestError(f"{path}: a grid needs at least one table [models.NAME] or [protections.NAME]")
    for text in recipe.metrics:
        parse_metric(text)
        check_defined(text, recipe.convention, sys.maxsize)
    named: list[tuple[str, str, str, Sequence[str] | None, Mapping[str, Any]]] = []
    named += [("models", name, "data", part.data, recipe.data) for name, part in recipe.models.items()]
    named += [("attacks", name, "models", part.models, recipe.models) for name, part in recipe.attacks.items()]
    named += [("defenses", name, "models", part.models, recipe.models) for name, part in recipe.defenses.items()]
    named += [("protections", name, "data", part.data, recipe.data) for name, part in recipe.protections.items()]
    named += [
        ("protections", name, "made_on", (part.made_on,), recipe.data)
        for name, part in recipe.protections.items()
        if part.made_on
    ]
    named += [
        ("attacks", name, "generator.on", tuple(part.generator.on), recipe.data)
        for name, part in recipe.attacks.items()
        if part.generator
    ]
    named += [("compare", "attacks", "", pair, recipe.attacks) for pair in recipe.compare.attacks]
    if recipe.transfer:
        named += [("transfer", "attacks", "", recipe.transfer.attacks, recipe.attacks)]
    made = {name: part for name, part in recipe.attacks.items() if part.generator}
    named += [
        ("attacks", name, "rmse_of", (part.rmse_of,), made) for name, part in recipe.attacks.items() if part.rmse_of
    ]
    for table, name, key, words, known in named:
        for word in words or ():
            if word not in known:
                where = ".".join(part for part in (table, name, key) if part)
                raise RequestError(
                    f"{path}: {where} names {word!r}, which no table is called; there are: {', '.join(known) or 'none'}"
                )
