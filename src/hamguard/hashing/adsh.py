"""ADSH: asymmetric deep supervised hashing. The codes V of the training items are learned directly, bit by bit.

Paper: Q.-Y. Jiang, W.-J. Li, "Asymmetric Deep Supervised Hashing", AAAI 2018. Authors' code: jiangqy/ADSH-AAAI2018 (PyTorch),
preset "code".

Deliberate differences:

* V starts at `sign(z - median z)` of a first pass; paper and code start at zero, which often ends in constant codes.
* Negatives are `-r` (as the code) where the paper says -1. r = similar / dissimilar pairs is counted once over the training
  set (for n > 2,000 over a seeded sample of rows), in the code over each subset: the same up to sampling.
* The n x m similarity is never kept: for one-hot labels `S^T U` is a sum over classes, otherwise it is made in blocks.
* V is learned for the training set (10,000 images in our recipes), in the paper for the whole database.
* Images of the subset that no batch visited (a dropped last batch) take no part in the update of V.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax, sign
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.objective import Objective, Settings, similarity
from hamguard.hashing.registry import register

BLOCK = 1024  # items at a time where a block of the similarity has to be made


def negative_value(labels: Tensor, rows: Tensor) -> float:
    """R = similar / dissimilar pairs between `labels[rows]` and all `labels` `(n, C)`; not negative."""
    similar = sum((float(similarity(labels[part], labels).sum()) for part in torch.split(rows, BLOCK)), 0.0)
    return similar / max(len(rows) * len(labels) - similar, 1.0)


def similar_sum(u: Tensor, labels: Tensor, all_labels: Tensor) -> Tensor:
    """`S^T U` for S in {0, 1}: each item's sum of the codes that are similar to it.

    Args:
        u: relaxed codes of the subset, `(m, K)`.
        labels: their labels, `(m, C)`.
        all_labels: labels of all items, `(n, C)`.

    Returns:
        `(n, K)`, without an n x m matrix.
    """
    if bool((all_labels.sum(1) <= 1).all()):
        return all_labels @ (labels.T @ u)  # one class an item: sum over the classes, (n, C) @ (C, K)
    return torch.cat([similarity(part, labels) @ u for part in torch.split(all_labels, BLOCK)])


def adsh(
    u: Tensor, labels: Tensor, own_codes: Tensor, codes: Tensor, all_labels: Tensor, *, gamma: float, negative: float
) -> Tensor:
    """Loss of the network step, eq. (3) divided by the number of pairs.

    Args:
        u: relaxed codes of the batch, `(B, K)`.
        labels: their multi-hot labels, `(B, C)`.
        own_codes: V of the batch, `(B, K)`.
        codes: V of all items, `(n, K)` in {-1, +1}.
        all_labels: labels of all items, `(n, C)`.
        gamma: weight of the pull toward the own codes.
        negative: r; a dissimilar pair has S = -r (1 in the paper).

    Returns:
        A scalar.
    """
    similar = similarity(labels, all_labels) * (1 + negative) - negative  # S in {-r, 1}, (B, n)
    fit = (u @ codes.T - u.shape[1] * similar).square().sum()
    return (fit + gamma * (own_codes - u).square().sum()) / similar.numel()


def codes_step(
    codes: Tensor, u: Tensor, subset: Tensor, all_labels: Tensor, *, gamma: float, negative: float
) -> Tensor:
    """Update V bit by bit; each bit becomes the exact minimum of eq. (3), the others fixed.

    Args:
        codes: V, `(n, K)` in {-1, +1} (or zeros at the printed start).
        u: relaxed codes of the subset, `(m, K)`.
        subset: numbers of the items of the subset, `(m,)`.
        all_labels: labels of all items, `(n, C)`.
        gamma: weight of the pull toward `u`.
        negative: r; a dissimilar pair has S = -r.

    Returns:
        New codes, `(n, K)` in {-1, +1}.
    """
    codes = codes.clone()
    sims = (1 + negative) * similar_sum(u, all_labels[subset], all_labels) - negative * u.sum(0)  # S^T U, (n, K)
    own = torch.zeros_like(codes).index_copy(0, subset, u)  # U scattered into n rows
    linear = -2 * u.shape[1] * sims - 2 * gamma * own  # Q, (n, K)
    gram = u.T @ u  # (K, K)
    for bit in range(codes.shape[1]):
        rest = codes @ gram[:, bit] - codes[:, bit] * gram[bit, bit]  # V_-k U_-k^T U_k, (n,)
        codes[:, bit] = sign(-(linear[:, bit] + 2 * rest))  # eq. (10)
    return codes


class ADSHSettings(Settings):
    """Hyper-parameters of ADSH."""

    gamma: float = Field(200.0, ge=0, description="weight of the pull toward the own code (paper and code 200)")
    omega: int = Field(2000, ge=2, description="items drawn for an outer iteration (paper and code 2,000)")
    inner: int = Field(3, ge=1, description="epochs of an outer iteration (paper and code 3)")
    negatives: Literal["soft", "hard"] = Field("soft", description="dissimilar pairs aim at -r (code) or -1 (paper)")
    v_start: Literal["sign", "zero"] = Field("sign", description="start of V: sign(z - median z), or zero (printed)")


@register("adsh")
class ADSH(Objective):
    """ADSH at work on one training set: `codes` is V, `outputs` is U of the present subset (zero rows: not visited)."""

    title = "ADSH (Jiang, Li, AAAI 2018)"
    settings_type = ADSHSettings
    settings: ADSHSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 90,
        "optimizer": "adam",
        "lr": 2e-3,
        "schedule": "one-cycle",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"negatives": "hard", "v_start": "zero"},
        "code": {"negatives": "soft", "v_start": "zero"},
    }

    def __init__(self, settings: ADSHSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        self.needs_start = settings.v_start == "sign"
        self.state = {"codes": labels.new_zeros(len(labels), bits), "outputs": labels.new_zeros(len(labels), bits)}
        rows = torch.randperm(len(labels), generator=torch_generator(seed, "adsh", "r"))[:2000].to(labels.device)
        self.negative = negative_value(labels, rows) if settings.negatives == "soft" else 1.0

    def start(self, logits: Tensor) -> None:
        """Start V so that every bit splits the training set in halves."""
        if self.needs_start:
            self.state["codes"] = sign(logits - logits.median(dim=0).values)

    def select(self, epoch: int) -> Tensor | None:
        """Omega of the outer iteration that `epoch` belongs to, `(min(omega, n),)`."""
        outer = epoch // self.settings.inner
        order = torch.randperm(len(self.labels), generator=torch_generator(self.seed, "adsh", outer))
        return order[: self.settings.omega]

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Network step on one batch of Omega with V fixed; see `Objective.loss`."""
        u = relax(logits)
        index = index.to(u.device)
        self.labels = self.labels.to(u)
        codes, outputs = self.state["codes"].to(u), self.state["outputs"].to(u)
        self.state |= {"codes": codes, "outputs": outputs.index_copy(0, index, u.detach())}
        gamma = self.settings.gamma
        return adsh(u, labels, codes[index], codes, self.labels, gamma=gamma, negative=self.negative)

    def end_epoch(self, epoch: int) -> None:
        """Update V when the outer iteration ends."""
        if (epoch + 1) % self.settings.inner:
            return
        codes, outputs = self.state["codes"], self.state["outputs"]
        subset = outputs.abs().sum(1).nonzero().squeeze(1)  # (m,)
        if len(subset):
            labels, gamma = self.labels.to(outputs), self.settings.gamma
            codes = codes_step(codes, outputs[subset], subset, labels, gamma=gamma, negative=self.negative)
        self.state |= {"codes": codes, "outputs": torch.zeros_like(outputs)}

    def learned_codes(self) -> Tensor | None:
        """V, or None while it still stands at the printed zero start."""
        codes = self.state["codes"]
        return None if bool((codes == 0).any()) else codes
