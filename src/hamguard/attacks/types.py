"""What attacks are put together from: guides, losses, searches and victims; and what they leave.

A guide is a code a picture, `(B, K)`, or `Codes` of each; a loss scores relaxed codes against it. `G` says which of them a loss
takes and a guide maker makes, so that a type checker finds a loss beside a guide that it cannot read. A loss of plain codes goes
with every guide, because a set of codes becomes its vote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from typing_extensions import TypeVar

from hamguard.attacks.search.views import PLAIN, View
from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank


class Codes(Protocol):
    """Several codes for each of B pictures, such as all that share a label with it."""

    @property
    def vote(self) -> Tensor:
        """The one code that stands for them where a loss takes no sets, and by which an iterate is scored, `(B, K)`."""

    def select(self, rows: Tensor) -> Self:
        """The same for some of the pictures."""


Guide: TypeAlias = Tensor | Codes
"""What B pictures are to approach or leave: a code each, `(B, K)` in {-1, +1}, or several."""

G = TypeVar("G", bound=Guide, default=Any)
G_co = TypeVar("G_co", bound=Guide, covariant=True, default=Any)

Loss: TypeAlias = Callable[[Tensor, G, int], Tensor]
"""Relaxed codes or logits `(B, K)`, guides, and the direction (+1 toward, -1 away) to `(B,)`, which the attacker lowers.

One that reads `Codes` says so by the attribute `takes_sets = True`; any other is given their vote. One that leaves the clean
outputs themselves where the guide is the own code says so by `takes_outputs = True`, and is then given them, `(B, K)`, as a fourth
argument (HAG).
"""


Images: TypeAlias = Tensor | Callable[[Sequence[int]], Tensor]
"""Training pictures `(n, C, H, W)` in [0, 1], or what gives those of some numbers from 0 to n - 1."""


class Victim(Protocol):
    """What an attack needs of a model."""

    bits: int

    def logits(self, x: Tensor) -> Tensor:
        """Pixels `(B, C, H, W)` in [0, 1] to `(B, K)` real numbers."""


class GuideMaker(Protocol[G_co]):
    """Makes guides of a batch."""

    @property
    def name(self) -> str:
        """What tables and command lines call it, see `guides.registry`."""

    @property
    def needs_labels(self) -> bool:
        """Whether it looks at the labels of the pictures; False for the own code only."""

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> G_co:
        """Guides of B pictures.

        Args:
            own: their clean codes, `(B, K)` in {-1, +1}.
            labels: their labels, or the target labels of a targeted attack, `(B, C)`; None for label-free guides.
            bank: reference codes of the training part with labels.
            index: numbers of the pictures in the run.
            seed: seed of the attack.
        """


@runtime_checkable
class LearningGuide(Protocol[G_co]):
    """A guide that is trained on reference codes before it says anything."""

    def fit(self, bank: CodeBank | None, seed: int = 0) -> GuideMaker[G_co]:
        """The trained guide."""


@dataclass
class Spent:
    """Budget per picture, `(B,)` each: forward passes, backward passes, and how many of the latter gave nothing but zeros."""

    forwards: Tensor
    backwards: Tensor
    flat: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))

    def __post_init__(self) -> None:
        self.flat = self.flat.expand_as(self.backwards).clone()

    def copy(self) -> Spent:
        """What is spent so far, whatever is spent later."""
        return Spent(self.forwards.clone(), self.backwards.clone(), self.flat)


class SearchProblem(Protocol):
    """What a search is given: pictures, the set it may move them in, and where the loss falls. One model or several."""

    @property
    def x(self) -> Tensor:
        """Clean pictures, `(B, C, H, W)` in [0, 1]."""

    @property
    def threat(self) -> Threat:
        """The allowed set."""

    @property
    def index(self) -> Sequence[int]:
        """Number of each picture in the run, for its random numbers."""

    @property
    def seed(self) -> int:
        """Seed of the attack."""

    @property
    def spent(self) -> Spent:
        """Passes spent so far."""

    def gradient(
        self, x_adv: Tensor, rows: Tensor, alpha: float, views: Sequence[View] = PLAIN, step: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient, loss and wrong bits at some pictures, see `Problem.gradient`."""

    def score(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        """Wrong bits, `(b,)`."""

    def mark(self, count: int, x_adv: Tensor) -> None:
        """Keep a copy where `count` gradients are one of the marks."""


class Search(Protocol):
    """Moves the pixels of a problem."""

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures inside the threat, `(B, C, H, W)`."""


@runtime_checkable
class LearningSearch(Protocol):
    """A search that is fitted on training pictures before it attacks any."""

    def fit(
        self,
        attack: Any,
        model: Victim,
        images: Images,
        labels: Tensor | None,
        bank: CodeBank | None,
        seed: int,
        count: int | None,
    ) -> Any:
        """The attack with what was fitted as its search; see `Attack.prepared`."""


class Carrier:
    """A search that carries more than steps on pixels: it may have to be made ready first, and rows show it in its own form.

    Attributes:
        lacks: what must be done before it can attack, as a message; empty where it is ready.
        soft: whether its budget is soft, so that rows name no radius.
    """

    lacks: ClassVar[str] = ""
    soft: bool = False

    def own_code(self, model: Victim, x: Tensor) -> Tensor | None:
        """The codes that guides are given, `(B, K)`, where they are not the model's codes of the pictures."""
        return None

    def check(self, x: Tensor, labels: Tensor | None) -> None:
        """Check pictures `(B, C, H, W)`, or bags of words `(B, V)`, and labels before anything is computed.

        Raises:
            RequestError: they are not those that it was made for.
        """

    @property
    def budget(self) -> dict[str, Any]:
        """What rows say of a budget that is no ball: `norm`, `eps`, `steps`; empty where they say `soft`."""
        return {}

    def shown(self, attack: Any) -> dict[str, Any]:
        """The values of an attack with this search as rows show them; `kind` is what they have been called from the first."""
        raise NotImplementedError


@dataclass(frozen=True)
class EditedTexts:
    """Texts after edits of whole words.

    Attributes:
        texts: the edited texts.
        edits: what was done to each, `+tag` or `-word`.
    """

    texts: tuple[str, ...]
    edits: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Attacked:
    """What an attack leaves.

    Attributes:
        x_adv: attacked pictures as 8-bit files hold them, `(B, C, H, W)` in [0, 1]; or bags of words, `(B, V)`.
        target: the guides; those for the first model where several are attacked.
        spent: forward and backward passes of each picture, `(B,)` each, summed over models.
        targets: the guides for each model where several are attacked, else empty.
        edited: the texts, where whole words were edited.
        kept: what it was after each number of gradients that was asked for by `marks`.
    """

    x_adv: Tensor
    target: Guide
    spent: Spent
    targets: tuple[Guide, ...] = ()
    edited: EditedTexts | None = None
    kept: Mapping[int, Attacked] = field(default_factory=dict)

    def __repr__(self) -> str:
        passes = f"{int(self.spent.forwards.sum()):,} forward and {int(self.spent.backwards.sum()):,} backward passes"
        return f"Attacked({len(self.x_adv)} images of {' x '.join(map(str, self.x_adv.shape[1:]))}, {passes})"
