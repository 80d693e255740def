"""One perturbation for all pictures: fitted on training pictures, then added to any other.

Paper: S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, "Universal Adversarial Perturbations", CVPR 2017, for the idea;
here by sign steps with momentum on the mean loss of random batches, as later work does, because a code has no class boundary to
step over. No hash paper of our list gives a recipe.

Where a picture plus the perturbation leaves [0, 1] it is clipped, and the gradient passes the clip unchanged: on white
backgrounds the true one is zero for every value that brightens, which would then never turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from hamguard.attacks.attack import Attack, clean_logits, guide_for, outputs_for
from hamguard.attacks.guides.vote import class_numbers
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.alpha import slope
from hamguard.attacks.threat import Threat
from hamguard.attacks.types import Carrier, Guide, Images, SearchProblem, Victim
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import sign
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator


@dataclass(frozen=True)
class UniversalSteps(Carrier):
    """How a universal perturbation is made; `Attack.prepared` with a model and training pictures makes it.

    Attributes:
        steps: number of gradients, one batch each.
        batch_size: training pictures a step, drawn at random.
        step_size: length of the first step in pixel units, falling by cosine; None takes `eps / 4`.
        momentum: decay of the accumulated gradient.
        alpha: slope of the relaxation, `constant` or `published`.
    """

    steps: int = 200
    batch_size: int = 32
    step_size: float | None = None
    momentum: float = 0.9
    alpha: Literal["constant", "published"] = "constant"
    lacks: ClassVar[str] = (
        "a universal perturbation is fitted on training pictures first: call prepared with a model and images"
    )

    def __post_init__(self) -> None:
        check_choice("alpha schedule", self.alpha, ("constant", "published"))
        check_range("steps", self.steps, 1)
        check_range("batch size", self.batch_size, 1)
        check_range("momentum", self.momentum, 0.0)

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Not yet: a perturbation fitted on the pictures it is scored on would not be universal.

        Raises:
            RequestError: always; the message says what to do first.
        """
        raise RequestError(self.lacks)

    def shown(self, attack: Attack) -> dict[str, Any]:
        """Guide, loss, threat and direction beside how it is made."""
        values = {name: getattr(attack, name) for name in ("guide", "loss", "threat", "toward", "relaxation")}
        return {"kind": "Universal", **values, **asdict(self)}

    def fit(
        self,
        attack: Attack,
        model: Victim,
        images: Images,
        labels: Tensor | None,
        bank: CodeBank | None,
        seed: int,
        count: int | None,
    ) -> Attack:
        """The attack whose search adds the fitted perturbation; arguments and errors as in `Attack.prepared`."""
        total = _count(images, labels, count, attack.toward)
        if attack.toward and labels is not None and bool((labels != labels[:1]).any()):
            raise RequestError("a targeted universal perturbation has one target label for all pictures, got several")
        goal = labels[:1] if attack.toward and labels is not None else None
        half = replace(attack.threat, eps=attack.threat.eps / 2)
        forwards = backwards = 0
        delta = memory = torch.empty(0)
        for step in range(self.steps):
            drawn = torch.randperm(total, generator=torch_generator(seed, "universal", step))[: self.batch_size]
            numbers = [int(i) for i in drawn]
            x = images[drawn.to(images.device)] if isinstance(images, Tensor) else images(numbers)
            z = clean_logits(model, x)  # (b, K)
            own = sign(z)
            if attack.toward and not isinstance(attack.guide, OneGuide):
                one = OneGuide(attack.guide(own[:1], goal, bank, [0], seed), attack.guide.name)
                attack = replace(attack, guide=one)
            own_labels = goal if attack.toward or labels is None else labels[drawn.to(labels.device)]
            guide = guide_for(attack.loss, attack.guide(own, own_labels, bank, numbers, seed))
            direction, relaxed = 1 if attack.toward else -1, attack.relaxation == "tanh"
            outputs = outputs_for(attack.loss, attack.guide, z, relaxed)
            problem = Problem(
                model, x, guide, direction, attack.loss, attack.threat, numbers, seed, relaxed=relaxed, outputs=outputs
            )
            if step == 0:  # at zero the own code has no informative gradient
                gray = torch.full_like(x[:1], 0.5)
                delta, memory = 2 * (half.start(gray, [0], seed) - gray), torch.zeros_like(gray)  # (1, C, H, W)
            at = attack.threat.project(x + delta, x)
            rows = torch.arange(len(x), device=x.device)
            gradient = problem.gradient(at, rows, slope(self.alpha, step, self.steps))[0].mean(0, keepdim=True)
            memory = self.momentum * memory + gradient / gradient.abs().mean().clamp(min=1e-30)
            length = attack.threat.reach / 4 if self.step_size is None else self.step_size
            factor = 0.5 * (1 + math.cos(math.pi * step / self.steps))
            delta = _inside(delta - factor * length * attack.threat.steepest(memory), half)
            forwards, backwards = forwards + 2 * len(x), backwards + len(x)  # own codes and gradients
        return replace(attack, search=OneForAll(delta, goal, self, forwards, backwards))


@dataclass(frozen=True, eq=False)
class OneGuide:
    """The same guide for every picture: what a targeted universal perturbation approaches.

    Attributes:
        target: the guide of one picture.
        name: of the guide that made it.
    """

    target: Guide
    name: str
    needs_labels = True

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Guide:
        """The guide once a picture."""
        if isinstance(self.target, Tensor):
            return self.target[:1].to(own).expand(len(own), -1)
        first = torch.zeros(len(own), dtype=torch.int64)
        return self.target.select(first)


@dataclass(frozen=True, eq=False)
class OneForAll(Carrier):
    """A fitted universal perturbation as a search: it is added to every picture, and nothing is drawn.

    Attributes:
        delta: the perturbation, `(1, C, H, W)` inside the ball.
        goal: the target label, `(1, C)`; None away.
        made: how it was made.
        forwards: forward passes of the fit, one a picture.
        backwards: backward passes of the fit.
    """

    delta: Tensor = field(repr=False)
    goal: Tensor | None = field(repr=False)
    made: UniversalSteps
    forwards: int
    backwards: int

    def check(self, x: Tensor, labels: Tensor | None) -> None:
        """Check size and target.

        Raises:
            RequestError: pictures of another size, or other target labels than the fitted one.
        """
        if x.shape[1:] != self.delta.shape[1:]:
            have, want = tuple(x.shape[1:]), tuple(self.delta.shape[1:])
            raise RequestError(f"the universal perturbation was fitted on pictures of shape {want}, got {have}")
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

    def __call__(self, problem: SearchProblem) -> Tensor:
        """The pictures with the perturbation, inside the threat."""
        return problem.threat.project(problem.x + self.delta.to(problem.x), problem.x)

    def shown(self, attack: Attack) -> dict[str, Any]:
        """As before it was fitted."""
        return self.made.shown(attack)


def _inside(delta: Tensor, half: Threat) -> Tensor:
    """The nearest perturbation of the ball; halved around mid-gray, so that `project` keeps any of [-1, 1]."""
    gray = torch.full_like(delta, 0.5)
    return 2 * (half.project(gray + delta / 2, gray) - gray)


def _count(images: Images, labels: Tensor | None, count: int | None, toward: bool) -> int:
    """Number of training pictures; several sources of it must agree."""
    known = {"pictures": len(images)} if isinstance(images, Tensor) else {}
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
