"""Attacks of any budget on the same images: what least budgets and flip curves are made of.

The attacks do not round, so that quarters of a level mean something: they measure the model, not a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hamguard.attacks.attack import Attack, clean_code
from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.threat import Linf
from hamguard.attacks.types import Attacked, Victim
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Bytes, Ints
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.measures.registry import STEPS, Subject
from hamguard.evaluation.measures.rows import picture_numbers

CURVE = tuple(level / 255 for level in (1, 2, 4, 8, 16, 32, 64))
"""Budgets of a printed curve."""

AttackMaker = Callable[[float], Attack]
"""An attack of a budget. A guide that learns must come fitted (`Attack.prepared`), else it is trained for every batch."""


def plain_pgd(eps: float, steps: int = STEPS) -> Attack:
    """The attack of the specification: PGD on the own code, 50 gradients, linf, without rounding."""
    return replace(pgd(steps=steps, threat=Linf(eps)), rounding=False)


@dataclass(frozen=True)
class Pictures:
    """Images and what an attack on them is told.

    Attributes:
        model: frozen, in evaluation mode.
        x: clean images, `(n, C, H, W)` in [0, 1].
        labels: as the attack wants them, `(n, C)`.
        bank: reference codes of the attack.
        index: numbers of the images in the run; 0 to n - 1 where not given.
        seed: of the attack.
        batch_size: images attacked at once.

    Raises:
        RequestError: no images, not as many numbers as images, or a batch of none.
    """

    model: Victim
    x: Tensor
    labels: Tensor | None = None
    bank: CodeBank | None = None
    index: Sequence[int] | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", picture_numbers(self.index, len(self.x)))
        check_range("batch_size", self.batch_size, 1)

    @classmethod
    def of(cls, subject: Subject) -> Pictures:
        """The query images of a subject, without labels."""
        ground = subject.ground
        return cls(ground.model, subject.x, seed=ground.seed, batch_size=ground.batch_size)

    def __len__(self) -> int:
        return len(self.x)

    def codes(self, x: Tensor | None = None) -> Bytes:
        """Packed codes of images, the clean ones where none are given, `(n, ceil(K / 8))`."""
        x = self.x if x is None else x
        with torch.no_grad():
            return pack(torch.cat([clean_code(self.model, x[part]) for part in self.parts(len(x))]))

    def attacked(self, make: AttackMaker, eps: float, rows: Ints, seed: int | None = None) -> Attacked:
        """The attack of a budget on some of the images, one batch.

        Raises:
            RequestError: the attack has another budget than asked for.
        """
        attack = make(eps)
        if abs(attack.threat.eps - eps) > 1e-9:
            raise RequestError(
                f"the attack's budget is {attack.threat.eps:g}, it was made for {eps:g}: use the argument"
            )
        labels, numbers = None if self.labels is None else self.labels[rows], self.index or ()
        index = [numbers[row] for row in rows]
        return attack(
            self.model, self.x[rows], labels, self.bank, index=index, seed=self.seed if seed is None else seed
        )

    def parts(self, count: int) -> Iterator[slice]:
        """Slices of `range(count)` that go through the model at once."""
        for start in range(0, count, self.batch_size):
            yield slice(start, min(start + self.batch_size, count))


def base_of(subject: Subject, method: str, attack: Attack) -> Row:
    """Base of rows about an attack of many budgets."""
    spec = AttackSpec(attack, method)
    threat = {key: value for key, value in spec.threat_facts.items() if key != "eps"}
    return replace(subject.base, attack=spec.facts, threat=threat, task="query")
