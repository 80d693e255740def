"""Loss sensitivity `E_x || grad_x J(x) ||_2`, on logits and on tanh codes (H.4; definitions ours).

Saturation makes tanh look insensitive where the logits are not: that is masking, not robustness.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.types import Victim
from hamguard.codes.binary import relax
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.measures.gradients import blocks, dual_norm, jacobian
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import Cost, mean_row, picture_numbers

TrainingLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits `(b, K)` and the numbers of their pictures `(b,)` to one loss a picture, `(b,)`."""


@dataclass(frozen=True)
class LossSensitivity:
    """Gradient norms of a loss.

    Attributes:
        length: `||grad_x J||_2` of each picture, `(n,)`.
        loss: what J is, for the row.
        cost: what was spent.
    """

    length: Floats
    loss: str
    cost: Cost = field(compare=False)


def loss_sensitivity(
    model: Victim, x: Tensor, *, alpha: float = 0.0, loss: TrainingLoss | None = None, name: str = ""
) -> LossSensitivity:
    """Gradient norm of a loss at clean pictures.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        alpha: slope of tanh in the default loss, minus the inner product with the own code over K; 0 takes raw logits.
        loss: another J, e.g. a training loss with the true labels; it sees logits.
        name: what rows call that loss.

    Raises:
        RequestError: pictures outside [0, 1], alpha below 0, a loss without a name or that is not one number a picture, or no
            gradient to the pictures.
        RunError: a gradient is not finite.
    """
    started = time.perf_counter()
    picture_numbers(None, len(x))
    check_range("alpha", alpha, 0.0)
    if (loss is None) != (not name):
        raise RequestError("a loss and its name are given together; without both it is that of the own code")
    lengths = []
    for part in blocks(len(x), x):
        own = clean_code(model, x[part])
        numbers = torch.arange(len(x), device=x.device)[part]

        def value(here: Tensor, own: Tensor = own, numbers: Tensor = numbers) -> Tensor:
            z = model.logits(here)
            J = loss(z, numbers) if loss else inner_product(relax(z, alpha) if alpha else z, own, 1)
            if J.shape != (len(here),):
                raise RequestError(f"the loss must be one number a picture, ({len(here)},), got {tuple(J.shape)}")
            return J[:, None]

        lengths.append(jacobian(value, x[part], lambda gradient: dual_norm(gradient, "l2"))[1][:, 0])
    said = name or (f"own code, tanh(alpha z), alpha={alpha:g}" if alpha else "own code, logits")
    cost = Cost(2, 1, time.perf_counter() - started)
    return LossSensitivity(torch.cat(lengths).double().cpu().numpy(), said, cost)


def sensitivity_rows(found: LossSensitivity, base: Row, *, seed: int = 0) -> list[Row]:
    """One row, `loss-sensitivity[J]` with the loss in its name, the mean over pictures."""
    row = found.cost.on(replace(base, task="query"))
    return [mean_row(row, f"loss-sensitivity[{found.loss}]", found.length, seed=seed)]


@register("sensitivity")
def sensitivity(subject: Subject) -> Found:
    """Length of the loss gradient at clean pictures, on raw outputs and behind tanh."""
    rows, lines = [], []
    for alpha, name in ((0.0, "logits"), (1.0, "tanh")):
        found = loss_sensitivity(subject.ground.model, subject.x, alpha=alpha)
        rows += sensitivity_rows(found, subject.base, seed=subject.ground.seed)
        text = "mean length of the gradient of the own-code loss" + (" behind tanh" if alpha else "")
        lines.append(Line(f"loss sensitivity, {name}", text, "lower", "number", rows[-1], found.length))
    return Found(rows, lines)
