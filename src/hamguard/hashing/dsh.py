"""DSH: deep supervised hashing with a contrastive margin.

Paper: H. Liu, R. Wang, S. Shan, X. Chen, "Deep Supervised Hashing for Fast Image Retrieval", CVPR 2016.
Code: the authors' Caffe layer and the port of DeepHash-pytorch (preset "code").

Deliberate differences:

* Pairs inside the batch without (i, i), as in the paper; the port compares with a memory of all training images.
* `u = z` as in paper and port. `relaxation="tanh"` and `balance=True` are there for comparison but lose: with tanh the hinge
  at 2 K is reached late and classes merge (Fashion-MNIST, 16 bits, 8 epochs: .49 against .59).
* The regularizer is the mean over elements of `| |u| - 1 |`, as in the port; the paper adds the sums of both images of a pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.core.types import Array
from hamguard.hashing.memory import PairSettings, fill_memory, new_memory, opponents, pair_mean
from hamguard.hashing.objective import Objective, similarity
from hamguard.hashing.registry import register


def pair_contrast(u: Tensor, other_u: Tensor, similar: Tensor, *, margin: float) -> Tensor:
    """Contrastive loss of each pair.

    Args:
        u: relaxed codes, `(B, K)`.
        other_u: relaxed codes of the other side, `(N, K)`.
        similar: `S` in {0, 1}, `(B, N)`; the paper's y is `1 - S`.
        margin: squared distance m beyond which dissimilar pairs cost nothing.

    Returns:
        `S D / 2 + (1 - S) max(m - D, 0) / 2` with `D = ||u_i - u_j||^2`, `(B, N)`.
    """
    squares = u.square().sum(1)[:, None] + other_u.square().sum(1)[None]  # (B, N)
    dist = (squares - 2 * u @ other_u.T).clamp(min=0)  # rounding can make a zero distance negative
    return (similar * dist + (1 - similar) * torch.relu(margin - dist)) / 2  # eq. (1)


def dsh(
    u: Tensor, labels: Tensor, other_u: Tensor, other_labels: Tensor,
    *, alpha: float, margin: float, balance: bool = False, skip_self: bool = False,
) -> Tensor:  # fmt: skip
    """DSH loss, eq. (4): contrast of the pairs and distance of the elements from -1 or +1.

    Args:
        u: relaxed codes of the batch, `(B, K)`.
        labels: their multi-hot labels, `(B, C)`.
        other_u: codes compared with, `(N, K)`.
        other_labels: their labels, `(N, C)`.
        alpha: weight of the regularizer.
        margin: m of the contrastive loss, a squared distance.
        balance: similar and dissimilar pairs count alike.
        skip_self: leave out the diagonal, for a batch compared with itself.

    Returns:
        A scalar.
    """
    similar = similarity(labels, other_labels)  # (B, N)
    contrast = pair_contrast(u, other_u, similar, margin=margin)
    fit = pair_mean(contrast, similar, balance=balance, skip_self=skip_self)
    return fit + alpha * (u.abs() - 1).abs().mean()  # eq. (4)


class DSHSettings(PairSettings):
    """Hyper-parameters of DSH."""

    balance: bool = Field(False, description="similar and dissimilar pairs count alike; the hinge works better without")
    alpha: float = Field(0.1, ge=0, description="weight of the regularizer (paper 0.01, DeepHash-pytorch 0.1)")
    margin_per_bit: float = Field(2.0, gt=0, description="margin m divided by the code length (paper: m = 2 K)")
    relaxation: Literal["tanh", "linear"] = Field(
        "linear", description="relaxed code: tanh of the output, or the output"
    )


@register("dsh")
class DSH(Objective):
    """DSH at work on one training set."""

    title = "DSH (Liu, Wang, Shan, Chen, CVPR 2016)"
    settings_type = DSHSettings
    settings: DSHSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "schedule": "one-cycle",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"pairs": "batch", "balance": False, "alpha": 0.01, "relaxation": "linear"},
        "code": {"pairs": "bank", "fill": False, "balance": False, "alpha": 0.1, "relaxation": "linear"},
    }

    def __init__(self, settings: DSHSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        if settings.pairs == "bank":
            self.state = new_memory(labels, bits)
        self.needs_start = settings.first_pass

    def _relax(self, logits: Tensor) -> Tensor:
        return relax(logits) if self.settings.relaxation == "tanh" else logits

    def start(self, logits: Tensor) -> None:
        """Fill the memory with the codes of a first pass."""
        if self.needs_start:
            fill_memory(self.state, self._relax(logits), self.labels)

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Eq. (4) of one batch; see `Objective.loss`."""
        s = self.settings
        u = self._relax(logits)
        other_u, other_labels = opponents(self.state, s.pairs, u, labels, index)
        return dsh(
            u,
            labels,
            other_u,
            other_labels,
            alpha=s.alpha,
            margin=s.margin_per_bit * self.bits,
            balance=s.balance,
            skip_self=s.pairs == "batch",
        )
