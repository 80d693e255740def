"""The recipe of a cross-modal study: which models, attacks, trade-offs and defenses; checked before any work."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from hamguard.defenses.cross_modal import CrossDefense
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.search.score import EXACT, Convention
from hamguard.evaluation.study.grid_recipe import ComparePart, ProtectionsPart
from hamguard.evaluation.study.recipe_section import NAME, Eps, Section, TrainingPart
from hamguard.trainers.job import DataSection


class ModelPart(TrainingPart):
    """One model to train."""

    method: str | None = Field(None, description="dcmh or ssah; the name of the table where not given")
    bits: int = Field(32, ge=1, le=4096)


class AttackPart(Section):
    """CMLA on every model."""

    steps: tuple[int, ...] = Field((100, 200, 500), min_length=1, description="numbers of gradients to look after")
    eps: Eps = 10 / 255
    text_eps: tuple[Eps, ...] = (0.01,)
    published_steps: tuple[int, ...] = Field(
        (100,),
        description="the same for the one-sided published form beside the default, without defenses; empty: not run",
    )
    defended_steps: tuple[int, ...] = Field(
        (), description="for models with a defense and their start; `steps` where empty"
    )


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
    """Adversarial training of every model; further settings by defense in `set`."""

    methods: tuple[CrossDefense, ...] = ("control", "static", "minmax")
    eps: Eps = 10 / 255
    epochs: int = Field(5, ge=1)
    set: dict[str, Any] = Field(default_factory=dict)


class CrossRecipe(Section):
    """A whole study; parts that are left out are not run.

    Attributes:
        study: kind of study.
        title: line above tables and page.
        seed: seed of everything.
        queries: first N of the query split.
        data: pictures and texts.
        models: name to model.
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
    curves: ClassVar[bool] = False
    audit: ClassVar[None] = None
    protections: ClassVar[dict[str, ProtectionsPart]] = {}
    compare: ClassVar[ComparePart] = ComparePart(defenses=False)

    study: Literal["cross-modal"]
    title: str = "Cross-modal study"
    seed: int = 0
    queries: int = Field(100, ge=2)
    data: DataSection = DataSection()
    models: dict[Annotated[str, Field(pattern=NAME)], ModelPart] = Field(min_length=1)
    attack: AttackPart = AttackPart()
    words: WordsPart | None = None
    tradeoff: TradeoffPart | None = None
    guided: GuidedPart | None = None
    defenses: DefensePart | None = None
    transfer: bool = True

    @property
    def sources(self) -> dict[str, DataSection]:
        """Data by name; there is one, without a name."""
        return {"": self.data}


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "models": ModelPart,
    "attack": AttackPart,
    "words": WordsPart,
    "tradeoff": TradeoffPart,
    "guided": GuidedPart,
    "defenses": DefensePart,
}
