"""Attacks that a trained net makes in one pass: no gradient, no search, nothing drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hamguard.attacks.attack import check_pictures
from hamguard.attacks.guides.prototype import FittedPrototype, PrototypeCode
from hamguard.attacks.guides.supervised import SupervisedPrototype
from hamguard.attacks.guides.vote import labeled
from hamguard.attacks.prosgan_game import made_picture
from hamguard.attacks.threat import Threat
from hamguard.attacks.types import Attacked, GuideMaker, Spent, Victim
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.models.prosgan import Generator, PrototypeNet

MISSING = (
    "prosgan needs a trained generator (--generator FOLDER); "
    "train one with hamguard train --method prosgan --victim MODEL --out FOLDER"
)


@dataclass(frozen=True)
class Generated:
    """An attack whose generator is still missing; `of` gives it one.

    Attributes:
        threat: the allowed set that was asked for; None takes the generator's own.
        guide: stands for the prototype that comes with the generator.
    """

    threat: Threat | None = None
    guide: GuideMaker = field(default_factory=PrototypeCode)
    toward: bool = True

    def prepared(self, bank: CodeBank | None, seed: int = 0) -> Generated:
        """Itself; the generator was trained before."""
        return self

    def of(
        self,
        generator: Generator,
        prototype: PrototypeNet,
        threat: Threat | None,
        *,
        digest: str = "",
        victim: str = "",
        training: SupervisedPrototype | None = None,
    ) -> GeneratedAttack:
        """The attack of a trained generator.

        Args:
            generator: frozen, in evaluation mode.
            prototype: its prototype net, the same.
            threat: the ball that it was trained for; None for a soft budget.
            digest: content hash of the weights.
            victim: content hash of the model that it was trained against.
            training: how its prototype was trained.

        Raises:
            RequestError: another threat was asked for.
        """
        if self.threat is not None and not _same(self.threat, threat):
            asked = f"{self.threat.norm} {self.threat.eps:g}"
            have = f"{threat.norm} {threat.eps:g}" if threat else "a soft budget, which has no eps"
            raise RequestError(f"the generator was trained for {have}, got {asked}; leave --eps and --threat out")
        guide = FittedPrototype(prototype, prototype.bits, prototype.classes, 0.0)
        return GeneratedAttack(generator, prototype, guide, threat, digest, victim, training or SupervisedPrototype())

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
        """Not yet.

        Raises:
            RequestError: always; the message says what to do first.
        """
        raise RequestError(MISSING)


@dataclass(frozen=True, eq=False)
class GeneratedAttack:
    """A trained generator as an attack; called exactly as an `Attack`.

    Attributes:
        generator: the net.
        prototype: represents target labels for it.
        guide: the prototype's codes, or for another scored model those of a prototype fitted for that.
        threat: the ball of a hard budget; None for a soft one.
        digest: content hash of the weights.
        victim: content hash of the model that it was trained against.
        training: how its prototype was trained.
    """

    generator: Generator = field(repr=False)
    prototype: PrototypeNet = field(repr=False)
    guide: GuideMaker
    threat: Threat | None
    digest: str
    victim: str
    training: SupervisedPrototype
    toward: bool = True

    def prepared(self, bank: CodeBank | None, seed: int = 0) -> GeneratedAttack:
        """Itself: all was learned before."""
        return self

    def against(self, bank: CodeBank, seed: int = 0) -> GeneratedAttack:
        """The same pictures with the guide of another model, whose reference codes are `bank`, learned in the same way."""
        net = self.training.fit(bank, seed)
        return replace(self, guide=FittedPrototype(net, net.bits, net.classes, 0.0))

    @torch.no_grad()
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
        """Make the pictures of a batch: one pass of the generator each, none of the model.

        Args:
            model: not asked.
            x: clean pictures, `(B, C, H, W)` in [0, 1].
            labels: target labels, `(B, C)`.
            bank: reference codes; not looked at.
            index: numbers of the pictures; not looked at, because nothing is drawn.
            seed: not looked at.

        Raises:
            RequestError: pictures outside [0, 1] or of another shape than the generator's, or labels missing or of another number.
        """
        want = (self.generator.channels, *self.generator.size)
        check_pictures(x)
        if tuple(x.shape[1:]) != want:
            raise RequestError(f"the generator was made for pictures of shape {want}, got {tuple(x.shape[1:])}")
        labels = labeled(labels, self.prototype.classes, "prototype")
        self.generator.to(x.device)
        r = self.prototype.represent(labels.detach().cpu().float()).to(x)  # (B, 512)
        made = made_picture(self.generator, x, r, self.threat)  # (B, C, H, W)
        x_adv = (made * 255).round() / 255 if self.threat is None else self.threat.on_grid(made, x)
        own = torch.ones(len(x), self.prototype.bits)
        target = self.guide(own, labels, bank, range(len(x)) if index is None else index, seed)
        passes = torch.ones(len(x), dtype=torch.int64)
        return Attacked(x_adv, target, Spent(passes, torch.zeros_like(passes)))


def _same(asked: Threat, have: Threat | None) -> bool:
    return have is not None and have.norm == asked.norm and abs(have.eps - asked.eps) < 1e-9
