"""DPH: deep pairwise hashing with a squared loss.

Paper: victim model of E. Yang, T. Liu, C. Deng, D. Tao, "Adversarial Examples for Hamming Space Search", IEEE Transactions on
Cybernetics 50(4), 2020. Code: the ports in the code bases of ProS-GAN, THA and SAAT (preset "code"); presets "prosgan" and
"saat" train as these two do, too (`hashing/published.py`).

Deliberate differences:

* Pairs inside the batch, without (i, i), and balanced; the ports compare with a memory of all training images that starts at zero.
* An optional quantization term `eta mean (1 - |u|)^2`. The source has none, because its pairs (i, i) play that part
  (`(|u|^2 / K - 1)^2` vanishes on codes only); they are left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.core.types import Array
from hamguard.hashing.memory import PairSettings, fill_memory, new_memory, opponents, pair_mean
from hamguard.hashing.objective import Objective, similarity
from hamguard.hashing.published import PAIRS, TRAINING
from hamguard.hashing.registry import register


def pair_square(u: Tensor, other_u: Tensor, similar: Tensor) -> Tensor:
    """Squared error of each pair's normalized inner product.

    Args:
        u: relaxed codes, `(B, K)`.
        other_u: relaxed codes of the other side, `(N, K)`.
        similar: `S` in {0, 1}, `(B, N)`; the loss uses the signed form, +1 and -1.

    Returns:
        `(u_i . u_j / K - S_ij)^2`, `(B, N)`.
    """
    inner = u @ other_u.T / u.shape[1]  # (B, N)
    return (inner - (2 * similar - 1)).square()


def dph(
    u: Tensor,
    labels: Tensor,
    other_u: Tensor,
    other_labels: Tensor,
    *,
    eta: float = 0.0,
    balance: bool = False,
    skip_self: bool = False,
) -> Tensor:
    """DPH loss: mean over pairs of the squared error.

    Args:
        u: relaxed codes of the batch, `(B, K)`.
        labels: their multi-hot labels, `(B, C)`.
        other_u: codes compared with, `(N, K)`.
        other_labels: their labels, `(N, C)`.
        eta: weight of the quantization term (ours; 0 in the source).
        balance: similar and dissimilar pairs count alike.
        skip_self: leave out the diagonal, for a batch compared with itself.

    Returns:
        A scalar.
    """
    similar = similarity(labels, other_labels)  # (B, N)
    fit = pair_mean(pair_square(u, other_u, similar), similar, balance=balance, skip_self=skip_self)
    return fit + eta * (1 - u.abs()).square().mean()


class DPHSettings(PairSettings):
    """Hyper-parameters of DPH."""

    eta: float = Field(0.1, ge=0, description="weight of a quantization term; the source has none (0)")


@register("dph")
class DPH(Objective):
    """DPH at work on one training set."""

    title = "DPH (Yang, Liu, Deng, Tao, IEEE TCYB 2020)"
    settings_type = DPHSettings
    settings: DPHSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "schedule": "one-cycle",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {**PAIRS, "eta": 0.0},
        "prosgan": {**PAIRS, "eta": 0.0},
        "saat": {**PAIRS, "eta": 0.0},
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = TRAINING

    def __init__(self, settings: DPHSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        if settings.pairs == "bank":
            self.state = new_memory(labels, bits)
        self.needs_start = settings.first_pass

    def start(self, logits: Tensor) -> None:
        """Fill the memory with the codes of a first pass."""
        if self.needs_start:
            fill_memory(self.state, relax(logits), self.labels)

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Loss of one batch; see `Objective.loss`."""
        s = self.settings
        u = relax(logits)
        other_u, other_labels = opponents(self.state, s.pairs, u, labels, index)
        return dph(u, labels, other_u, other_labels, eta=s.eta, balance=s.balance, skip_self=s.pairs == "batch")
