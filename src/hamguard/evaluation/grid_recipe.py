"""The recipe of a grid: data x models x attacks x defenses x protections x seeds; checked as a whole before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from hamguard.attacks.methods.registry import method_facts
from hamguard.core.errors import RequestError
from hamguard.evaluation.attack_plan import AttackPlan, build_attack
from hamguard.evaluation.recipe_section import NAME, Section, listed, parse_study
from hamguard.evaluation.score import parse_metric
from hamguard.training.request import DataSection, read_recipe

T = TypeVar("T")
Many = Annotated[tuple[T, ...], BeforeValidator(listed), Field(min_length=1)]
"""One value, or a list of them: the grid has a cell for each."""

Eps = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=NAME)]
Share = Annotated[float, Field(ge=0, le=1)]


class TrainingPart(Section):
    """How something is trained; `set` takes every further setting of its method."""

    preset: str | None = None
    epochs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    set: dict[str, Any] = Field(default_factory=dict)


class ModelsPart(TrainingPart):
    """Models to train, one for each combination of the lists, or one to load."""

    method: str | None = Field(None, description="hash method; the name of the table where not given")
    bits: Many[Annotated[int, Field(ge=1, le=4096)]] = (32,)
    backbone: Many[str | None] = (None,)
    weights: str | None = Field(None, description="initial weights of the backbone")
    data: Many[str] | None = Field(None, description="names of data tables; all of them where not given")
    load: str | None = Field(None, description="model folder, package.module:factory or torch.export file, instead")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.load and self.model_fields_set - {"load", "data"}:
            given = ", ".join(sorted(self.model_fields_set - {"load", "data"}))
            raise ValueError(f"a model that is loaded is not trained; leave out {given}")
        return self


class AttacksPart(Section):
    """Attacks, one for each combination of the lists, on every model."""

    method: str | None = Field(None, description="attack; the name of the table where not given")
    eps: Many[Eps | Literal["own"]] = (8 / 255,)
    norm: Literal["linf", "l2"] = "linf"
    steps: Many[Annotated[int, Field(ge=1)] | None] = (None,)
    restarts: int | None = Field(None, ge=1)
    preset: str = "default"
    guide: str | None = None
    targets: str | None = Field(None, description="how target labels are chosen; not given: leave the guide")
    reference: Literal["train", "database"] = "train"
    set: dict[str, Any] = Field(default_factory=dict)
    models: Many[str] | None = Field(None, description="names of model tables; all of them where not given")
    defended: bool = Field(True, description="also on hardened models")
    generator: TrainingPart | None = Field(None, description="how the generator of prosgan is trained")
    sheet: bool = Field(False, description="draw queries before and after, with their answers")

    def plans(self, table: str) -> list[AttackPlan]:
        """The attacks of this table, checked.

        Raises:
            RequestError: an unknown method or option.
        """
        method = self.method or table
        needs = method_facts(method).needs_generator
        if needs != (self.generator is not None):
            raise RequestError(f"{method} {'needs' if needs else 'takes no'} table generator")
        options = {
            key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in self.set.items()
        }
        plans = [
            AttackPlan(
                method=method, eps=None if eps == "own" else eps, norm=self.norm, steps=steps, restarts=self.restarts,
                preset=self.preset, guide=self.guide, targets=self.targets, reference=self.reference, options=options,
            )
            for eps in self.eps
            for steps in self.steps
        ]  # fmt: skip
        for plan in plans:
            build_attack(plan)
        return plans


class DefensesPart(TrainingPart):
    """Adversarial training of every model."""

    method: str | None = Field(None, description="defense; the name of the table where not given")
    eps: Eps = 8 / 255
    norm: Literal["linf", "l2"] = "linf"
    models: Many[str] | None = None


class AuditPart(Section):
    """Worst case over the battery of the audit."""

    eps: Eps = 8 / 255
    norm: Literal["linf", "l2"] = "linf"
    steps: int = Field(20, ge=1)
    queries: int = Field(60, ge=2)
    answers: int = Field(0, ge=0)
    checks: bool = Field(True, description="ask whether the figure is the worst case")


class TransferPart(Section):
    """Pictures made on one model, or on several together, asked of the others on the same data."""

    attacks: Many[str]
    joint: tuple[tuple[str, ...], ...] = Field((), description="lists of models that pictures are made on together")
    combine: Literal["joint", "sum", "sum-project", "mean"] = "sum-project"


class PartiesPart(TrainingPart):
    """Who searches: models trained on clean (share 0) or protected (share 1) pictures."""

    method: Many[str]
    bits: Many[Annotated[int, Field(ge=1, le=4096)]] = (16,)
    backbone: Many[str | None] = (None,)
    share: Many[Share] = (0.0, 1.0)


class ProtectionsPart(TrainingPart):
    """What protects pictures before they are published, and who searches them."""

    method: Literal["ppl", "noise"] | None = Field(None, description="the name of the table where not given")
    eps: Many[Eps]
    made_on: str | None = Field(None, description="data that the protector learns from; those it protects by default")
    data: Many[str] | None = None
    sheet: bool = Field(False, description="draw pictures before and after")
    parties: PartiesPart


class ComparePart(Section):
    """Pairs of attacks (names of tables) whose figures are compared query by query."""

    attacks: tuple[tuple[str, str], ...] = ()
    defenses: bool = Field(True, description="hardened models against their start, under the same attack")


class GridRecipe(Section):
    """A whole grid; parts that are left out are not run.

    Attributes:
        study: kind of study.
        title: line above tables and page.
        seeds: one grid of models for each.
        queries: first N of the query part; all where not given.
        metrics: what is measured; the first decides gains and comparisons.
        curves: keep points of the PR and precision@N curves, clean and attacked.
    """

    study: Literal["grid"]
    title: str = "Grid"
    seeds: Many[int] = (0,)
    queries: int | None = Field(None, ge=2)
    metrics: Many[str] = ("map",)
    curves: bool = False
    data: dict[Name, DataSection] = Field(min_length=1)
    models: dict[Name, ModelsPart] = Field(default_factory=dict)
    attacks: dict[Name, AttacksPart] = Field(default_factory=dict)
    defenses: dict[Name, DefensesPart] = Field(default_factory=dict)
    audit: AuditPart | None = None
    transfer: TransferPart | None = None
    protections: dict[Name, ProtectionsPart] = Field(default_factory=dict)
    compare: ComparePart = ComparePart()


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection, "models": ModelsPart, "attacks": AttacksPart, "defenses": DefensesPart, "audit": AuditPart,
    "transfer": TransferPart, "protections": ProtectionsPart, "compare": ComparePart,
    "attacks.generator": TrainingPart, "protections.parties": PartiesPart,
}  # fmt: skip


def read_grid_recipe(path: Path | str) -> GridRecipe:
    """Read and check a recipe; the models, attacks and defenses that it names are checked where the grid is expanded.

    Raises:
        RequestError: missing, no TOML, of another kind, or with a wrong key, name or value; the first fault is named.
    """
    content = read_recipe(path)
    recipe = parse_study(GridRecipe, content, path, SECTIONS)
    if not recipe.models and not recipe.protections:
        raise RequestError(f"{path}: a grid needs at least one table [models.NAME] or [protections.NAME]")
    for text in recipe.metrics:
        parse_metric(text)
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
    named += [("compare", "attacks", "", pair, recipe.attacks) for pair in recipe.compare.attacks]
    if recipe.transfer:
        named += [("transfer", "attacks", "", recipe.transfer.attacks, recipe.attacks)]
    for table, name, key, words, known in named:
        for word in words or ():
            if word not in known:
                where = ".".join(part for part in (table, name, key) if part)
                raise RequestError(
                    f"{path}: {where} names {word!r}, which no table is called; there are: {', '.join(known) or 'none'}"
                )
    return recipe
