"""DCMH: deep cross-modal hashing.

Paper: Q.-Y. Jiang, W.-J. Li, "Deep Cross-Modal Hashing", CVPR 2017; ports: WendellGul/DCMH, torchcmh.

`F` (n, K) are the image net's outputs, `G` the text net's, `B` one code a pair, and with Theta = F G^T / 2

`J = sum_ij [softplus(Theta) - S Theta] + gamma (||B - F||^2 + ||B - G||^2) + eta (||F^T 1||^2 + ||G^T 1||^2)`   eq. (1)

is lowered in turns: the image net with G and B fixed, the text net with F and B fixed, then `B = sign(gamma (F + G))`.

Deliberate differences:

* The nets take turns from batch to batch; the paper's turns are whole passes (preset "paper").
* The outputs of the fixed side are refreshed by one pass after each epoch; the paper keeps those of the last visit.
* Terms are means: over pairs, over code elements, over bits of the batch's mean output, so that weights mean the same for every
  batch, code length and training set. The paper adds sums, which is `over="pairs"` here (preset "paper"): each sum divided by the
  number of pairs B n, and F^T 1 over all n items, of which those outside the batch stand as they were seen last. Beside the
  means, the printed gamma weighs K / n and the printed eta K times as much.
* Similar and dissimilar pairs weigh alike (not in preset "paper").
* `u = tanh(z)` in the pairs, so that the pull toward B has the scale of a code; the paper's outputs are linear (preset "paper").
* Adam with a one-cycle rate instead of SGD from 10^-1.5 toward 0 (paper 10^-6) over 500 epochs (preset "paper"); a net that learns
  from scratch instead of CNN-F.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax, sign
from hamguard.hashing.cross_modal import cross_likelihood
from hamguard.hashing.memory import Over, item_mean
from hamguard.hashing.objective import CrossSettings, similarity
from hamguard.hashing.registry import register_cross


def update_codes(f: Tensor, g: Tensor, gamma: float) -> Tensor:
    """The codes that minimize eq. (1) with both nets fixed: `B = sign(gamma (F + G))`, eq. (8); zero becomes +1.

    Args:
        f: outputs of the image net, `(n, K)`.
        g: outputs of the text net, `(n, K)`.
        gamma: weight of the quantization term; any positive value gives the same codes.

    Returns:
        `(n, K)` in {-1, +1}.
    """
    return sign(gamma * (f + g))


def quantization(codes: Tensor, f: Tensor, g: Tensor) -> Tensor:
    """The part of eq. (1) that the codes decide: `||B - F||^2 + ||B - G||^2`, a scalar."""
    return (codes - f).square().sum() + (codes - g).square().sum()


def dcmh(
    own: Tensor, labels: Tensor, other: Tensor, other_labels: Tensor, codes: Tensor,
    *, gamma: float, eta: float, balance: bool = False, over: Over = "elements", rest: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Eq. (1) as one net sees it in its turn, divided by the number of pairs.

    Args:
        own: outputs of the net whose turn it is, `(B, K)`, with gradient.
        labels: their multi-hot labels, `(B, C)`.
        other: outputs of the other net, `(N, K)`.
        other_labels: their labels, `(N, C)`.
        codes: B of the batch, `(B, K)` in {-1, +1}.
        gamma: weight of the pull toward B.
        eta: weight of the balance of each bit.
        balance: similar and dissimilar pairs weigh alike.
        over: pull and balance of bits as means over elements, or as printed sums divided by the number of pairs.
        rest: sum of the own net's outputs over the items outside the batch, `(K,)`: what F^T 1 has besides the batch where sums are
            printed; None for none.

    Returns:
        A scalar.
    """
    similar = similarity(labels, other_labels)  # S, (B, N)
    fit = cross_likelihood(own, other, similar, balance=balance)
    pull = item_mean((codes - own).square(), over=over, pairs=similar.numel())
    if over == "elements":
        return fit + gamma * pull + eta * own.mean(0).square().mean()
    total = own.sum(0) if rest is None else own.sum(0) + rest  # F^T 1, (K,)
    return fit + gamma * pull + eta * total.square().sum() / similar.numel()


@register_cross("dcmh")
class DCMHSettings(CrossSettings):
    """Hyper-parameters of DCMH."""

    later = ("over",)

    gamma: float = Field(0.1, ge=0, description="weight of the pull toward the pair's code (paper 1, over pairs)")
    eta: float = Field(0.1, ge=0, description="weight of the balance of each bit (paper 1, over pairs)")
    over: Over = Field(
        "elements", description="gamma and eta on means over elements, or on printed sums divided by the pairs"
    )
    turns: Literal["batch", "pass"] = Field(
        "batch", description="the nets take turns after each batch, or after each pass"
    )
    against: Literal["all", "batch"] = Field(
        "all", description="pairs with all outputs of the other side, or inside the batch"
    )
    relaxation: Literal["tanh", "linear"] = Field("tanh", description="relaxed code: tanh of the output, or the output")

    title = "DCMH (Jiang, Li, CVPR 2017)"
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 40,
        "optimizer": "adam",
        "lr": 2e-3,
        "schedule": "one-cycle",
        "augment": "flip",
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"gamma": 1.0, "eta": 1.0, "over": "pairs", "turns": "pass", "relaxation": "linear", "balance": False,
                  "text_width": 8192, "ngrams": 1},
    }  # fmt: skip

    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"epochs": 500, "optimizer": "sgd", "momentum": 0.0, "lr": 10**-1.5, "schedule": "linear", "batch_size": 128,
                  "augment": "none"},
    }  # fmt: skip

    def relax(self, z: Tensor) -> Tensor:
        """Logits to what stands in the pairs."""
        return relax(z) if self.relaxation == "tanh" else z
