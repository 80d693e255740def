"""GreedyHash: the sign itself stands in the network. A classifier learns from codes; its gradient goes straight through the sign.

Paper: S. Su, C. Zhang, K. Han, Y. Tian, "Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN", NeurIPS 2018.
Authors' code: ssppp/GreedyHash (`cifar1.py`, `imagenet.py`), presets "code" and "code-imagenet". Also read: the ports of
swuxyj/DeepHash-pytorch and CISiPLab/cisip-FIRe. Equations are named in words: they come from the code, not from a printed copy.

The trained model is an ordinary network with a linear head: its outputs are real, and an attack has its gradients. Who puts the
sign at the end of the network, as in training, masks them: every output then has slope zero, a plain attack stands still, and the
audit's check `zero-gradients` says so (`tests/hashing/test_greedyhash.py`).

Deliberate differences:

* The labels of an image share the target mass of the softmax, as in OrthoHash; the authors have one label an image,
  cisip-FIRe takes a sigmoid for each class, DeepHash-pytorch the first label.
* The sign of zero is +1, theirs 0. Images without any label count for the penalty alone.
* Presets: the rate falls at a half and at three quarters of the run; theirs once, after 30 of 50 epochs (CIFAR-10) and after 80 of
  100 (ImageNet). Random crops are left out.
* The classifier is trained at the rate of the head; DeepHash-pytorch's is never given to its optimizer. It is no part of the
  trained model: a defense that trains on begins with a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from hamguard.codes.binary import straight_sign
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.orthohash import shared_cross_entropy
from hamguard.hashing.registry import register


def greedyhash(v: Tensor, labels: Tensor, classifier: Tensor, *, alpha: float) -> Tensor:
    """GreedyHash's loss: cross entropy of classes read from codes, and the cubic distance of outputs from -1 and +1.

    Args:
        v: network outputs, `(B, K)`.
        labels: multi-hot labels, `(B, C)`.
        classifier: its weights, `(C, K)`; it has no bias.
        alpha: weight of the penalty.

    Returns:
        A scalar.
    """
    scores = straight_sign(v) @ classifier.T  # forward sign(v), backward the gradient to the code, (B, C)
    penalty = (v.abs() - 1).abs().pow(3).mean()  # |h - sgn(h)|_3^3 a bit
    return shared_cross_entropy(scores, labels) + alpha * penalty


class GreedyHashSettings(Settings):
    """Hyper-parameters of GreedyHash."""

    alpha: float = Field(0.1, ge=0, description="weight of the penalty (code 0.1 for CIFAR-10, 1 for ImageNet)")


@register("greedyhash")
class GreedyHash(Objective):
    """GreedyHash at work on one training set: the state holds the classifier, which the optimizer trains."""

    title = "GreedyHash (Su, Zhang, Han, Tian, NeurIPS 2018)"
    settings_type = GreedyHashSettings
    settings: GreedyHashSettings
    training: ClassVar[Mapping[str, Any]] = {"epochs": 20, "optimizer": "adam", "lr": 2e-3, "schedule": "one-cycle"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"code": {"alpha": 0.1}, "code-imagenet": {"alpha": 1.0}}
    _code: ClassVar[Mapping[str, Any]] = {
        "epochs": 50,
        "batch_size": 32,
        "optimizer": "sgd",
        "lr": 1e-3,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "late-step",
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": _code,
        "code-imagenet": {**_code, "epochs": 100, "augment": "flip"},
    }

    def __init__(self, settings: GreedyHashSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        draws = torch.rand(self.labels.shape[1], bits, generator=torch_generator(seed, "greedyhash", "classifier"))
        weights = (2 * draws - 1) / bits**0.5  # framework default of nn.Linear, (C, K)
        self.state = {"classifier": nn.Parameter(weights.to(self.labels))}

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Loss of one batch; see `Objective.loss`."""
        classifier = self.state["classifier"].to(logits)
        return greedyhash(logits, labels.to(logits), classifier, alpha=self.settings.alpha)
