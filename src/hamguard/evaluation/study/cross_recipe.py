"""The recipe of a cross-modal study: which models, attacks, trade-offs and defenses; checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, Field, field_validator

from hamguard.core.errors import RequestError
from hamguard.defenses.cross_modal import CROSS_DEFENSES, CrossDefense
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.search.score import EXACT, Convention
from hamguard.evaluation.study.grid_recipe import ComparePart, ProtectionsPart
from hamguard.evaluation.study.recipe_section import NAME, Eps, Many, NetPart, Section
from hamguard.trainers.job import DataSection

Steps = tuple[Annotated[int, Field(ge=1)], ...]


class AttackPart(Section):
    """CMLA on every model, in two forms: ours and the published one, which is one-sided with a norm weight of 1."""

    steps: Steps = Field((100, 200, 500), description="numbers of gradients of our form; empty: not run")
    eps: Eps = 10 / 255
    text_eps: tuple[Eps, ...] = (0.01,)
    published_steps: Steps = Field((100,), description="the same of the published form; empty: not run")
    defended_steps: Steps | None = Field(
        None, description="of our form on models with a defense; `steps` where not given"
    )
    published_defended_steps: Steps | None = Field(
        None, description="of the published form on models with a defense; `published_steps` where not given"
    )
    sheet: bool = Field(
        False, description="draw queries of models without a defense before and after, with their answers"
    )

    def marks(self, *, published: bool, hard: bool) -> Steps:
        """Numbers of gradients of a form on a model, as it was trained or hardened; empty where it is not run."""
        plain = self.published_steps if published else self.steps
        defended = self.published_defended_steps if published else self.defended_steps
        return defended if hard and defended is not None else plain


class WordsPart(Section):
    """Edits of whole words."""

    edits: tuple[int, ...] = (1, 2, 3)


class TradeoffPart(Section):
    """The weight of the intra term."""

    weights: tuple[Annotated[float, Field(ge=0)], ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    steps: int = Field(100, ge=1)
    queries: int = Field(60, ge=1)


class GuidedPart(Section):
    """Image-side attacks of one modality, asked for texts, too."""

    methods: tuple[str, ...] = ("hag", "center", "mainstay", "dhta")
    eps: Eps = 8 / 255
    steps: int = Field(20, ge=1)

    def attack(self, method: str) -> AttackSpec:
        """One of the attacks, checked.

        Raises:
            RequestError: an unknown method.
        """
        return AttackSpec.read(method, eps=self.eps, steps=self.steps)


class DefensePart(Section):
    """Adversarial training of every model; further settings in `set`, those of one defense in a table of its name in there."""

    methods: tuple[CrossDefense, ...] = ("control", "static", "minmax")
    models: Many[str] | None = Field(None, description="names of model tables; all of them where not given")
    eps: Eps = 10 / 255
    epochs: int = Field(5, ge=1)
    set: dict[str, Any] = Field(default_factory=dict)

    def settings(self, kind: CrossDefense) -> dict[str, Any]:
        """Further settings of one defense."""
        common = {key: value for key, value in self.set.items() if key not in CROSS_DEFENSES}
        return {**common, **self.set.get(kind, {})}


class CrossRecipe(Section):
    """A whole study; parts that are left out are not run.

    Attributes:
        study: kind of study.
        title: line above tables and page.
        seeds: seeds of everything, one set of models for each; `seed` for one.
        queries: first N of the query split.
        curves: keep points of the PR and precision@N curves across modalities, clean and under CMLA after the last gradient.
        data: pictures and texts: one table, or several with a name each.
        models: name to models.
    """

    texts: ClassVar[Literal["needed"]] = "needed"
    """What `Ground.open` takes."""
    batch_size: ClassVar[int] = 128
    """Images or texts attacked at once."""
    parallel: ClassVar[bool] = True
    """Whether each model is worked on by a process of its own."""
    metrics: ClassVar[tuple[str, ...]] = ("map",)
    """Of attacks of one modality."""
    scored: ClassVar[tuple[str, ...]] = metrics
    convention: ClassVar[Convention] = EXACT
    audit: ClassVar[None] = None
    protections: ClassVar[dict[str, ProtectionsPart]] = {}
    compare: ClassVar[ComparePart] = ComparePart(defenses=False)

    study: Literal["cross-modal"]
    title: str = "Cross-modal study"
    seeds: Many[int] = Field((0,), validation_alias=AliasChoices("seeds", "seed"))
    queries: int = Field(100, ge=2)
    curves: bool = False
    data: dict[Annotated[str, Field(pattern=f"^$|{NAME}")], DataSection] = Field({"": DataSection()}, min_length=1)
    models: dict[Annotated[str, Field(pattern=NAME)], NetPart] = Field(min_length=1)
    attack: AttackPart = AttackPart()
    words: WordsPart | None = None
    tradeoff: TradeoffPart | None = None
    guided: GuidedPart | None = None
    defenses: DefensePart | None = None
    transfer: bool = True

    @field_validator("data", mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        """One table of data has no name."""
        named = isinstance(value, Mapping) and value and all(isinstance(one, Mapping) for one in value.values())
        return value if named else {"": value}

    @property
    def sources(self) -> Mapping[str, DataSection]:
        """Data by name; empty text for data that stand alone."""
        return self.data


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "models": NetPart,
    "attack": AttackPart,
    "words": WordsPart,
    "tradeoff": TradeoffPart,
    "guided": GuidedPart,
    "defenses": DefensePart,
}


def check_pair_names(recipe: CrossRecipe, path: Path | str) -> None:
    """Check the names of tables that other tables use; methods and settings are checked where the study is spelled out.

    Raises:
        RequestError: a name that no table has.
    """
    hard = recipe.defenses
    named = [(f"models.{name}.data", part.data or (), list(recipe.data)) for name, part in recipe.models.items()]
    named += [("defenses.models", (hard.models if hard else None) or (), list(recipe.models))]
    for where, words, known in named:
        for word in words:
            if word not in known:
                raise RequestError(
                    f"{path}: {where} names {word!r}, which no table is called; there are: {', '.join(known) or 'none'}"
                )
