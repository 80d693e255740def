"""The recipe of a cross-modal study: which models, attacks, trade-offs and defenses; checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from hamguard.core.errors import RequestError
from hamguard.defenses.cross_modal import CrossDefense
from hamguard.evaluation.study.recipe_section import NAME, Section, parse_study, words_of
from hamguard.hashing.registry import CROSS_METHODS
from hamguard.trainers.job import DataSection, Job
from hamguard.trainers.words import read_job, read_recipe

Eps = Annotated[float, Field(gt=0, le=1)]


class ModelPart(Section):
    """One model to train: any key of the method besides `bits`, `epochs` and `batch_size` stands in `set`."""

    method: str | None = Field(None, description="dcmh or ssah; the name of the table where not given")
    preset: str | None = Field(None, description="a published form of the method")
    bits: int = Field(32, ge=1, le=4096)
    epochs: int | None = Field(None, ge=1)
    set: dict[str, Any] = Field(default_factory=dict)


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

    def training(self, name: str) -> Job:
        """The training request of a model.

        Raises:
            RequestError: an unknown method or setting.
        """
        part = self.models[name]
        flags = {
            "method": part.method or name,
            "seed": self.seed,
            "data.source": self.data.source,
            "data.protocol": self.data.protocol,
            "data.size": self.data.size,
            "data.split_seed": self.data.split_seed,
            "model.bits": part.bits,
            "preset": part.preset,
            "data.drop_duplicates": self.data.drop_duplicates or None,
            "training.epochs": part.epochs,
        }
        return read_job({}, flags, words_of(part.set), kind="pair")

    def hardening(self, kind: CrossDefense) -> Job:
        """The request of a defense.

        Raises:
            RequestError: an unknown setting.
        """
        assert self.defenses is not None
        flags = {
            "method": kind,
            "seed": self.seed,
            "eps": self.defenses.eps,
            "training.epochs": self.defenses.epochs,
            "data.source": self.data.source,
            "data.protocol": self.data.protocol,
        }
        return read_job({}, flags, words_of(self.defenses.set), kind="hardened-pair")


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "models": ModelPart,
    "attack": AttackPart,
    "words": WordsPart,
    "tradeoff": TradeoffPart,
    "guided": GuidedPart,
    "defenses": DefensePart,
}


def read_cross_recipe(path: Path | str) -> CrossRecipe:
    """Read and check a recipe.

    Raises:
        RequestError: missing, no TOML, of another kind, or with a wrong key or value; the first fault is named.
    """
    content = read_recipe(path)
    if content.get("study") != "cross-modal":
        raise RequestError(
            f'{path} is no study: its first line must be study = "cross-modal", got {content.get("study")!r}; '
            "recipes of one model go to hamguard train"
        )
    recipe = parse_study(CrossRecipe, content, path, SECTIONS)
    try:
        for name, part in recipe.models.items():
            CROSS_METHODS[part.method or name]
            recipe.training(name)
        for kind in recipe.defenses.methods if recipe.defenses else ():
            recipe.hardening(kind)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    return recipe
