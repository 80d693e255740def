"""DPSH: deep pairwise-supervised hashing.

Paper: W.-J. Li, S. Wang, W.-C. Kang, "Feature Learning Based Deep Supervised Hashing with Pairwise Labels", IJCAI 2016.
Authors' code: MATLAB (MatConvNet); the ports of ProS-GAN and SAAT are what preset "code" follows, and presets "prosgan" and
"saat" train as they do, too (`hashing/published.py`).

Deliberate differences:

* `u = tanh(z)` as in the ports; the paper leaves the output linear (preset "paper").
* Pairs inside the batch, without (i, i), and balanced; paper and ports compare with a memory of all training images.
* `eta` weighs the mean over elements, so that it means the same for every batch, code length and training set. Paper and ports
  add sums, which is `eta_over="pairs"` here: sum over elements divided by the number of pairs.
* The logistic loss is `softplus(t) - s t`, which cannot overflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from hamguard.codes.binary import relax
from hamguard.core.types import Array
from hamguard.hashing.memory import Over, PairSettings, fill_memory, item_mean, new_memory, opponents, pair_mean
from hamguard.hashing.objective import Objective, similarity
from hamguard.hashing.published import PAIRS, TRAINING
from hamguard.hashing.registry import register


def pair_likelihood(u: Tensor, other_u: Tensor, similar: Tensor, scale: float = 0.5) -> Tensor:
    """Negative log likelihood of each pair.

    Args:
        u: relaxed codes, `(B, K)`.
        other_u: relaxed codes of the other side, `(N, K)`.
        similar: `S` in {0, 1}, `(B, N)`.
        scale: factor of the inner product.

    Returns:
        `softplus(theta) - S theta` with `theta = scale u_i . u_j`, `(B, N)`.
    """
    theta = scale * (u @ other_u.T)  # eq. (1), (B, N)
    return softplus(theta) - similar * theta  # eq. (2)


def dpsh(
    u: Tensor, labels: Tensor, other_u: Tensor, other_labels: Tensor,
    *, eta: float, balance: bool = False, skip_self: bool = False, eta_over: Over = "elements",
) -> Tensor:  # fmt: skip
    """DPSH loss, eq. (4) divided by the number of pairs.

    Args:
        u: relaxed codes of the batch, `(B, K)`.
        labels: their multi-hot labels, `(B, C)`.
        other_u: codes compared with, `(N, K)`.
        other_labels: their labels, `(N, C)`.
        eta: weight of the quantization term.
        balance: similar and dissimilar pairs count alike.
        skip_self: leave out the diagonal, for a batch compared with itself.
        eta_over: mean over elements, or the printed sum divided by the number of pairs.

    Returns:
        A scalar.
    """
    similar = similarity(labels, other_labels)  # (B, N)
    fit = pair_mean(pair_likelihood(u, other_u, similar), similar, balance=balance, skip_self=skip_self)
    return fit + eta * item_mean((1 - u.abs()).square(), over=eta_over, pairs=similar.numel())  # (sign(u) - u)^2


class DPSHSettings(PairSettings):
    """Hyper-parameters of DPSH."""

    eta: float = Field(
        0.1, ge=0, description="weight of the quantization term (paper 10 to 100 and ports 50, over pairs)"
    )
    eta_over: Over = Field("elements", description="mean over code elements, or printed sum divided by the pairs")
    relaxation: Literal["tanh", "linear"] = Field("tanh", description="relaxed code: tanh of the output, or the output")


@register("dpsh")
class DPSH(Objective):
    """DPSH at work on one training set."""

    title = "DPSH (Li, Wang, Kang, IJCAI 2016)"
    settings_type = DPSHSettings
    settings: DPSHSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 2e-3,
        "schedule": "one-cycle",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "pairs": "bank",
            "fill": False,
            "balance": False,
            "eta": 10.0,
            "eta_over": "pairs",
            "relaxation": "linear",
        },
        "code": {**PAIRS, "eta": 50.0, "eta_over": "pairs"},
        "prosgan": {**PAIRS, "eta": 50.0, "eta_over": "pairs"},
        "saat": {**PAIRS, "eta": 50.0, "eta_over": "pairs"},
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = TRAINING

    def __init__(self, settings: DPSHSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
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
        return dpsh(
            u,
            labels,
            other_u,
            other_labels,
            eta=s.eta,
            balance=s.balance,
            skip_self=s.pairs == "batch",
            eta_over=s.eta_over,
        )
