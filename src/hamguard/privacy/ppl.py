"""PPL: a generator and a surrogate play for the codes of protected pictures.

Paper: P.-F. Zhang, Z. Huang, X.-S. Xu, "Proactive Privacy-preserving Learning for Retrieval", AAAI 2021. Authors' code: none;
that of its cross-modal successor (ACM TOIS 41(2), 2023) is known from a third party.

The generator G makes `z = clip(x + eps G(x))`. The surrogate F has codes `h = tanh F`. With S in {-1, +1} for pairs of the batch,

* affinity `Jo`, eq. (4), keeps protected pictures useful among themselves,
* similarity `Js`, eq. (9), and matching `Je`, eq. (10), tie protected pictures to clean ones, SMMD `Ds`, eq. (7), both domains,
* privacy `Jp = alpha Ds + beta Js + gamma Je`, eq. (11), is what F lowers and G raises.

Eq. (12): G minimizes `Jo - Jp`, F minimizes `Jo + Jp`. Eq. (14), one step: both minimize `Jo + Jp`, and a layer between them
turns the gradient of `Jp` to G around. Algorithm 1, two steps: G minimizes `Jo - Jp`, then F minimizes `Jp` alone. Paper and
algorithm disagree; one step is the default here.

Deliberate differences, all of them settings:

* `normalize="mean"` divides Jo and Js by `m^2 K^2` and Je by `m K`. With the printed sums, which stay the default, Js is about 10^5
  times as heavy as Ds, which plays next to no part. With means, SMMD keeps pictures of one class together and searches inside
  the protected domain alive in models that saw clean pictures only.
* The surrogate first learns the clean pairs alone (`warmup`) and then moves slowly (`surrogate_rate`); from the printed start
  (random, both at once) its codes became constant, or the generator did not move, in every run that we made.
* Similar and dissimilar pairs weigh alike (`balance`); with ten classes nine of ten pairs are dissimilar.
* Algorithm 1 says `t` iterations over `t / m` batches, which must be `n / m`: `preset="paper"` goes over all batches t times.
* How batch norm stands in the game is not printed. A surrogate that plays is in training mode, as a network that learns is, and
  clean and protected pictures go through it as one batch; one that is frozen or given keeps its statistics (`statistics`).
* The bound of eq. (2), p in {1, 2, inf}: `norm`, see `models/protector.py`.
* `game="frozen"`: the surrogate does not play. Not PPL; a variant to compare with.
* `similarity="views"`: without labels, two random views of one picture are similar and all else is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hamguard.core.checks import check_choice, check_range
from hamguard.hashing.objective import pair_weights
from hamguard.privacy.smmd import smmd

Normalize = Literal["mean", "sum"]


class _Reverse(torch.autograd.Function):
    """Identity whose gradient is turned around."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lam: float) -> Tensor:
        ctx.lam = lam
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.lam * gradients[0], None


def reverse_gradient(x: Tensor, lam: float) -> Tensor:
    """The gradient reversal layer, eq. (13): the same values; the gradient times `-lam`."""
    found: Tensor = _Reverse.apply(x, lam)
    return found


def pair_loss(h: Tensor, other: Tensor, similar: Tensor, *, normalize: Normalize, balance: bool = False) -> Tensor:
    """`sum_ij (h_i . h'_j - K S_ij)^2`, a scalar: `Jo`, eq. (4), of protected codes; `Js`, eq. (9), of clean and protected ones.

    Args:
        h: relaxed codes, `(m, K)` in (-1, 1).
        other: relaxed codes, `(m, K)`.
        similar: S in {-1, +1}, `(m, m)`.
        normalize: `sum` as printed; `mean` divides by `m^2 K^2`.
        balance: similar and dissimilar pairs weigh alike.
    """
    K = h.shape[1]
    squares = (h @ other.T - K * similar).square()  # (m, m)
    if balance:
        squares = squares * pair_weights((similar > 0).to(h))
    return squares.sum() if normalize == "sum" else squares.mean() / K**2


def matching_loss(h: Tensor, other: Tensor, *, normalize: Normalize) -> Tensor:
    """`Je = sum_i ||h_i - h'_i||^2` (eq. 10), a scalar; `mean` divides by `m K`."""
    squares = (h - other).square()  # (m, K)
    return squares.sum() if normalize == "sum" else squares.mean()


@dataclass(frozen=True)
class Rules:
    """Weights and rules of the game.

    Attributes:
        alpha: weight of SMMD.
        beta: weight of the similarity loss.
        gamma: weight of the matching loss.
        affinity: weight of the affinity loss; 0 is an ablation.
        lam: factor of the gradient reversal layer.
        normalize: the printed `sum`, or `mean`.
        balance: similar and dissimilar pairs weigh alike.
        game: `one-step` (eq. 14), `two-step` (Algorithm 1) or `frozen` (the surrogate does not play).
        statistics: of the surrogates' batch norms in the game: those of the joint `batch` of clean and protected pictures, or those
            `kept` from warm-up or from before, see `game.py`.

    Raises:
        RequestError: an unknown word, or a negative weight.
    """

    alpha: float = 1.0
    beta: float = 10.0
    gamma: float = 1.0
    affinity: float = 1.0
    lam: float = 1.0
    normalize: Normalize = "sum"
    balance: bool = True
    game: Literal["one-step", "two-step", "frozen"] = "one-step"
    statistics: Literal["batch", "kept"] = "batch"

    def __post_init__(self) -> None:
        check_choice("normalize", self.normalize, ("mean", "sum"))
        check_choice("game", self.game, ("one-step", "two-step", "frozen"))
        check_choice("statistics", self.statistics, ("batch", "kept"))
        for name in ("alpha", "beta", "gamma", "affinity", "lam"):
            check_range(name, getattr(self, name), 0.0)

    def affinity_loss(self, hz: Tensor, similar: Tensor) -> Tensor:
        """`Jo` with its weight, a scalar, of protected codes `(m, K)`."""
        return self.affinity * pair_loss(hz, hz, similar, normalize=self.normalize, balance=self.balance)

    def privacy_loss(self, hx: Tensor, hz: Tensor, similar: Tensor) -> Tensor:
        """`Jp = alpha Ds + beta Js + gamma Je` (eq. 11), a scalar; a term of weight 0 is not computed.

        Args:
            hx: codes of clean pictures, `(m, K)` in (-1, 1).
            hz: codes of the same pictures after protection.
            similar: S in {-1, +1}, `(m, m)`.
        """
        loss = hz.new_zeros(())
        if self.alpha:
            loss = loss + self.alpha * smmd(hx, hz, similar)
        if self.beta:
            loss = loss + self.beta * pair_loss(hx, hz, similar, normalize=self.normalize, balance=self.balance)
        if self.gamma:
            loss = loss + self.gamma * matching_loss(hx, hz, normalize=self.normalize)
        return loss


def pair_signs(labels: Tensor) -> Tensor:
    """`S` in {-1, +1}, `(m, m)`: whether two pictures of the batch share a label, `(m, C)` multi-hot."""
    return 2 * ((labels @ labels.T) > 0).to(labels.dtype) - 1
