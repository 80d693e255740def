"""CMLA's two terms: leave what is similar in the other modality, keep what is similar in the own one.

Paper: C. Li, S. Gao, C. Deng, D. Xie, W. Liu, "Cross-Modal Learning with Adversarial Samples", NeurIPS 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from hamguard.attacks.guides.pairs import PairCodes
from hamguard.core.checks import check_range


def inter_term(theta: Tensor, similar: Tensor, *, squared: bool = False) -> Tensor:
    """`softplus(-G) + S G`, which is `softplus(G) - (1 - S) G`: the ordinary likelihood with flipped similarity.

    Args:
        theta: G, any shape.
        similar: S in {0, 1}, the same shape.
        squared: the form of the slides, `((1 - S) G - log(1 + e^G))^2`.
    """
    plain = softplus(theta) - (1 - similar) * theta
    return plain.square() if squared else plain


def intra_term(theta: Tensor, similar: Tensor, *, squared: bool = False) -> Tensor:
    """`softplus(Q) - S Q`, the ordinary likelihood; arguments as in `inter_term`."""
    plain = softplus(theta) - similar * theta
    return plain.square() if squared else plain


@dataclass(frozen=True)
class CmlaLoss:
    """Mean over pairs of both terms, one number an item.

    Attributes:
        intra: weight of the term of the own modality; the paper has 1.
        halved: inner products are halved, as in the paper; the code does not.
        squared: the slides' squares.
    """

    intra: float = 1.0
    halved: bool = True
    squared: bool = False
    takes_sets = True

    def __post_init__(self) -> None:
        check_range("intra", self.intra, 0.0)

    def __call__(self, u: Tensor, target: PairCodes, direction: int) -> Tensor:
        """Loss of relaxed codes `(B, K)`, `(B,)`; there is one direction only, away from the other modality."""
        del direction
        scale = 0.5 if self.halved else 1.0
        inter = inter_term(scale * (u @ target.other.T), target.similar, squared=self.squared).mean(1)  # (B, N) to (B,)
        if self.intra == 0:
            return inter
        intra = intra_term(scale * (u @ target.own.T), target.similar, squared=self.squared).mean(1)
        return inter + self.intra * intra


def distortion(x_adv: Tensor, x: Tensor) -> Tensor:
    """D of each item, `sqrt(mean (x_adv - x)^2)` over its own entries, `(B,)` in [0, 1].

    CMLA's code sums over a batch of texts and divides by the entries of one, which is too large by sqrt(128).
    """
    found: Tensor = torch.sqrt((x_adv - x).square().flatten(1).mean(1))
    return found
