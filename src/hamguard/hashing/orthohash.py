"""OrthoHash: one loss. The cosine between an image's output and its class's fixed +-1 code is the score of a softmax with a margin.

Paper: J. T. Hoe, K. W. Ng, T. Zhang, C. S. Chan, Y.-Z. Song, T. Xiang, "One Loss for All: Deep Hashing with a Single Cosine
Similarity based Learning Objective", NeurIPS 2021. Authors' code: kamwoh/orthohash, preset "code", and CISiPLab/cisip-FIRe,
presets "fire" (OrthoCos) and "fire-arc" (OrthoArc). Equations are named in words: they come from the code, not from a printed copy.

A batch norm stands between head and code while the network learns, which balances the bits; in the end it is folded into the head,
and the trained model is an ordinary one. A defense that trains on begins from the folded head and keeps it.

Deliberate differences:

* The head has a bias, which the norm takes away again; the authors' has none.
* The angle with its margin is `cos t cos m - sin t sin m` with a least sine of 3e-5 instead of an arc cosine of clamped cosines,
  and only the own classes go that way; the others keep their cosine.
* Left out: the authors' quantization terms and their two other losses for several labels, all off in their defaults, and their
  third way of drawing targets, by rejecting near ones.
* Presets: the rate stays; theirs falls tenfold for the last fifth ("code"). Random crops are left out.
* Images without any label have no target and do not count.
* A head that learns alone (`freeze`) takes Hadamard's targets, half the scale, a higher rate, and views of features: on features
  that stay what they are it learns the training pictures by heart, and views keep it from that. Chosen on validation parts of
  photos.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.dpn import Targets, class_targets
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import register

Form = Literal["cosine", "arc"]
LEAST = 1e-9  # of a squared sine: its root has no slope at zero
SHORT = 1e-6  # length below which an output has no direction


def code_cosine(v: Tensor, centers: Tensor) -> Tensor:
    """Cosine between outputs `(B, K)` and codes of classes `(C, K)` in {-1, +1}, `(B, C)`; zero for an output that is zero."""
    return normalize(v, dim=1, eps=SHORT) @ centers.T / math.sqrt(v.shape[1])


def with_margin(cosine: Tensor, labels: Tensor, *, form: Form, margin: float) -> Tensor:
    """Cosines that are made harder where the label is true: `cos t - m` (CosFace) or `cos(t + m)` (ArcFace).

    Args:
        cosine: `(B, C)` in [-1, 1].
        labels: multi-hot labels, `(B, C)`.
        form: which of the two.
        margin: m; of "arc" in radians.

    Returns:
        `(B, C)`.
    """
    if form == "cosine":
        return cosine - margin * labels
    sine = (1 - cosine.square()).clamp(min=LEAST).sqrt()  # t is in [0, pi]
    return cosine + labels * (cosine * (math.cos(margin) - 1) - sine * math.sin(margin))


def shared_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross entropy whose target mass an image's labels share, mean over the images with a label.

    Args:
        scores: `(B, C)`.
        labels: multi-hot labels, `(B, C)`.

    Returns:
        A scalar; zero where no image has a label.
    """
    count = labels.sum(1, keepdim=True)  # (B, 1)
    each = -(labels / count.clamp(min=1) * scores.log_softmax(dim=1)).sum(1)  # (B,)
    return each.sum() / (count > 0).sum().clamp(min=1)


def orthohash(v: Tensor, labels: Tensor, centers: Tensor, *, form: Form, margin: float, scale: float) -> Tensor:
    """OrthoHash's loss: cross entropy of scaled cosines with a margin.

    Args:
        v: network outputs, `(B, K)`.
        labels: multi-hot labels, `(B, C)`.
        centers: codes of the classes, `(C, K)` in {-1, +1}.
        form: of the margin.
        margin: m.
        scale: s, what the cosines are multiplied with.

    Returns:
        A scalar.
    """
    cosine = with_margin(code_cosine(v, centers), labels, form=form, margin=margin)  # (B, C)
    return shared_cross_entropy(scale * cosine, labels)


class OrthoHashSettings(Settings):
    """Hyper-parameters of OrthoHash."""

    form: Form = Field("cosine", description="margin on the cosine (OrthoCos) or on the angle (OrthoArc)")
    margin: float = Field(0.2, ge=0, le=1.5, description="margin of the true class (code 0.2, for CIFAR-10 0.3)")
    scale: float = Field(8.0, gt=0, description="factor of the cosines (code 8)")
    targets: Targets = Field("random", description="codes of classes: random or balanced bits, or rows of Hadamard's")
    batch_norm: bool = Field(True, description="batch norm between head and code, folded into the head in the end")


@register("orthohash")
class OrthoHash(Objective):
    """OrthoHash at work on one training set: the state holds the codes of the classes."""

    title = "OrthoHash (Hoe, Ng, Zhang, Chan, Song, Xiang, NeurIPS 2021)"
    settings_type = OrthoHashSettings
    settings: OrthoHashSettings
    training: ClassVar[Mapping[str, Any]] = {"epochs": 20, "optimizer": "adam", "lr": 2e-3, "schedule": "one-cycle"}
    frozen: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "settings": {"targets": "hadamard", "scale": 4.0},
        "training": {"lr": 5e-3, "augment": "drop"},
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"targets": "random"},
        "fire": {"targets": "random"},
        "fire-arc": {"targets": "random", "form": "arc"},
    }
    _code: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "batch_size": 256,
        "optimizer": "adam",
        "lr": 1e-4,
        "weight_decay": 5e-4,
        "schedule": "constant",
        "augment": "flip",
    }
    _fire: ClassVar[Mapping[str, Any]] = {**_code, "batch_size": 64, "lr": 1e-5, "head_lr_factor": 10.0}
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {"code": _code, "fire": _fire, "fire-arc": _fire}

    def __init__(self, settings: OrthoHashSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        centers = class_targets(settings.targets, labels.shape[1], bits, torch_generator(seed, "orthohash", "targets"))
        self.state = {"centers": centers.to(labels)}
        self.batch_norm = settings.batch_norm

    def class_codes(self) -> Tensor:
        """The codes of the classes."""
        return self.state["centers"]

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Loss of one batch; see `Objective.loss`."""
        s, centers = self.settings, self.state["centers"].to(logits)
        return orthohash(logits, labels.to(logits), centers, form=s.form, margin=s.margin, scale=s.scale)
