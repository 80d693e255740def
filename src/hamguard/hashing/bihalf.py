"""Bi-half: in every batch, the upper half of each bit is +1 and the lower half is -1.

Paper: Y. Li, J. van Gemert, "Deep Unsupervised Image Hashing by Maximizing Bit Entropy", AAAI 2021. Authors' code:
liyunqianggyn/Deep-Unsupervised-Image-Hashing (`ImageHashing/Cifar10_I.py`), preset "code". The code was
read; the text of the paper was not compared.

Halves are the bits of greatest entropy, and a sort is the cheapest way of the outputs U to them. The gradient goes straight through
to U, with a pull toward the codes B: `dL/dU = dL/dB + gamma (U - B) / (N K)`. L asks that cosine similarities of codes be those
of the backbone's features, which needs no labels. With `fits="labels"` (preset "labels") it is the cross entropy of a linear layer
on the codes, as in CISiPLab/cisip-FIRe (`bihalf-supervised`).

Deliberate differences:

* The pull is the term `gamma / 2 mean((U - B)^2)`, whose gradient it is: the same steps, and a loss that shows it.
* Similarities of all pairs of a batch; the code takes picture i of the first half with picture i of the second (`pairs="halves"`).
* Features that are the aim stay what they are: the backbone does not learn, and is at rest. The authors freeze theirs as well, but
  leave its dropout on.
* The labels of a picture share the target mass of the softmax; one without any label does not count.
* The rate of preset "code" falls at one and at two thirds of the run, in the code after 120 and 240 of 300 epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.orthohash import shared_cross_entropy
from hamguard.hashing.registry import register


def half_codes(u: Tensor) -> Tensor:
    """Codes with +1 for the upper half of each column, an odd one in the middle is -1; `(B, K)` to `(B, K)` in {-1, +1}."""
    rank = u.argsort(dim=0, descending=True, stable=True).argsort(dim=0)  # (B, K), 0 for the greatest
    return torch.where(rank < len(u) // 2, 1.0, -1.0).to(u.dtype)


def similarity_error(codes: Tensor, features: Tensor, *, pairs: Literal["all", "halves"] = "all") -> Tensor:
    """Mean squared difference between cosines of codes and cosines of features.

    Args:
        codes: `(B, K)`, with gradient.
        features: `(B, D)`.
        pairs: every two pictures, or picture i of the first half with picture i of the second; an odd last one has no partner.

    Returns:
        A scalar; zero where there is no pair.
    """
    if pairs == "halves":
        half = len(codes) // 2
        b, x = (cosine_similarity(one[:half], one[half : 2 * half]) for one in (codes, features))  # (B / 2,) each
        return (b - x).square().sum() / max(1, half)
    gap = normalize(codes) @ normalize(codes).T - normalize(features) @ normalize(features).T  # (B, B)
    other = ~torch.eye(len(gap), dtype=torch.bool, device=gap.device)
    return gap[other].square().sum() / max(1, len(gap) * (len(gap) - 1))


class BihalfSettings(Settings):
    """Hyper-parameters of Bi-half."""

    fits: Literal["features", "labels"] = Field(
        "features", description="what codes are to fit: similarities of features, or labels"
    )
    gamma: float = Field(6.0, ge=0, description="weight of the pull toward the codes (code 6)")
    pairs: Literal["all", "halves"] = Field(
        "all", description="pairs of a batch whose similarities are compared: all, or its halves with each other (code)"
    )

    @property
    def needs_labels(self) -> bool:
        """Where codes are to fit them."""
        return self.fits == "labels"


@register("bihalf")
class Bihalf(Objective):
    """Bi-half at work on one training set; the state holds the layer that predicts labels, where there is one."""

    title = "Bi-half (Li, van Gemert, AAAI 2021)"
    settings_type = BihalfSettings
    settings: BihalfSettings
    training: ClassVar[Mapping[str, Any]] = {"epochs": 20, "optimizer": "adam", "lr": 2e-3, "schedule": "one-cycle"}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"pairs": "halves"},
        "labels": {"fits": "labels"},
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"epochs": 300, "batch_size": 32, "optimizer": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4,
                 "schedule": "step"},
    }  # fmt: skip

    def __init__(self, settings: BihalfSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        self.needs_features = self.keeps_backbone = settings.fits == "features"
        if settings.fits == "labels":
            generator, classes = torch_generator(seed, "bihalf", "classifier"), self.labels.shape[1]
            weight, bias = (
                torch.empty(shape).uniform_(-(bits**-0.5), bits**-0.5, generator=generator)
                for shape in ((classes, bits), (classes,))
            )
            self.state = {"weight": nn.Parameter(weight.to(self.labels)), "bias": nn.Parameter(bias.to(self.labels))}

    def loss(
        self, logits: Tensor, labels: Tensor, index: Tensor, progress: float, *, features: Tensor | None = None
    ) -> Tensor:
        """Loss of one batch; see `Objective.loss`.

        Raises:
            RequestError: codes are to fit features, and there are none.
        """
        ask = self.settings
        half = half_codes(logits.detach())  # B, (B, K)
        codes = logits + (half - logits).detach()  # the gradient goes straight through
        pull = ask.gamma / 2 * (logits - half).square().mean()
        if ask.fits == "labels":
            found = codes @ self.state["weight"].to(logits).T + self.state["bias"].to(logits)  # (B, C)
            return shared_cross_entropy(found, labels.to(logits)) + pull
        if features is None:
            raise RequestError("bihalf fits the features of a batch; give `features`, or ask for `fits=labels`")
        return similarity_error(codes, features.detach().to(logits), pairs=ask.pairs) + pull
