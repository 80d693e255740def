"""A published experiment: its recipes, its figures beside ours, and what the paper says of them, judged on our rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from hamguard.core.registry import Registry
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import Found
from hamguard.evaluation.reproduce.relations import Relation

Scale = Literal["small", "photos", "paper"]


@dataclass(frozen=True)
class Line:
    """A published figure beside ours.

    Attributes:
        setting: what both are of.
        published: the printed figure; None where the paper shows a plot, or nothing.
        ours: our figure; None where it was not run.
        digits: decimals that are printed.
        block: heading inside the table that the line stands under.
        why: why ours differs, where it does.
    """

    setting: str
    published: float | None
    ours: Figure | None
    digits: int = 3
    block: str = ""
    why: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the printed figure."""
        if self.published is None or self.ours is None:
            return None
        return self.ours.value - self.published


@dataclass(frozen=True)
class Comparison:
    """An experiment, run and judged.

    Attributes:
        lines: published figures beside ours; those of a block stand together.
        relations: what the paper says, and what we ask besides.
        why: why ours differs, where that is the same for all lines.
        block_why: the same for all lines of a block, by its heading.
    """

    lines: Sequence[Line]
    relations: Sequence[Relation]
    why: str = ""
    block_why: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One table or figure of a paper.

    Attributes:
        name: as the command line writes it.
        source: the paper.
        what: its table or figure, in words.
        small: how the small form differs, in a sentence.
        minutes: what the small form takes on two cores, measured; of the published one where there is no small form.
        judge: puts rows beside the printed figures.
        recipe: name of the experiment whose recipe it shares where it has none of its own.
        scales: those that it has a recipe of.
        photos: how the form on real photos differs, in a sentence.
        photos_minutes: what that takes on two cores, measured.
    """

    name: str
    source: str
    what: str
    small: str
    minutes: int
    judge: Callable[[Found, Scale], Comparison]
    recipe: str = ""
    scales: tuple[Scale, ...] = ("small", "paper")
    photos: str = ""
    photos_minutes: int = 0

    def differs(self, scale: Scale) -> str:
        """How the form of a scale differs from the published one, in a sentence; empty for that one itself."""
        return {"small": self.small, "photos": self.photos, "paper": ""}[scale]

    def minutes_at(self, scale: Scale) -> int:
        """What the form of a scale takes on two cores; 0 where nobody has measured it."""
        return {"photos": self.photos_minutes, self.scales[0]: self.minutes}.get(scale, 0)


Judge = TypeVar("Judge", bound="Callable[[Found, Scale], Comparison]")
EXPERIMENTS: Registry[Experiment] = Registry("experiment", "hamguard.evaluation.reproduce", decorator="experiment")


def experiment(
    name: str,
    *,
    paper: str,
    what: str,
    small: str,
    minutes: int,
    recipe: str = "",
    scales: tuple[Scale, ...] = ("small", "paper"),
    photos: str = "",
    photos_minutes: int = 0,
) -> Callable[[Judge], Judge]:
    """Decorator of the function that puts rows beside printed figures: enter its experiment; arguments as its attributes.

    Where `photos` says how the form on real photos differs, there is such a form.

    Raises:
        RequestError: the name is taken by another one.
    """

    def enter(judge: Judge) -> Judge:
        known: tuple[Scale, ...] = (*scales, "photos") if photos else scales
        made = Experiment(name, paper, what, small, minutes, judge, recipe, known, photos, photos_minutes)
        EXPERIMENTS.enter(name, made, judge)
        return judge

    return enter
