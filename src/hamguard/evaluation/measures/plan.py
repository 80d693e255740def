"""A request for robustness measures, the table of all of them, and what a measure gives back.

A measure is a function from a bench (a model on its query pictures) to rows, the lines that people read, and curves. A line carries
its figure and one value a picture, and says which direction is the more robust one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.attack.measure import Ground

Robust = Literal["higher", "lower"]
Unit = Literal["share", "eps", "bits", "number"]
Curve: TypeAlias = tuple[Floats, Floats]

QUERIES = 20
"""Pictures by default: with the settings below a 32-bit ResNet-20 on 32 pixels takes about two core-minutes."""

QUICK = (10, 8)
"""Batches and points of CLEVER by default; only the nearer half of the bits is asked, which is what m up to K/2 needs."""

PUBLISHED = (500, 1024)
"""Batches and points of the paper (Weng et al., ICLR 2018)."""


class MeasurePlan(Asked):
    """What a person asks for.

    Attributes:
        measures: names of the measures; empty for all that the data allow.
        eps: linf budget of attacks, and radius of the balls of local Lipschitz and CLEVER, in pixel units.
        steps: gradients of the attacks (PGD, the fixed attack of minimal perturbation included).
        batches: batches of points of CLEVER, Nb.
        points: points of a batch, Ns.
        all_bits: ask CLEVER of every bit instead of the nearer half.
    """

    measures: tuple[str, ...] = ()
    eps: float = 8 / 255
    steps: int = Field(50, ge=1)
    batches: int = Field(QUICK[0], ge=2)
    points: int = Field(QUICK[1], ge=1)
    all_bits: bool = False


def clever_settings(text: str) -> tuple[int, int, bool]:
    """Batches, points and whether all bits are asked, from `quick`, `published`, or `NBxNS`, which asks all bits.

    Raises:
        RequestError: none of these.

    >>> clever_settings("quick"), clever_settings("published"), clever_settings("50x64")
    ((10, 8, False), (500, 1024, True), (50, 64, True))
    """
    if text == "quick":
        return (*QUICK, False)
    if text == "published":
        return (*PUBLISHED, True)
    batches, x, points = text.partition("x")
    if not (x and batches.isascii() and batches.isdigit() and points.isascii() and points.isdigit()):
        raise RequestError(f"CLEVER settings must be quick, published or BATCHESxPOINTS such as 50x64, got {text!r}")
    if int(batches) < 2 or int(points) < 1:
        raise RequestError(f"CLEVER needs at least 2 batches of 1 point, got {text}")
    return int(batches), int(points), True


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: the same for every model, whatever its bits.
        means: what it says, in plain words.
        robust: which direction is the more robust one.
        unit: how the figure is written; `eps` in 255ths.
        row: its row.
        values: one value a picture, `(Q,)`; NaN for pictures that do not count, infinite where nothing was found; None where the
            figure has none.
    """

    name: str
    means: str
    robust: Robust
    unit: Unit
    row: Row
    values: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Found:
    """What one measure gives back.

    Attributes:
        rows: all of its rows.
        lines: those that people read.
        curves: by panel, (x, y).
    """

    rows: Sequence[Row]
    lines: Sequence[Line]
    curves: Mapping[str, Curve] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Bench:
    """A model on its query pictures, and the request.

    Attributes:
        ground: model, data, codes.
        plan: the request.
        work: folder of finished batches of attacks.
        base: facts of every row.
    """

    ground: Ground
    plan: MeasurePlan
    work: Path
    base: Row

    @cached_property
    def x(self) -> Tensor:
        """The clean pictures, `(Q, C, H, W)` in [0, 1]."""
        return self.ground.dataset.images.batch(self.ground.rows).to(self.ground.device)

    @property
    def clean(self) -> CodeBank:
        """Codes of the clean pictures."""
        return self.ground.query

    @property
    def labeled(self) -> bool:
        """Whether anything can be relevant."""
        return bool(self.ground.query.labels.any() and self.ground.database.labels.any())


Measure = Callable[[Bench], Found]


@dataclass(frozen=True)
class MeasureFacts:
    """An entry of the table of measures.

    Attributes:
        name: of the measure.
        title: first line of its docstring.
        labeled: it needs labels.
        run: the measure.
    """

    name: str
    title: str
    labeled: bool
    run: Measure


MEASURES: dict[str, MeasureFacts] = {}


def register(name: str, *, labeled: bool = False) -> Callable[[Measure], Measure]:
    """Function decorator: enter a measure under `name`.

    Raises:
        RequestError: the name is taken.
    """

    def enter(measure: Measure) -> Measure:
        if name in MEASURES:
            raise RequestError(f"measure {name!r} is registered twice")
        title = (measure.__doc__ or name).splitlines()[0].rstrip(".")
        MEASURES[name] = MeasureFacts(name, title, labeled, measure)
        return measure

    return enter


def measure_names() -> list[str]:
    """All names, in the order of the specification's sections."""
    from hamguard.evaluation.measures import run as measure_run  # noqa: F401 - it fills the table

    return list(MEASURES)


def check_measures(names: Sequence[str]) -> None:
    """Check names before any work.

    Raises:
        RequestError: an unknown one, or one given twice; the message lists all.
    """
    for place, name in enumerate(names):
        check_choice("measure", name, measure_names())
        if name in names[:place]:
            raise RequestError(f"measure {name} is given twice; measures: {', '.join(measure_names())}")
