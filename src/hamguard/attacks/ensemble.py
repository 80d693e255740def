"""Several models at once: one perturbation on the mean of their losses, or separately made perturbations put together.

Source: slides of C. Deng (2019) on HAG, where perturbations made on four models are added and fool a fifth. They do not say
whether the sum is brought back into the ball; its steady gain with every summand suggests that it is not. `combine` offers both,
and whoever reports `sum` reports the budget really used.

Deliberate difference: `attack_jointly` is not in the slides; it spends as many gradients on one perturbation inside the ball.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.views import PLAIN, View
from hamguard.attacks.threat import Threat
from hamguard.attacks.types import Attacked, Spent, Victim
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError

How = Literal["sum", "sum-project", "mean"]


@dataclass(frozen=True)
class JointProblem:
    """One batch under attack through several models; offers searches what a `Problem` offers them.

    Models may differ in bits and in everything inside; each has its own guides. They stand on one device.

    Attributes:
        parts: the same pictures against each model.

    Raises:
        RequestError: there is no part, or the parts are about different pictures or threats.
    """

    parts: tuple[Problem, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise RequestError("an attack on several models needs at least one model, got none")
        first = self.parts[0]
        if any(p.x is not first.x or p.threat != first.threat or p.seed != first.seed for p in self.parts):
            raise RequestError("models that are attacked jointly need the same pictures, threat and seed")

    @property
    def x(self) -> Tensor:
        """Clean pictures, `(B, C, H, W)` in [0, 1]."""
        return self.parts[0].x

    @property
    def threat(self) -> Threat:
        """The allowed set."""
        return self.parts[0].threat

    @property
    def index(self) -> Sequence[int]:
        """Number of each picture in the run."""
        return self.parts[0].index

    @property
    def seed(self) -> int:
        """Seed of the attack."""
        return self.parts[0].seed

    @property
    def spent(self) -> Spent:
        """Passes through all models together."""
        return add_spent([part.spent for part in self.parts])

    def gradient(
        self, x_adv: Tensor, rows: Tensor, alpha: float, views: Sequence[View] = PLAIN, step: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the mean of the models' losses, that mean `(b,)`, and wrong bits of all models together `(b,)`.

        Arguments and errors as in `Problem.gradient`.
        """
        found = [part.gradient(x_adv, rows, alpha, views, step) for part in self.parts]
        gradient, loss = (torch.stack([one[k] for one in found]).mean(0) for k in (0, 1))  # (b, C, H, W), (b,)
        return gradient, loss, self._total([wrong for _, _, wrong in found])

    def mark(self, count: int, x_adv: Tensor) -> None:
        """Keep a copy in every part where `count` gradients are one of its marks."""
        for part in self.parts:
            part.mark(count, x_adv)

    def score(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        """Wrong bits of all models together, `(b,)`, 0 where every guide is reached (or left altogether)."""
        return self._total([part.score(x_adv, rows) for part in self.parts])

    @staticmethod
    def _total(wrong: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(wrong)).sum(0)  # (M, b) to (b,)


def add_spent(spent: Sequence[Spent]) -> Spent:
    """Budgets of several attacks on the same pictures, added: `(B,)` each."""
    forwards, backwards, flat = (
        torch.stack([getattr(one, what) for one in spent]).sum(0) for what in ("forwards", "backwards", "flat")
    )
    return Spent(forwards, backwards, flat)


def attack_jointly(
    attack: Attack | Sequence[Attack],
    models: Sequence[Victim],
    x: Tensor,
    labels: Tensor | None,
    banks: Sequence[CodeBank | None],
    index: Sequence[int] | None = None,
    seed: int = 0,
) -> Attacked:
    """One perturbation against several models: the gradient is that of the mean of their losses.

    With one model this is exactly the attack on it.

    Args:
        attack: one for all models, or one a model that differ in their guides only: a guide that learns is fitted for each,
            `[attack.prepared(bank, seed) for bank in banks]`.
        models: the victims.
        x: clean pictures, `(B, C, H, W)` in [0, 1].
        labels: their labels (away) or target labels (toward), `(B, C)`.
        banks: reference codes of each model, in the same order; None for guides that need none.
        index: numbers of the pictures in the run.
        seed: seed of everything that is drawn.

    Returns:
        The pictures; `target` holds the guides for the first model, `targets` those for each.

    Raises:
        RequestError: not as many banks, or attacks, as models; attacks that differ in more than the guide; or as an `Attack`.
        RunError: the gradient is not finite.
    """
    attacks = [attack] * len(models) if isinstance(attack, Attack) else list(attack)
    if not len(models) == len(banks) == len(attacks):
        raise RequestError(
            f"every model needs its bank and its attack, got {len(models)} models, {len(banks)} banks, {len(attacks)} attacks"
        )
    if any(replace(other, guide=attacks[0].guide) != attacks[0] for other in attacks):
        raise RequestError("attacks on several models may differ in their guides only")
    joint = JointProblem(
        tuple(
            one.problem(model, x, labels, bank, index=index, seed=seed)
            for one, model, bank in zip(attacks, models, banks, strict=True)
        )
    )
    x_adv = attacks[0].solve(joint)
    targets = tuple(part.target for part in joint.parts)
    return Attacked(x_adv, targets[0], joint.spent, targets)


def combine(x: Tensor, found: Sequence[Tensor], threat: Threat, how: How) -> Tensor:
    """Separately made attacks on the same pictures as one, on the 8-bit grid.

    `add_spent` adds what they cost.

    Args:
        x: clean pictures, `(B, C, H, W)` in [0, 1].
        found: attacked pictures, one tensor `(B, C, H, W)` a model.
        threat: the ball in which each was made.
        how: `sum` of the perturbations, clipped to [0, 1] only: with M of them the budget is up to M times `eps`, and what it
            really is must be reported; `sum-project`, the sum brought back into the ball; `mean`, which never leaves it.

    Returns:
        `(B, C, H, W)`, multiples of 1/255.

    Raises:
        RequestError: unknown `how`, nothing to combine, or pictures of another shape.
    """
    check_choice("combination", how, get_args(How))
    if not found or any(one.shape != x.shape for one in found):
        shapes = ", ".join(str(tuple(one.shape)) for one in found) or "nothing"
        raise RequestError(f"to combine are attacked pictures of shape {tuple(x.shape)}, got {shapes}")
    delta = torch.stack([one - x for one in found]).sum(0)  # (B, C, H, W)
    if how == "sum":  # the ball of the sum, so that rounding does not leave it either
        threat = threat.times(len(found))
    if how == "mean":
        delta = delta / len(found)
    return threat.on_grid(threat.project(x + delta, x), x)
