"""What a measure is: a function from a model on its query images and a budget to rows, lines that people read, and curves.

A measure is registered in a file of its own, with its own options as keyword arguments; so is one of a notebook cell or a plugin. A
line carries its figure and one value an image, and says which direction is the more robust one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry

if TYPE_CHECKING:  # help texts ask for names, and neither numpy nor torch is theirs to load
    from torch import Tensor

    from hamguard.attacks.budget import Budget
    from hamguard.codes.bank import CodeBank
    from hamguard.core.rows import Row
    from hamguard.core.types import Bytes, Floats
    from hamguard.evaluation.ground import Ground

Robust = Literal["higher", "lower"]
Unit = Literal["share", "eps", "bits", "number"]
Curve: TypeAlias = "tuple[Floats, Floats]"

STEPS = 50
"""Gradients of the attacks of measures, where the budget does not say."""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: the same for every model, whatever its bits.
        means: what it says, in plain words.
        robust: which direction is the more robust one.
        unit: how the figure is written; `eps` in 255ths.
        row: its row.
        values: one value an image, `(Q,)`; NaN for images that do not count, infinite where nothing was found; None where the
            figure has none.
    """

    name: str
    means: str
    robust: Robust
    unit: Unit
    row: Row
    values: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Picture:
    """A picture of a sheet.

    Attributes:
        pixels: `(H, W)` or `(H, W, 3)` uint8.
        title: what stands above it.
    """

    pixels: Bytes = field(repr=False)
    title: str = ""


@dataclass(frozen=True)
class Found:
    """What one measure gives back.

    Attributes:
        rows: all of its rows.
        lines: those that people read.
        curves: by panel, (x, y).
        bars: by name, a figure in pixel units with the ends of its interval.
        pictures: lines of a sheet.
    """

    rows: Sequence[Row]
    lines: Sequence[Line]
    curves: Mapping[str, Curve] = field(default_factory=dict, repr=False)
    bars: Mapping[str, tuple[float, float, float]] = field(default_factory=dict, repr=False)
    pictures: Sequence[Sequence[Picture]] = field(default=(), repr=False)


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        ground: model, data, codes.
        budget: linf radius of attacks and of balls, and the gradients of attacks.
        base: facts of every row.
    """

    ground: Ground
    budget: Budget
    base: Row

    @cached_property
    def x(self) -> Tensor:
        """The clean images, `(Q, C, H, W)` in [0, 1]."""
        return self.ground.dataset.images.batch(self.ground.rows).to(self.ground.device)

    @property
    def eps(self) -> float:
        """Radius in pixel units."""
        return self.budget.threat.eps

    @property
    def steps(self) -> int:
        """Gradients of attacks."""
        return self.budget.steps or STEPS

    @property
    def clean(self) -> CodeBank:
        """Codes of the clean images."""
        return self.ground.query

    @property
    def labeled(self) -> bool:
        """Whether anything can be relevant."""
        return self.ground.labeled


class Measure(Protocol):
    """Measures a subject; its keyword arguments are its options."""

    def __call__(self, subject: Subject, /, **options: Any) -> Found:
        """Rows, lines and curves."""


MEASURES: Registry[Measure] = Registry(
    "measure",
    "hamguard.evaluation.measures",
    public="register_measure",
    first=(
        "success",
        "toward",
        "minimal",
        "radius",
        "flips",
        "sensitivity",
        "lipschitz",
        "clever",
        "clever-guide",
        "saliency",
        "class-bias",
    ),
)
Entered = TypeVar("Entered", bound=Callable[..., Found])


def register(
    name: str, *, labeled: bool = False, default: bool = True, read: Mapping[str, Callable[[Any], Any]] | None = None
) -> Callable[[Entered], Entered]:
    """Function decorator: enter a measure under `name`.

    Args:
        name: as a command line writes it.
        labeled: it needs labels.
        default: carried out where no measure is named.
        read: what makes values of options that may be given as words, by option.

    Raises:
        RequestError: the name is taken.
    """
    return MEASURES.register(name, labeled=labeled, default=default, read=read or {})


def default_measures(*, labeled: bool) -> list[str]:
    """Measures that are carried out where none is named, as far as labels are there."""
    facts = {name: MEASURES.facts(name) for name in MEASURES}
    return [name for name, of in facts.items() if of["default"] and (labeled or not of["labeled"])]


def check_measures(names: Sequence[str]) -> None:
    """Check names before any work.

    Raises:
        RequestError: an unknown one, or one given twice; the message lists all.
    """
    known = MEASURES.names()
    for place, name in enumerate(names):
        check_choice("measure", name, known)
        if name in names[:place]:
            raise RequestError(f"measure {name} is given twice; measures: {', '.join(known)}")
