"""Attacks that a trained net makes in one pass: no gradient, no search, nothing drawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from hamguard.attacks.attack import Attack, check_pictures
from hamguard.attacks.guides.prototype import FittedPrototype
from hamguard.attacks.guides.supervised import SupervisedPrototype
from hamguard.attacks.guides.vote import labeled
from hamguard.attacks.problem import Problem
from hamguard.attacks.prosgan_game import made_picture
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import Carrier, SearchProblem, Victim
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.models.prosgan import Generator, PrototypeNet

WHOLE = Linf(1.0)
"""The allowed set of a soft budget: every picture."""


@dataclass(frozen=True)
class NoGenerator(Carrier):
    """The search of an attack whose generator is still missing; `generated` gives it one.

    Attributes:
        asked: the allowed set that was asked for; None takes the generator's own.
    """

    asked: Threat | None = None
    lacks: ClassVar[str] = (
        "prosgan needs a trained generator (`generator=FOLDER`); "
        "train one with hamguard train --method prosgan --victim MODEL --out FOLDER"
    )

    @property
    def soft(self) -> bool:  # type: ignore[override]
        """Whether the radius is the generator's to say."""
        return self.asked is None

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Not yet.

        Raises:
            RequestError: always; the message says what to do first.
        """
        raise RequestError(self.lacks)

    def shown(self, attack: Attack) -> dict[str, Any]:
        """What was asked for."""
        return {"kind": "Generated", "threat": self.asked, "guide": attack.guide, "toward": attack.toward}


@dataclass(frozen=True, eq=False)
class GeneratorPass(Carrier):
    """A trained generator as a search: one pass makes the picture, and the attacked model is not asked.

    Attributes:
        generator: the net.
        prototype: represents target labels for it.
        digest: content hash of the weights.
        victim: content hash of the model that it was trained against.
        training: how its prototype was trained.
        soft: it was trained for a soft budget.
    """

    generator: Generator = field(repr=False)
    prototype: PrototypeNet = field(repr=False)
    digest: str
    victim: str
    training: SupervisedPrototype
    soft: bool

    def own_code(self, model: Victim, x: Tensor) -> Tensor:
        """Any code of the right length: the model is not asked, and the prototype looks at the labels only."""
        return torch.ones(len(x), self.prototype.bits)

    def check(self, x: Tensor, labels: Tensor | None) -> None:
        """Check pictures and labels.

        Raises:
            RequestError: pictures outside [0, 1] or of another shape than the generator's, or labels missing or of another number.
        """
        want = (self.generator.channels, *self.generator.size)
        check_pictures(x)
        if tuple(x.shape[1:]) != want:
            raise RequestError(f"the generator was made for pictures of shape {want}, got {tuple(x.shape[1:])}")
        labeled(labels, self.prototype.classes, "prototype")

    @torch.no_grad()
    def __call__(self, problem: SearchProblem) -> Tensor:
        """The pictures of a batch, `(B, C, H, W)`.

        Raises:
            RequestError: several models are attacked together.
        """
        if not isinstance(problem, Problem):
            raise RequestError("a generator is trained against one model; it cannot attack several together")
        x = problem.x
        labels = labeled(problem.labels, self.prototype.classes, "prototype")
        self.generator.to(x.device)
        r = self.prototype.represent(labels.detach().cpu().float()).to(x)  # (B, 512)
        return made_picture(self.generator, x, r, None if self.soft else problem.threat)

    def shown(self, attack: Attack) -> dict[str, Any]:
        """Guide, threat and where the nets come from."""
        known = {"digest": self.digest, "victim": self.victim, "training": self.training, "toward": attack.toward}
        return {"kind": "GeneratedAttack", "guide": attack.guide, "threat": attack.ball, **known}


def generated(
    attack: Attack,
    generator: Generator,
    prototype: PrototypeNet,
    threat: Threat | None,
    *,
    digest: str = "",
    victim: str = "",
    training: SupervisedPrototype | None = None,
) -> Attack:
    """The attack of a trained generator.

    Args:
        attack: what waits for it, such as `prosgan()` makes.
        generator: frozen, in evaluation mode.
        prototype: its prototype net, the same.
        threat: the ball that it was trained for; None for a soft budget.
        digest: content hash of the weights.
        victim: content hash of the model that it was trained against.
        training: how its prototype was trained.

    Raises:
        RequestError: the attack takes no generator, or another threat was asked for.
    """
    if not isinstance(attack.search, NoGenerator):
        raise RequestError("the attack takes no generator")
    asked = attack.search.asked
    if asked is not None and not _same(asked, threat):
        wanted = f"{asked.norm} {asked.eps:g}"
        have = f"{threat.norm} {threat.eps:g}" if threat else "a soft budget, which has no eps"
        raise RequestError(f"the generator was trained for {have}, got {wanted}; leave `eps` and `threat` out")
    guide = FittedPrototype(prototype, prototype.bits, prototype.classes, 0.0)
    search = GeneratorPass(generator, prototype, digest, victim, training or SupervisedPrototype(), threat is None)
    return replace(attack, guide=guide, search=search, threat=threat or WHOLE)


def against(attack: Attack, bank: CodeBank, seed: int = 0) -> Attack:
    """A generator's pictures with the guide of another model, whose reference codes are `bank`, learned in the same way.

    Raises:
        RequestError: the attack has no generator, or the bank has no labels.
    """
    if not isinstance(attack.search, GeneratorPass):
        raise RequestError("only pictures of a generator stay the same under another guide")
    net = attack.search.training.fit(bank, seed)
    return replace(attack, guide=FittedPrototype(net, net.bits, net.classes, 0.0))


def _same(asked: Threat, have: Threat | None) -> bool:
    return have is not None and have.norm == asked.norm and abs(have.eps - asked.eps) < 1e-9
