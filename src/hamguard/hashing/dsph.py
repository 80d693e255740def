"""DSPH: deep semantic-aware proxy hashing. Every class has a learned proxy, which pictures and texts of it approach.

Paper: Y. Huo, Q. Qin, J. Dai, L. Wang, W. Zhang, L. Huang, C. Wang, "Deep Semantic-Aware Proxy Hashing for Multi-Label Cross-Modal
Retrieval", IEEE TCSVT 2024. Authors' code: QinLab-WFU/DSPH (`utils/utils.py`), which the equations follow; the text of the paper
was not compared.

With u the relaxed code of a picture or of a text and p the proxies, cosines cos, and [x]+ = max(x, 0), each modality lowers

`mean of 1 - cos(u, p_c) over its labels c + mean of [cos(u, p_c) - delta]+ over the other classes`

and both, over pairs of items with several labels that share none (pictures, texts, and pictures with texts),

`alpha mean of [cos(u_i, u_j) - delta]+`.

Deliberate differences:

* The cosine delta is `1 - 2 d / K` with the largest distance d that the Griesmer bound allows a linear code of K bits with as many
  words as there are classes. The code reads it from a table, which was not at hand.
* Nets that learn from pixels and from bags of words, or heads on features of networks that stay as they are (`--freeze`,
  `--text-encoder minilm`, or both in a `features:` file); the code fine-tunes CLIP, with dropout before the codes.
* Proxies learn by the optimizer of the nets, at a rate of their own; in the code by an SGD of their own, 20 times as fast as heads.
* A batch that lacks a kind of pair lacks its term; the code divides by zero.
* `balance=false` weighs every class of an item alike, so that the other classes, which are more, weigh more; not in the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from hamguard.hashing.memory import pair_mean
from hamguard.hashing.objective import CrossSettings, similarity
from hamguard.hashing.registry import register_cross


def least_distance(bits: int, classes: int) -> int:
    """Largest distance d that a linear code of K bits with a word for each class can keep, by the Griesmer bound.

    `K >= sum over i < k of ceil(d / 2^i)` with `2^k >= classes`.

    >>> least_distance(16, 24), least_distance(64, 10), least_distance(2, 10)
    (8, 33, 0)
    """
    dimensions = max(1, (classes - 1).bit_length())
    distance = 0
    while sum(-(-(distance + 1) // 2**i) for i in range(dimensions)) <= bits:
        distance += 1
    return distance


def proxy_error(u: Tensor, labels: Tensor, proxies: Tensor, *, delta: float, balance: bool = True) -> Tensor:
    """How far items are from the proxies of their labels, and how near to others.

    Args:
        u: relaxed codes, `(B, K)`.
        labels: multi-hot labels, `(B, C)`.
        proxies: `(C, K)`.
        delta: cosine at which another class is far enough.
        balance: means of both kinds, added; else twice the mean over all.

    Returns:
        A scalar.
    """
    cosines = normalize(u) @ normalize(proxies).T  # (B, C)
    terms = labels * (1 - cosines) + (1 - labels) * (cosines - delta).clamp(min=0)
    return 2 * pair_mean(terms, labels, balance=balance, skip_self=False)


def irrelevant_error(u: Tensor, other: Tensor, labels: Tensor, *, delta: float) -> Tensor:
    """How near items with several labels are to those with which they share none.

    Args:
        u: relaxed codes of one modality, `(B, K)`.
        other: of the same or of another, `(B, K)`.
        labels: multi-hot labels of both, `(B, C)`.
        delta: cosine at which a pair is far enough.

    Returns:
        A scalar; zero where there is no such pair.
    """
    several = (labels.sum(1) > 1).to(u)  # (B,)
    apart = several[:, None] * several * (1 - similarity(labels, labels))  # (B, B) in {0, 1}
    near = (normalize(u) @ normalize(other).T - delta).clamp(min=0)  # (B, B)
    return (apart * near).sum() / apart.sum().clamp(min=1)


def dsph(
    image: Tensor, text: Tensor, labels: Tensor, proxies: Tensor, *, delta: float, alpha: float, balance: bool = True
) -> Tensor:
    """DSPH's loss of a batch of pairs.

    Args:
        image: relaxed codes of the pictures, `(B, K)`.
        text: relaxed codes of their texts, `(B, K)`.
        labels: multi-hot labels, `(B, C)`.
        proxies: `(C, K)`.
        delta: cosine at which codes are far enough.
        alpha: weight of pairs without a common label.
        balance: as in `proxy_error`.

    Returns:
        A scalar.
    """
    near = [proxy_error(u, labels, proxies, delta=delta, balance=balance) for u in (image, text)]
    pairs = ((image, image), (text, text), (image, text))
    apart = [irrelevant_error(u, other, labels, delta=delta) for u, other in pairs]
    return torch.stack(near).sum() + alpha * torch.stack(apart).sum()


@register_cross("dsph")
class DSPHSettings(CrossSettings):
    """Hyper-parameters of DSPH."""

    alpha: float = Field(0.8, ge=0, description="weight of pairs without a common label (code 0.8)")
    delta: float | None = Field(
        None, ge=-1, le=1, description="cosine at which codes are far enough; of bits and classes if not given"
    )
    proxy_lr_factor: float = Field(
        5.0, gt=0, description="learning rate of the proxies divided by that of the image net (code 20 times heads)"
    )

    title = "DSPH (Huo et al., IEEE TCSVT 2024)"
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "optimizer": "adam",
        "lr": 2e-3,
        "schedule": "one-cycle",
        "augment": "flip",
    }

    def far(self, *, bits: int, classes: int) -> float:
        """The cosine delta for K bits and C classes."""
        return 1 - 2 * least_distance(bits, classes) / bits if self.delta is None else self.delta
