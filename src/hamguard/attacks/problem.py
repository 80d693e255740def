"""One batch under attack: pictures, guides, loss and threat, and the count of what was spent on them.

The model's weights are frozen by whoever loads it; one gradient goes to the pictures and nothing else is computed. Losses are
summed over pictures, so that no picture's step depends on its neighbors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from hamguard.attacks.guides.relevant import CodeSet
from hamguard.attacks.search.views import PLAIN, Plain, View
from hamguard.attacks.threat import Threat
from hamguard.attacks.types import EditedTexts, Guide, Loss, Spent, Victim
from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import derive_seed
from hamguard.models.trial import is_flat, pixel_gradient, with_gradient


@dataclass
class Problem:
    """A batch under attack.

    Attributes:
        model: the victim.
        x: clean pictures, `(B, C, H, W)` in [0, 1].
        target: guide codes `(B, K)`, or several of each picture.
        direction: +1 toward the guide, -1 away from it.
        loss: relaxed codes (or logits), guide, direction to `(B,)`.
        threat: the allowed set.
        index: number of each picture in the run, for its random numbers.
        seed: seed of the attack.
        relaxed: whether the loss wants tanh codes; logits otherwise.
        fidelity: weight of the distance to the clean picture, which SDHA and CMLA add.
        fidelity_norm: mean squared error (`l2`, SDHA) or mean absolute error (`l1`, CMLA).
        fidelity_growth: how much of `fidelity` is added to it with every step.
        marks: numbers of gradients after which the search keeps a copy in `kept`.
        own: clean codes, `(B, K)` in {-1, +1}; None where nobody asked for them.
        labels: labels of the pictures (away) or target labels (toward), `(B, C)`; None where there are none.
        texts: the texts whose bags of words `x` are; empty for pictures and for bags without texts.
        outputs: clean outputs, `(B, K)`, for a loss that leaves them; None for any other.
        watch: told after each gradient how many were taken.
        kept: what it looked like after so many, `(B, C, H, W)` each.
        spent_at: what was spent until then.
        edited: the texts after edits of words, left by a search that makes them.
        spent: counts, filled as the search goes.
    """

    model: Victim
    x: Tensor
    target: Guide
    direction: int
    loss: Loss
    threat: Threat
    index: Sequence[int]
    seed: int
    relaxed: bool = True
    fidelity: float = 0.0
    fidelity_norm: Literal["l1", "l2"] = "l2"
    fidelity_growth: float = 0.0
    marks: tuple[int, ...] = ()
    own: Tensor | None = None
    labels: Tensor | None = None
    texts: tuple[str, ...] = ()
    outputs: Tensor | None = None
    watch: Callable[[int], None] | None = None
    kept: dict[int, Tensor] = field(default_factory=dict)
    spent_at: dict[int, Spent] = field(default_factory=dict)
    edited: EditedTexts | None = None
    spent: Spent = field(init=False)

    def __post_init__(self) -> None:
        count = torch.zeros(len(self.x), dtype=torch.int64)
        self.spent = Spent(count, count.clone())

    def guides(self, rows: Tensor) -> Guide:
        """The guides of some pictures."""
        return self.target[rows] if isinstance(self.target, Tensor) else self.target.select(rows)

    def scored(self, u: Tensor, rows: Tensor) -> Tensor:
        """The loss of relaxed codes (or logits) of some pictures, `(b,)`."""
        guides = self.guides(rows)
        if self.outputs is None:
            return self.loss(u, guides, self.direction)
        loss: Callable[..., Tensor] = self.loss  # says by `takes_outputs` that it has a fourth argument
        return loss(u, guides, self.direction, self.outputs[rows])

    def gradient(
        self, x_adv: Tensor, rows: Tensor, alpha: float, views: Sequence[View] = PLAIN, step: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the loss at some pictures: the weighted sum over views, and the fidelity once.

        Args:
            x_adv: where, `(b, C, H, W)`.
            rows: which pictures of the batch they are, `(b,)`.
            alpha: slope of the relaxation.
            views: what the model sees of them; each costs a forward and a backward pass.
            step: number of the gradient in the run, from which views draw.

        Returns:
            Gradient `(b, C, H, W)`, loss `(b,)`, and bits still on the wrong side `(b,)`. The bits are those of the picture
            itself; where no view is plain, that takes one more forward pass.

        Raises:
            RequestError: the model does not return `(b, K)`, or gives no gradient to its pictures.
            RunError: the gradient is not finite.
        """
        x_adv = x_adv.detach().requires_grad_()
        places = rows.cpu()
        index = [] if views == PLAIN else [int(self.index[place]) for place in places.tolist()]
        total, wrong = x_adv.new_zeros(len(rows)), None
        with torch.enable_grad():
            for number, view in enumerate(views):
                plain = isinstance(view, Plain)
                seen = x_adv if plain else view(x_adv, index, step, derive_seed(self.seed, "view", number))
                z = with_gradient(self._logits(seen), "the attacked model")
                u = relax(z, alpha) if self.relaxed else z
                total = total + view.weight * self.scored(u, rows)  # (b,)
                if plain:
                    wrong = self.wrong(z.detach(), rows)
            if self.fidelity:
                delta = (x_adv - self.x[rows]).flatten(1)
                weight = self.fidelity * (1 + self.fidelity_growth * step)
                total = total + weight * (delta.square() if self.fidelity_norm == "l2" else delta.abs()).mean(1)
            found = pixel_gradient(total.sum(), x_adv, "the attacked model")
        if not bool(found.sum().isfinite()):  # one pass; a NaN or infinite value makes the sum one
            what = "text" if self.texts else "picture"
            raise RunError(f"the gradient to the {what} is NaN or infinite; the model's weights or outputs are broken")
        self.spent.forwards[places] += len(views)
        self.spent.backwards[places] += len(views)
        self.spent.flat[places] += len(views) * is_flat(found).cpu()
        if self.watch is not None:
            self.watch(int(self.spent.backwards.max()))
        return found, total.detach(), self.score(x_adv.detach(), rows) if wrong is None else wrong

    def mark(self, count: int, x_adv: Tensor) -> None:
        """Keep a copy where `count` gradients are one of the marks."""
        if count in self.marks:
            self.kept[count], self.spent_at[count] = x_adv.detach().clone(), self.spent.copy()

    @torch.no_grad()
    def score(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        """Bits still on the wrong side, `(b,)`, 0 where the guide is reached (or left altogether)."""
        self.spent.forwards[rows.cpu()] += 1
        return self.wrong(self._logits(x_adv), rows)

    def wrong(self, z: Tensor, rows: Tensor) -> Tensor:
        """Hamming distance of sign(z) to `direction * guide`; for a set, the mean over its codes, `(b,)`."""
        hard = torch.where(z < 0, -1.0, 1.0).to(z)
        guide = self.guides(rows)
        if isinstance(guide, CodeSet):
            inner = (guide.member * (hard @ guide.codes.T)).sum(1) / guide.member.sum(1).clamp(min=1)
        else:
            inner = (hard * (guide if isinstance(guide, Tensor) else guide.vote)).sum(1)
        return (z.shape[1] - self.direction * inner) / 2

    def _logits(self, x: Tensor) -> Tensor:
        z = self.model.logits(x)
        if z.ndim != 2 or z.shape[0] != len(x):
            raise RequestError(f"the attacked model must return ({len(x)}, K) numbers, got {tuple(z.shape)}")
        return z
