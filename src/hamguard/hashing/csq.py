"""CSQ: central similarity quantization. Every class has a fixed code, far from the others, and images approach it.

Paper: L. Yuan, T. Wang, X. Zhang, F. E. H. Tay, Z. Jie, W. Liu, J. Feng, "Central Similarity Quantization for Efficient Image and
Video Retrieval", CVPR 2020. Authors' code: yuanli2333/Hadamard-Matrix-for-hashing.

Deliberate differences:

* Where 20 draws of random centers do not meet the distances asked for, the best draw (greatest least distance, then
  greatest mean) is taken; the code keeps the last.
* Balanced codes of an odd length have one -1 less than +1.
* The vector that fills ties of multi-label targets is in {-1, +1}; the ports draw it in {0, 1}.
* Images without any label have no target and do not count.
* `BCE((u + 1) / 2)` with `u = tanh(z)` is computed from `2 z`, the logit of `(u + 1) / 2`, which cannot overflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hamguard.codes.binary import relax
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import register

DRAWS = 20


def hadamard(bits: int) -> Tensor:
    """Hadamard matrix by Sylvester's doubling, `(bits, bits)` in {-1, +1}; `bits` is a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < bits:
        top = torch.cat([matrix, matrix], dim=1)
        matrix = torch.cat([top, torch.cat([matrix, -matrix], dim=1)])
    return matrix


def center_distances(centers: Tensor) -> tuple[float, float]:
    """Least and mean Hamming distance between two of the centers `(C, K)`, C at least 2."""
    pairs = torch.triu_indices(len(centers), len(centers), offset=1)
    dist = (centers.shape[1] - (centers @ centers.T)[pairs[0], pairs[1]]) / 2
    return float(dist.min()), float(dist.mean())


def hash_centers(classes: int, bits: int, generator: torch.Generator) -> Tensor:
    """One center a class: rows of a Hadamard matrix and their negatives, the rest random balanced codes.

    Args:
        classes: number of classes C, at least 1.
        bits: code length K, at least 1.
        generator: draws the random codes.

    Returns:
        `(C, K)` in {-1, +1}. All Hadamard where K is a power of two and C <= 2 K.
    """
    fixed = torch.empty(0, bits)
    if bits & (bits - 1) == 0:
        rows = hadamard(bits)
        fixed = torch.cat([rows, -rows])[:classes]  # Algorithm 1
    best, best_dist = fixed, (-1.0, -1.0)
    for _ in range(DRAWS if len(fixed) < classes else 0):
        order = torch.rand(classes - len(fixed), bits, generator=generator).argsort(dim=1)
        centers = torch.cat([fixed, torch.where(order < bits // 2, -1.0, 1.0)])
        dist = center_distances(centers) if classes > 1 else (float(bits), float(bits))
        if dist > best_dist:
            best, best_dist = centers, dist
        if dist[0] > bits / 4 and dist[1] >= bits / 2:
            return centers
    return best


def center_targets(labels: Tensor, centers: Tensor, fill: Tensor) -> Tensor:
    """Target codes: sign of the sum of the centers of an image's classes, ties from `fill`.

    Args:
        labels: multi-hot labels, `(B, C)`.
        centers: `(C, K)` in {-1, +1}.
        fill: `(K,)` in {-1, +1}.

    Returns:
        `(B, K)` in {-1, +1}.
    """
    total = labels @ centers  # (B, K)
    return torch.where(total == 0, fill, total.sign())


def csq(logits: Tensor, targets: Tensor, counted: Tensor, *, lam: float) -> Tensor:
    """CSQ loss: cross entropy to the centers (eq. 4) and quantization (eq. 5).

    Args:
        logits: network outputs z, `(B, K)`; the relaxed code is `tanh(z)`.
        targets: `(B, K)` in {-1, +1}.
        counted: 1 for images that have a target, else 0, `(B,)`.
        lam: weight of the quantization term.

    Returns:
        A scalar; zero where no image counts.
    """
    central = binary_cross_entropy_with_logits(2 * logits, (targets + 1) / 2, reduction="none")  # eq. (4), (B, K)
    quantized = (relax(logits).abs() - 1).square()  # eq. (5), (B, K)
    return ((central + lam * quantized).mean(1) * counted).sum() / counted.sum().clamp(min=1)


class CSQSettings(Settings):
    """Hyper-parameters of CSQ."""

    lam: float = Field(1e-4, ge=0, description="weight of the quantization term (authors 1e-4, SAAT 0.05)")


@register("csq")
class CSQ(Objective):
    """CSQ at work on one training set: the state holds the centers and the vector that fills ties."""

    title = "CSQ (Yuan et al., CVPR 2020)"
    settings_type = CSQSettings
    settings: CSQSettings
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 2e-3,
        "schedule": "one-cycle",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"saat": {"lam": 0.05}}

    def __init__(self, settings: CSQSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        centers = hash_centers(labels.shape[1], bits, torch_generator(seed, "csq", "centers"))
        coins = torch.randint(2, (bits,), generator=torch_generator(seed, "csq", "fill"))
        self.state = {"centers": centers.to(labels), "fill": (2 * coins - 1).to(labels)}

    def class_codes(self) -> Tensor:
        """The codes of the classes."""
        return self.state["centers"]

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Loss of one batch; see `Objective.loss`."""
        targets = center_targets(labels.to(logits), self.state["centers"].to(logits), self.state["fill"].to(logits))
        counted = (labels.sum(1) > 0).to(logits)  # (B,)
        return csq(logits, targets, counted, lam=self.settings.lam)
