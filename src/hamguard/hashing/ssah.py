"""SSAH: self-supervised adversarial hashing for cross-modal retrieval.

Paper: C. Li, C. Deng, N. Li, W. Liu, X. Gao, D. Tao, "Self-Supervised Adversarial Hashing Networks for Cross-Modal Retrieval",
CVPR 2018; code lelan-li/SSAH, and another version inside ChaoLi1991/CMLA.

A label net learns codes and features of the labels; image net and text net follow them, and two discriminators, one a modality, are
to be misled about whether features come from labels. For each net `*` of label, image, text:

`alpha J_feature + gamma J_hash + beta J_quantization + eta J_label (+ delta J_adversary)`   eq. (7), (8)

with J_hash and J_feature the pair likelihood against the label net, J_quantization = ||b - h||^2, J_label = ||l - l'||^2.

Deliberate differences:

* The likelihood is the paper's; the authors' code has the squared difference `0.5 (S theta - log(1 + e^theta))^2`.
* All nets take one step on every batch, each with the others' outputs fixed, instead of 10, 15, 15 and 1 passes in turn.
  Both discriminators learn in every step; in CMLA's code the text discriminator never does, because both lists of variables
  name the image's.
* The inner product of features is scaled by K / F, so that features and codes saturate alike; unscaled, 512 features drown the
  codes.
* Image net and text net are compared with each other, too (weight `cross`), as in CMLA's version; 0 leaves that out.
* Terms are means over pairs and elements; `delta` is small and similar and dissimilar pairs weigh alike. The paper adds sums, which
  is `over="pairs"` here (preset "paper"): sums divided by the n^2 pairs of the training set, of which a batch shows B^2. Beside the
  means, the printed beta then weighs K / n, eta C / n and the adversary 1 / n as much.
* Preset "paper" is trained as CMLA's code trains it: Adam, 10 epochs of batches of 128, rate 1e-4 for the image net, 1e-2 for the
  others; SSAH's own code runs up to 500 rounds of inner passes with rates from 10^-4.5 to 10^-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hamguard.hashing.cross_modal import cross_likelihood
from hamguard.hashing.memory import Over
from hamguard.hashing.objective import CrossSettings, similarity
from hamguard.hashing.registry import register_cross


def ssah(
    h: Tensor, f: Tensor, label_logits: Tensor, labels: Tensor, guide: tuple[Tensor, Tensor],
    *, alpha: float, gamma: float, beta: float, eta: float, balance: bool = False,
) -> Tensor:  # fmt: skip
    """Eq. (7) of one net on a batch, in means.

    Args:
        h: its relaxed codes, `(B, K)` in (-1, 1), with gradient.
        f: its features, `(B, F)`.
        label_logits: its label predictions before the sigmoid, `(B, C)`.
        labels: the labels, `(B, C)` in {0, 1}.
        guide: relaxed codes and features of the label net, `(B, K)` and `(B, F)`; its own for the label net itself.
        alpha: weight of the feature pairs.
        gamma: weight of the code pairs.
        beta: weight of the quantization.
        eta: weight of the label error.
        balance: similar and dissimilar pairs weigh alike.

    Returns:
        A scalar.
    """
    similar = similarity(labels, labels)  # S, (B, B)
    guide_h, guide_f = guide
    hash_pairs = cross_likelihood(h, guide_h, similar, balance=balance)
    feature_pairs = cross_likelihood(f, guide_f, similar, balance=balance, scale=0.5 * h.shape[1] / f.shape[1])
    label_error = (labels - torch.sigmoid(label_logits)).square().mean()
    return alpha * feature_pairs + gamma * hash_pairs + beta * (1 - h.abs()).square().mean() + eta * label_error


def discriminate(from_labels: Tensor, from_modality: Tensor) -> Tensor:
    """What a discriminator lowers: label features are 1, features of its modality 0. Logits `(B,)` each to a scalar."""
    real = binary_cross_entropy_with_logits(from_labels, torch.ones_like(from_labels))
    fake = binary_cross_entropy_with_logits(from_modality, torch.zeros_like(from_modality))
    return (real + fake) / 2


def mislead(from_modality: Tensor) -> Tensor:
    """What a modality's net lowers: the discriminator takes its features for label features. Logits `(B,)` to a scalar."""
    return binary_cross_entropy_with_logits(from_modality, torch.ones_like(from_modality))


@register_cross("ssah")
class SSAHSettings(CrossSettings):
    """Hyper-parameters of SSAH."""

    later = ("over",)

    text_net: Literal["mlp", "multi-scale"] = Field("multi-scale", description="net over the bag of words")
    features: int = Field(512, ge=2, le=8192, description="units of the feature layers")
    label_width: int = Field(512, ge=1, le=65_536, description="units of the label net's wide layer (paper 4096)")
    alpha: float = Field(0.1, ge=0, description="weight of feature pairs (paper 1)")
    gamma: float = Field(1.0, ge=0, description="weight of code pairs with the label net (paper 1)")
    cross: float = Field(1.0, ge=0, description="weight of code pairs of image and text (0 in the paper)")
    beta: float = Field(0.1, ge=0, description="weight of the quantization (paper 1e-4, over pairs)")
    eta: float = Field(0.1, ge=0, description="weight of the label error (paper 1e-4, over pairs)")
    delta: float = Field(
        0.01, ge=0, description="weight of misleading the discriminators (paper 1, over pairs; code 1)"
    )
    over: Over = Field("elements", description="beta, eta, delta on means, or on printed sums divided by the pairs")
    label_lr_factor: float = Field(
        1.0, gt=0, description="learning rate of the label net divided by that of the image net"
    )
    critic_lr_factor: float = Field(0.05, gt=0, description="the same of the discriminators (code: one pass to 15)")

    title = "SSAH (Li et al., CVPR 2018)"
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 2e-3,
        "schedule": "one-cycle",
        "augment": "flip",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"alpha": 1.0, "beta": 1e-4, "eta": 1e-4, "cross": 0.0, "delta": 1.0, "over": "pairs", "balance": False,
                  "label_width": 4096, "text_width": 4096, "ngrams": 1,
                  "text_lr_factor": 100.0, "label_lr_factor": 100.0, "critic_lr_factor": 100.0},
    }  # fmt: skip
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 10, "optimizer": "adam", "lr": 1e-4, "schedule": "constant", "batch_size": 128, "augment": "none"},
    }  # fmt: skip

    def weights(self, *, items: int, bits: int, labels: int) -> tuple[dict[str, float], float]:
        """Weights of the means in `ssah`, and of the mean in `mislead`.

        Args:
            items: training pairs n, each of which the printed sums compare with all n.
            bits: code length K.
            labels: number of labels C.
        """
        beta, eta, delta = self.beta, self.eta, self.delta
        if self.over == "pairs":  # a sum over n items divided by n^2 pairs is the mean over elements times width / n
            beta, eta, delta = beta * bits / items, eta * labels / items, delta / items
        return {"alpha": self.alpha, "gamma": self.gamma, "beta": beta, "eta": eta}, delta
