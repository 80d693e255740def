"""One perturbation for all pictures: fitted on training pictures, then added to any other.

Paper: S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, "Universal Adversarial Perturbations", CVPR 2017, for the idea;
here by sign steps with momentum on the mean loss of random batches, as later work does, because a code has no class boundary to
step over. No hash paper of our list gives a recipe.

Where a picture plus the perturbation leaves [0, 1] it is clipped, and the gradient passes the clip unchanged: on white
backgrounds the true one is zero for every value that brightens, which would then never turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code, fitted_guide, guide_for, own_code, with_direction
from hamguard.attacks.guides.vote import class_numbers
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.alpha import slope
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import Attacked, Guide, GuideMaker, Loss, Spent, Victim
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator

Pictures: TypeAlias = Tensor | Callable[[Sequence[int]], Tensor]
"""Training pictures `(n, C, H, W)` in [0, 1], or what gives those of some numbers from 0 to n - 1."""


@dataclass(frozen=True)
class Universal:
    """How a universal perturbation is made; `fit` makes it.

    Attributes:
        guide: which code each picture is to approach or leave.
        loss: scores relaxed codes against the guide.
        threat: the allowed set, around every picture.
        toward: approach the guide of one target label; else leave each picture's own guide.
        relaxation: `tanh` codes or raw logits (`none`) go into the loss.
        steps: number of gradients, one batch each.
        batch_size: training pictures a step, drawn at random.
        step_size: length of the first step in pixel units, falling by cosine; None takes `eps / 4`.
        momentum: decay of the accumulated gradient.
        alpha: slope of the relaxation, `constant` or `published`.
    """

    guide: GuideMaker = field(default_factory=own_code)
    loss: Loss = inner_product
    threat: Threat = field(default_factory=lambda: Linf(8 / 255))
    toward: bool = False
    relaxation: Literal["tanh", "none"] = "tanh"
    steps: int = 200
    batch_size: int = 32
    step_size: float | None = None
    momentum: float = 0.9
    alpha: Literal["constant", "published"] = "constant"

    def __post_init__(self) -> None:
        object.__setattr__(self, "guide", with_direction(self.guide, self.toward))
        check_choice("relaxation", self.relaxation, ("tanh", "none"))
        check_choice("alpha schedule", self.alpha, ("constant", "published"))
        check_range("steps", self.steps, 1)
        check_range("batch size", self.batch_size, 1)
        check_range("momentum", self.momentum, 0.0)

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
        """Not yet: a perturbation fitted on the pictures it is scored on would not be universal.

        Raises:
            RequestError: always; the message says what to do first.
        """
        raise RequestError(
            "a universal perturbation is fitted on training pictures first: call fit, then what it returns"
        )

    def prepared(self, bank: CodeBank | None, seed: int = 0) -> Universal:
        """The same with a guide that learns trained on `bank`, as `Attack.prepared`; `fit` does it anyway."""
        guide = fitted_guide(self.guide, bank, seed)
        return self if guide is self.guide else replace(self, guide=guide)

    def fit(
        self,
        model: Victim,
        pictures: Pictures,
        labels: Tensor | None = None,
        bank: CodeBank | None = None,
        seed: int = 0,
        *,
        count: int | None = None,
    ) -> UniversalAttack:
        """Fit the perturbation.

        Args:
            model: frozen, in evaluation mode.
            pictures: training pictures, or a function from numbers to pictures.
            labels: away, the labels of all training pictures, `(n, C)`; toward, the one target label, `(1, C)` or n times.
            bank: reference codes of the training part.
            seed: seed of start and batches.
            count: number of training pictures; needed only for a function without their labels.

        Returns:
            What is called exactly as an `Attack`.

        Raises:
            RequestError: no pictures, their number is unknown or not that of the labels, several target labels, pictures outside
                [0, 1], or a guide without what it needs.
            RunError: the gradient is not finite.
        """
        made, total = self.prepared(bank, seed), _count(pictures, labels, count, self.toward)
        if self.toward and labels is not None and bool((labels != labels[:1]).any()):
            raise RequestError("a targeted universal perturbation has one target label for all pictures, got several")
        goal = labels[:1] if self.toward and labels is not None else None
        half = replace(self.threat, eps=self.threat.eps / 2)
        forwards = backwards = 0
        delta = memory = torch.empty(0)
        for step in range(self.steps):
            drawn = torch.randperm(total, generator=torch_generator(seed, "universal", step))[: self.batch_size]
            numbers = [int(i) for i in drawn]
            x = pictures[drawn.to(pictures.device)] if isinstance(pictures, Tensor) else pictures(numbers)
            own = clean_code(model, x)
            if self.toward and not isinstance(made.guide, OneGuide):
                made = replace(made, guide=OneGuide(made.guide(own[:1], goal, bank, [0], seed), made.guide.name))
            own_labels = goal if self.toward or labels is None else labels[drawn.to(labels.device)]
            guide = guide_for(self.loss, made.guide(own, own_labels, bank, numbers, seed))
            problem = Problem(
                model,
                x,
                guide,
                1 if self.toward else -1,
                self.loss,
                self.threat,
                numbers,
                seed,
                relaxed=self.relaxation == "tanh",
            )
            if step == 0:  # at zero the own code has no informative gradient
                gray = torch.full_like(x[:1], 0.5)
                delta, memory = 2 * (half.start(gray, [0], seed) - gray), torch.zeros_like(gray)  # (1, C, H, W)
            at = self.threat.project(x + delta, x)
            rows = torch.arange(len(x), device=x.device)
            gradient = problem.gradient(at, rows, slope(self.alpha, step, self.steps))[0].mean(0, keepdim=True)
            memory = self.momentum * memory + gradient / gradient.abs().mean().clamp(min=1e-30)
            length = self.threat.eps / 4 if self.step_size is None else self.step_size
            factor = 0.5 * (1 + math.cos(math.pi * step / self.steps))
            delta = _inside(delta - factor * length * self.threat.steepest(memory), half)
            forwards, backwards = forwards + 2 * len(x), backwards + len(x)  # own codes and gradients
        return UniversalAttack(delta, made, goal, forwards, backwards)


@dataclass(frozen=True, eq=False)
class OneGuide:
    """The same guide for every picture: what a targeted universal perturbation approaches.

    Attributes:
        target: the guide of one picture.
        name: of the guide that made it.
    """

    target: Guide
    name: str
    needs_labels: ClassVar[bool] = True

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Guide:
        """The guide once a picture."""
        if isinstance(self.target, Tensor):
            return self.target[:1].to(own).expand(len(own), -1)
        first = torch.zeros(len(own), dtype=torch.int64)
        return self.target.select(first)


@dataclass(frozen=True, eq=False)
class UniversalAttack:
    """A fitted universal perturbation; called exactly as an `Attack`.

    Attributes:
        delta: the perturbation, `(1, C, H, W)` inside the ball.
        made: how it was made, with its guide fitted; toward, that is one guide for all pictures.
        goal: the target label, `(1, C)`; None away.
        forwards: forward passes of the fit, one a picture.
        backwards: backward passes of the fit.
    """

    delta: Tensor
    made: Universal
    goal: Tensor | None
    forwards: int
    backwards: int

    @property
    def threat(self) -> Threat:
        """The allowed set."""
        return self.made.threat

    @property
    def toward(self) -> bool:
        """Whether it approaches a code."""
        return self.made.toward

    @property
    def guide(self) -> GuideMaker:
        """Which code it approaches or leaves."""
        return self.made.guide

    def prepared(self, bank: CodeBank | None, seed: int = 0) -> UniversalAttack:
        """Itself: all was learned in `Universal.fit`."""
        return self

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
        """Add the perturbation to a batch; arguments as of an `Attack`, and nothing is drawn.

        `spent` counts the own code's forward pass; the passes of the fit are in `forwards` and `backwards`.

        Raises:
            RequestError: pictures of another size, outside [0, 1], other target labels than the fitted one, or a guide
                without what it needs.
        """
        if x.shape[1:] != self.delta.shape[1:]:
            have, want = tuple(x.shape[1:]), tuple(self.delta.shape[1:])
            raise RequestError(f"the universal perturbation was fitted on pictures of shape {want}, got {have}")
        own = clean_code(model, x)
        self._check_goal(labels)
        numbers = range(len(x)) if index is None else index
        target = guide_for(self.made.loss, self.guide(own, labels, bank, numbers, seed))
        x_adv = self.threat.on_grid(self.threat.project(x + self.delta.to(x), x), x)
        passes = torch.ones(len(x), dtype=torch.int64)
        return Attacked(x_adv, target, Spent(passes, torch.zeros_like(passes)))

    def _check_goal(self, labels: Tensor | None) -> None:
        if labels is None or self.goal is None:
            return
        goal = self.goal.to(labels)
        if labels.shape[1:] != goal.shape[1:] or bool((labels != goal).any()):
            other = next(
                (one for one in labels if one.shape != goal[0].shape or bool((one != goal[0]).any())), labels[0]
            )
            raise RequestError(
                f"the universal perturbation was fitted toward {class_numbers(goal[0])}, got the target {class_numbers(other)}"
            )


def _inside(delta: Tensor, half: Threat) -> Tensor:
    """The nearest perturbation of the ball; halved around mid-gray, so that `project` keeps any of [-1, 1]."""
    gray = torch.full_like(delta, 0.5)
    return 2 * (half.project(gray + delta / 2, gray) - gray)


def _count(pictures: Pictures, labels: Tensor | None, count: int | None, toward: bool) -> int:
    """Number of training pictures; several sources of it must agree."""
    known = {"pictures": len(pictures)} if isinstance(pictures, Tensor) else {}
    if count is not None:
        known["count"] = count
    if labels is not None and not (toward and len(labels) == 1):
        known["labels"] = len(labels)
    if not known:
        raise RequestError("pictures given by a function need their labels or their count, got neither")
    if len(set(known.values())) > 1 or min(known.values()) < 1:
        facts = ", ".join(f"{number} {name}" for name, number in known.items())
        raise RequestError(f"a universal perturbation needs at least one picture, and labels of each, got {facts}")
    return next(iter(known.values()))
