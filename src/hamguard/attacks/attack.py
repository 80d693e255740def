"""An attack is four values: guide, loss, search, threat. This file puts them together and rounds the result to 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.problem import Guide, Loss, Problem, Spent, Victim
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import sign
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError


class GuideMaker(Protocol):
    """Makes guides of a batch."""

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Guide:
        """Guides of B pictures.

        Args:
            own: their clean codes, `(B, K)` in {-1, +1}.
            labels: their labels, or the target labels of a targeted attack, `(B, C)`; None for label-free guides.
            bank: reference codes of the training part with labels.
            index: numbers of the pictures in the run.
            seed: seed of the attack.
        """


class Search(Protocol):
    """Moves the pixels of a problem."""

    def __call__(self, problem: Problem) -> Tensor:
        """Attacked pictures inside the threat, `(B, C, H, W)`."""


@dataclass(frozen=True)
class Attacked:
    """What an attack leaves.

    Attributes:
        x_adv: attacked pictures as 8-bit files hold them, `(B, C, H, W)` in [0, 1].
        target: the guides.
        spent: forward and backward passes of each picture, `(B,)` each.
    """

    x_adv: Tensor
    target: Guide
    spent: Spent


@dataclass(frozen=True)
class Attack:
    """Four values.

    Attributes:
        guide: which code to approach or leave.
        loss: scores relaxed codes against the guide, one number an image.
        search: moves the pixels.
        threat: the allowed set.
        toward: approach the guide; else leave it.
        relaxation: `tanh` codes or raw logits (`none`) go into the loss.
        fidelity: weight of the squared error to the clean picture.
        rounding: return pictures on the 8-bit grid; only tests of the search itself turn it off.
    """

    guide: GuideMaker = field(default_factory=OwnCode)
    loss: Loss = inner_product  # type: ignore[assignment]
    search: Search = field(default_factory=SignSteps)
    threat: Threat = field(default_factory=lambda: Linf(8 / 255))
    toward: bool = False
    relaxation: Literal["tanh", "none"] = "tanh"
    fidelity: float = 0.0
    rounding: bool = True

    def __post_init__(self) -> None:
        check_choice("relaxation", self.relaxation, ("tanh", "none"))

    def __call__(
        self,
        model: Victim,
        x: Tensor,
        labels: Tensor | None = None,
        bank: CodeBank | None = None,
        *,
        index: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Attacked:
        """Attack a batch.

        Args:
            model: frozen, in evaluation mode.
            x: clean pictures, `(B, C, H, W)` in [0, 1].
            labels: their labels (away) or target labels (toward), `(B, C)`.
            bank: reference codes of the training part.
            index: numbers of the pictures in the run; 0 to B - 1 where not given. With them the result of a picture
                does not depend on how batches are cut.
            seed: seed of everything that is drawn.

        Raises:
            RequestError: pictures outside [0, 1], a guide without what it needs, or a model that does not return `(B, K)`.
            RunError: the gradient is not finite.
        """
        if x.ndim != 4 or not bool(((x >= 0) & (x <= 1)).all()):
            raise RequestError(f"pictures to attack must be (B, C, H, W) in [0, 1], got {tuple(x.shape)}")
        numbers = range(len(x)) if index is None else index
        with torch.no_grad():
            z = model.logits(x)
        if z.ndim != 2 or len(z) != len(x):
            raise RequestError(f"the attacked model must return ({len(x)}, K) numbers, got {tuple(z.shape)}")
        target = self.guide(sign(z), labels, bank, numbers, seed)
        problem = Problem(
            model, x, target, 1 if self.toward else -1, self.loss, self.threat, numbers, seed,
            relaxed=self.relaxation == "tanh", fidelity=self.fidelity,
        )  # fmt: skip
        problem.spent.forwards += 1  # the own code
        x_adv = self.search(problem).detach()
        if self.rounding:
            x_adv = self.threat.on_grid(x_adv, x)
        return Attacked(x_adv, target, problem.spent)
