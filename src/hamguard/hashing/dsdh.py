"""DSDH: deep supervised discrete hashing.

Paper: Q. Li, Z. Sun, R. He, T. Tan, "Deep Supervised Discrete Hashing", NeurIPS 2017. Code: the PyTorch version of TreezzZ
(preset "code").

`J = sum_ij [softplus(theta) - S theta] + mu ||Y - W^T B||^2 + nu ||W||^2 + eta ||B - U||^2` is lowered in
turns: the network over U by gradient, W in closed form, B bit by bit. All matrices stand here with one row an item: U, B (n, K),
Y (n, C), W (K, C).

Deliberate differences:

* The network is pulled toward B. The ports in DeepHash-pytorch and CgAT leave the quantization term out of the network's loss;
  as the classification term has no gradient to the network either, W and B then have no effect on what is learned.
* The discrete step needs `eta / mu` small enough: with the published values (1 to 55) it returns `sign(U)` for nearly every
  bit, because the classifier's part of eq. (14) is of the order 1 / C. The default gives both parts a say.
* In the network's loss `eta` weighs the mean over elements, so that it means the same for every batch, code length and training
  set; the paper adds sums, which is `eta_over="pairs"` here (preset "paper"): the sum over elements divided by the number of pairs.
  The discrete steps are those of the sums in either form.
* Before the first discrete step an item's code is the sign of its own output (the code starts from random codes).
* Pairs inside the batch, without (i, i), and balanced; `u = tanh(z)` as in the code.
* A head that learns alone (`freeze`) is pulled ten times as hard toward the discrete codes, in which labels weigh ten times as
  much, and learns at a higher rate. Chosen on validation parts of photos.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax, sign
from hamguard.core.types import Array
from hamguard.hashing.dpsh import pair_likelihood
from hamguard.hashing.memory import (
    Over,
    PairSettings,
    fill_memory,
    item_mean,
    new_memory,
    opponents,
    pair_mean,
    remember,
)
from hamguard.hashing.objective import Objective, similarity
from hamguard.hashing.registry import register


def discrete_objective(
    codes: Tensor, classifier: Tensor, u: Tensor, labels: Tensor, *, mu: float, nu: float, eta: float
) -> Tensor:
    """The part of J that the discrete steps lower: `mu ||Y - B W||^2 + nu ||W||^2 + eta ||B - U||^2`, a scalar."""
    fit = (labels - codes @ classifier).square().sum()
    return mu * fit + nu * classifier.square().sum() + eta * (codes - u).square().sum()


def classifier_step(codes: Tensor, labels: Tensor, *, ridge: float) -> Tensor:
    """Ridge regression of the labels on the codes: `W = (B^T B + ridge I)^-1 B^T Y`, `(K, C)`; `ridge` is nu / mu."""
    gram = codes.T @ codes + ridge * torch.eye(codes.shape[1], dtype=codes.dtype, device=codes.device)  # (K, K)
    solution: Tensor = torch.linalg.solve(gram, codes.T @ labels)  # eq. (11)
    return solution


def cyclic_step(codes: Tensor, classifier: Tensor, u: Tensor, labels: Tensor, *, pull: float) -> Tensor:
    """One sweep of discrete cyclic coordinate descent: each bit in turn becomes the exact minimum, the others fixed.

    Args:
        codes: B, `(n, K)` in {-1, +1}.
        classifier: W, `(K, C)`.
        u: relaxed codes, `(n, K)`.
        labels: Y, `(n, C)`.
        pull: eta / mu.

    Returns:
        New codes, `(n, K)`; a tie (both values cost the same) is +1.
    """
    codes = codes.clone()
    linear = labels @ classifier.T + pull * u  # P, (n, K)
    gram = classifier @ classifier.T  # (K, K)
    for bit in range(codes.shape[1]):
        rest = codes @ gram[:, bit] - codes[:, bit] * gram[bit, bit]  # the other bits' share of w_i . (B W), (n,)
        codes[:, bit] = sign(linear[:, bit] - rest)  # eq. (14)
    return codes


def dsdh(
    u: Tensor, labels: Tensor, other_u: Tensor, other_labels: Tensor, codes: Tensor,
    *, eta: float, balance: bool = False, skip_self: bool = False, eta_over: Over = "elements",
) -> Tensor:  # fmt: skip
    """Loss of the network step: the pair likelihood and `eta (B - U)^2` of J, divided by the number of pairs.

    Args:
        u: relaxed codes of the batch, `(B, K)`.
        labels: their multi-hot labels, `(B, C)`.
        other_u: codes compared with, `(N, K)`.
        other_labels: their labels, `(N, C)`.
        codes: the discrete codes of the batch, `(B, K)` in {-1, +1}.
        eta: weight of the pull toward the discrete codes.
        balance: similar and dissimilar pairs count alike.
        skip_self: leave out the diagonal, for a batch compared with itself.
        eta_over: mean of the pull over elements, or the printed sum divided by the number of pairs.

    Returns:
        A scalar.
    """
    similar = similarity(labels, other_labels)  # (B, N)
    fit = pair_mean(pair_likelihood(u, other_u, similar), similar, balance=balance, skip_self=skip_self)
    return fit + eta * item_mean((codes - u).square(), over=eta_over, pairs=similar.numel())


class DSDHSettings(PairSettings):
    """Hyper-parameters of DSDH."""

    later = ("eta_over",)

    mu: float = Field(10.0, gt=0, description="weight of the classification term (paper 1, code 0.01)")
    nu: float = Field(0.1, gt=0, description="weight of the classifier's norm (paper 0.1, code 1)")
    eta: float = Field(
        0.1, ge=0, description="weight of the pull toward the discrete codes (paper 55, over pairs; code 0.01)"
    )
    eta_over: Over = Field("elements", description="mean over code elements, or printed sum divided by the pairs")
    sweeps: int = Field(3, ge=1, description="discrete sweeps over all bits at the end of an epoch")


@register("dsdh")
class DSDH(Objective):
    """DSDH at work on one training set: `codes` is B (zero rows are not set yet), `classifier` is W, `memory` is U."""

    title = "DSDH (Li, Sun, He, Tan, NeurIPS 2017)"
    settings_type = DSDHSettings
    settings: DSDHSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 1e-3,
        "schedule": "one-cycle",
    }
    frozen: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "settings": {"mu": 100.0, "eta": 1.0},
        "training": {"lr": 5e-3},
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "pairs": "bank",
            "fill": False,
            "balance": False,
            "mu": 1.0,
            "nu": 0.1,
            "eta": 55.0,
            "eta_over": "pairs",
        },
        "code": {"pairs": "bank", "fill": False, "balance": False, "mu": 0.01, "nu": 1.0, "eta": 0.01, "sweeps": 1},
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {
            "epochs": 150,
            "batch_size": 128,
            "optimizer": "rmsprop",
            "lr": 1e-5,
            "weight_decay": 1e-5,
            "schedule": "cosine",
        },
    }

    def __init__(self, settings: DSDHSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        self.state = {
            **new_memory(labels, bits),
            "codes": labels.new_zeros(len(labels), bits),
            "classifier": labels.new_zeros(bits, labels.shape[1]),
        }
        self.needs_start = settings.first_pass

    def start(self, logits: Tensor) -> None:
        """Fill the memory with the codes of a first pass."""
        if self.needs_start:
            fill_memory(self.state, relax(logits), self.labels)

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Network step on one batch; see `Objective.loss`."""
        s = self.settings
        u = relax(logits)
        other_u, other_labels = opponents(self.state, s.pairs, u, labels, index)
        if s.pairs == "batch":
            remember(self.state, u, labels, index)  # the discrete steps need U
        codes = self.state["codes"][index.to(self.state["codes"].device)].to(u)
        codes = torch.where(codes == 0, torch.where(u < 0, -1.0, 1.0).to(u), codes)
        return dsdh(
            u,
            labels,
            other_u,
            other_labels,
            codes,
            eta=s.eta,
            balance=s.balance,
            skip_self=s.pairs == "batch",
            eta_over=s.eta_over,
        )

    def end_epoch(self, epoch: int) -> None:
        """Discrete steps: W in closed form, then B bit by bit."""
        s = self.settings
        u = self.state["memory"]
        labels = self.labels.to(u)
        codes = self.state["codes"].to(u)
        codes = torch.where(codes == 0, sign(u), codes)
        classifier = classifier_step(codes, labels, ridge=s.nu / s.mu)
        for _ in range(s.sweeps):
            codes = cyclic_step(codes, classifier, u, labels, pull=s.eta / s.mu)
        self.state |= {"codes": codes, "classifier": classifier}
