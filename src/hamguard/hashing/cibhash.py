"""CIBHash: two random views of a picture get codes that find each other among those of a batch; no labels.

Paper: Z. Qiu, Q. Su, Z. Ou, J. Yu, C. Chen, "Unsupervised Hashing with Contrastive Information Bottleneck", IJCAI 2021 (arXiv
2105.06138). Authors' code: zexuanqiu/CIBHash, preset "code". The code was read; the text of the paper was not compared.

An output z stands for the probability `p = sigmoid(z)` that a bit is +1. Bits are drawn, the gradient goes straight through to p,
and the loss is the contrastive one (NT-Xent) of the drawn codes plus a weight times the divergence between the probabilities of
both views, which keeps what the views share and drops the rest (information bottleneck).

Deliberate differences:

* Codes are drawn, as the paper's form is known; the code takes `sign(p - 1/2)` and draws nothing (`codes="sign"`). Both are in
  {-1, +1}, as in the code.
* The draws of a step are a function of seed and step, and belong to pictures, not to places in the batch.
* The divergence is computed from logits, which cannot overflow; the code adds 1e-8 inside the logarithms.
* The whole network learns (`features="learned"`); the code learns two layers on frozen VGG-16 features. Preset "code" leaves the
  backbone alone, and has one layer, the hash head.
* The random views are those of the recipe (`augment`); the code's random gray and blur are not among them. With `freeze` they are
  views of features, which are computed once (`augment=drop`: each number is taken away or doubled); the code encodes new views of
  every picture in every epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, softplus

from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import register


def drawn_codes(logits: Tensor, threshold: Tensor | float) -> Tensor:
    """Bits that are +1 where `sigmoid(logits)` reaches a threshold.

    Args:
        logits: `(B, K)`.
        threshold: uniform draws in [0, 1), `(B, K)`, for random bits; 1/2 for the sign.

    Returns:
        `(B, K)` in {-1, +1}; the gradient is that of the probabilities.
    """
    p = torch.sigmoid(logits)
    bits = torch.where(p < threshold, -1.0, 1.0).to(p.dtype)
    return bits + (p - p.detach())


def contrast(codes: Tensor, other: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent: each of 2 B codes is to find the other view of its picture among the 2 B - 1 others, by cosine.

    Args:
        codes: codes of the first views, `(B, K)`.
        other: codes of the second views, `(B, K)`.
        temperature: divides the cosines.

    Returns:
        A scalar; zero for one picture, which has nothing to be told from.
    """
    z = normalize(torch.cat([codes, other]))  # (2 B, K)
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    cosines = (z @ z.T / temperature).masked_fill(own, -torch.inf)  # (2 B, 2 B)
    partner = torch.arange(len(z), device=z.device).roll(len(codes))  # (2 B,)
    return cross_entropy(cosines, partner)


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """KL divergence of the Bernoulli bits of `logits` from those of `other`, which is fixed.

    Args:
        logits: `(B, K)`, with gradient.
        other: `(B, K)`.

    Returns:
        Sum over bits, mean over pictures; a scalar.
    """
    p, q = torch.sigmoid(logits), other.detach()
    kl = p * (softplus(-q) - softplus(-logits)) + (1 - p) * (softplus(q) - softplus(logits))  # (B, K)
    return kl.sum(1).mean()


class CIBHashSettings(Settings):
    """Hyper-parameters of CIBHash."""

    temperature: float = Field(0.3, gt=0, description="divides the cosines of codes (code 0.3)")
    beta: float = Field(0.001, ge=0, description="weight of the divergence between both views (code 0.001)")
    codes: Literal["drawn", "sign"] = Field("drawn", description="bits in training: drawn, or the sign (code)")
    features: Literal["learned", "kept"] = Field(
        "learned", description="whether the backbone learns, or stays what it is (code)"
    )

    @property
    def needs_labels(self) -> bool:
        """Never."""
        return False


@register("cibhash")
class CIBHash(Objective):
    """CIBHash at work on one training set; the state counts steps, so that draws go on where they were."""

    title = "CIBHash (Qiu, Su, Ou, Yu, Chen, IJCAI 2021)"
    settings_type = CIBHashSettings
    settings: CIBHashSettings
    needs_views = 2
    training: ClassVar[Mapping[str, Any]] = {"epochs": 20, "optimizer": "adam", "lr": 1e-3, "augment": "crop-color"}
    frozen: ClassVar[Mapping[str, Mapping[str, Any]]] = {"training": {"augment": "drop"}}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"code": {"codes": "sign", "features": "kept"}}
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"epochs": 60, "batch_size": 64, "optimizer": "adam", "lr": 1e-3, "schedule": "constant",
                 "augment": "crop-flip-color"},
    }  # fmt: skip

    def __init__(self, settings: CIBHashSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        self.keeps_backbone = settings.features == "kept"
        self.state = {"step": torch.zeros((), dtype=torch.int64)}

    def thresholds(self, index: Tensor) -> Tensor:
        """Draws of this step for both views of the pictures `index` `(B,)`, `(2, B, K)` in [0, 1)."""
        generator = torch_generator(self.seed, "cibhash", int(self.state["step"]))
        place = index.argsort().argsort()  # (B,)
        return torch.rand(2, len(index), self.bits, generator=generator)[:, place.cpu()].to(index.device)

    def loss(
        self, logits: Tensor, labels: Tensor, index: Tensor, progress: float, *, views: Tensor | None = None
    ) -> Tensor:
        """Loss of one batch; see `Objective.loss`.

        Raises:
            RequestError: there is no second view.
        """
        if views is None:
            raise RequestError(
                "cibhash compares two views of a picture; give `views`, the logits of the second, (1, B, K)"
            )
        ask, (other,) = self.settings, views  # (B, K)
        first, second = self.thresholds(index).to(logits) if ask.codes == "drawn" else (0.5, 0.5)
        self.state["step"] = self.state["step"] + 1
        found = contrast(drawn_codes(logits, first), drawn_codes(other, second), temperature=ask.temperature)
        return found + ask.beta * (divergence(logits, other) + divergence(other, logits)) / 2
