"""HashNet: deep learning to hash by continuation.

Paper: Z. Cao, M. Long, J. Wang, P. S. Yu, "HashNet: Deep Learning to Hash by Continuation", ICCV 2017.
Authors' code: thuml/HashNet (PyTorch), preset "code". DeepHash-pytorch's staircase is `continuation="staircase"`. Presets "prosgan"
and "saat" are the ports of these two code bases with their training (`hashing/published.py`); at rest ProS-GAN's port keeps its
last beta and SAAT's takes 1, which changes gradients, not codes: ours takes 1.

Deliberate differences:

* `continuation="scaled"` (default) runs the authors' schedule from 1 to its final `beta = sqrt(51)` over the run, however
  long it is; theirs counts iterations and reaches that value after 10,000 of them (`"iterations"`).
* Pairs inside one batch, without (i, i); the authors draw two independent batches, which has no (i, i) either.
* A batch without similar (or without dissimilar) pairs has weight zero for that kind instead of a division by zero.
* The weights `|S| / |S1|` and `|S| / |S0|` are counted in the batch; the paper counts them over the training set, the authors'
  code multiplies similar pairs by a constant of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from hamguard.codes.binary import relax
from hamguard.core.types import Array
from hamguard.hashing.memory import PairSettings, fill_memory, new_memory, opponents, pair_mean
from hamguard.hashing.objective import Objective, similarity
from hamguard.hashing.published import TRAINING
from hamguard.hashing.registry import register

Continuation = Literal["scaled", "iterations", "staircase", "none"]


def hashnet(
    u: Tensor,
    labels: Tensor,
    other_u: Tensor,
    other_labels: Tensor,
    *,
    slope: float,
    balance: bool = True,
    skip_self: bool = False,
) -> Tensor:
    """Weighted maximum likelihood, eq. (4).

    Args:
        u: relaxed codes of the batch, `(B, K)`.
        labels: their multi-hot labels, `(B, C)`.
        other_u: codes compared with, `(N, K)`.
        other_labels: their labels, `(N, C)`.
        slope: a of the adaptive sigmoid `1 / (1 + exp(-a u_i . u_j))`.
        balance: the paper's weights `|S| / |S1|` and `|S| / |S0|`, eq. (2); without it every pair weighs 1.
        skip_self: leave out the diagonal, for a batch compared with itself.

    Returns:
        A scalar.
    """
    similar = similarity(labels, other_labels)  # (B, N)
    inner = slope * (u @ other_u.T)  # (B, N)
    term = softplus(inner) - similar * inner  # eq. (4)
    # Balanced weights have mean one, those of eq. (2) mean two.
    return (2 if balance else 1) * pair_mean(term, similar, balance=balance, skip_self=skip_self)


def continuation_beta(kind: Continuation, *, iteration: int, epoch: int, progress: float) -> float:
    """Slope beta of `u = tanh(beta z)`, at least 1.

    Args:
        kind: "scaled" over the run; "iterations", the authors' code; "staircase", DeepHash-pytorch; "none".
        iteration: batches seen so far.
        epoch: epochs finished so far.
        progress: share of the run that is done, in [0, 1).
    """
    if kind == "scaled":
        return float((1 + 50 * progress) ** 0.5)  # 50 = 0.005 x 10,000 iterations of the authors' code
    if kind == "iterations":
        return float((1 + 0.005 * (iteration // 200 * 200)) ** 0.5)  # changes every 200 iterations
    return float((epoch // 20 + 1) ** 0.5) if kind == "staircase" else 1.0


class HashNetSettings(PairSettings):
    """Hyper-parameters of HashNet."""

    slope: float | None = Field(None, gt=0, description="sigmoid slope a; 10 / bits if not given (authors' code)")
    continuation: Continuation = Field("scaled", description="how beta of tanh(beta z) grows")


@register("hashnet")
class HashNet(Objective):
    """HashNet at work on one training set; the state counts iterations and epochs so that beta resumes exactly."""

    title = "HashNet (Cao, Long, Wang, Yu, ICCV 2017)"
    settings_type = HashNetSettings
    settings: HashNetSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "schedule": "one-cycle",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"continuation": "iterations"},
        "deephash": {"continuation": "staircase", "slope": 0.1, "pairs": "bank", "fill": False},
        "prosgan": {"continuation": "iterations", "slope": 0.1, "pairs": "bank", "fill": False},
        "saat": {"continuation": "iterations", "pairs": "bank", "fill": False},
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = TRAINING

    def __init__(self, settings: HashNetSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        self.state = {"iteration": torch.zeros((), dtype=torch.int64), "epoch": torch.zeros((), dtype=torch.int64)}
        if settings.pairs == "bank":
            self.state |= new_memory(labels, bits)
        self.needs_start = settings.first_pass

    def start(self, logits: Tensor) -> None:
        """Fill the memory with the codes of a first pass (beta is 1 there)."""
        if self.needs_start:
            fill_memory(self.state, relax(logits), self.labels)

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Eq. (4) of one batch at the present beta; see `Objective.loss`."""
        s = self.settings
        beta = continuation_beta(
            s.continuation, iteration=int(self.state["iteration"]), epoch=int(self.state["epoch"]), progress=progress
        )
        self.state["iteration"] = self.state["iteration"] + 1
        u = relax(logits, beta)
        other_u, other_labels = opponents(self.state, s.pairs, u, labels, index)
        slope = 10 / self.bits if s.slope is None else s.slope
        return hashnet(u, labels, other_u, other_labels, slope=slope, balance=s.balance, skip_self=s.pairs == "batch")

    def end_epoch(self, epoch: int) -> None:
        """Count the epoch."""
        self.state["epoch"] = torch.tensor(epoch + 1, dtype=torch.int64)
