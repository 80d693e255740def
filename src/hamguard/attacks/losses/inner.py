"""Inner product with a guide code: the loss of P2P, DHTA, THA and the center attack, and its cosine and raw-logit kin.

Papers: J. Bai et al., "Targeted Attack for Deep Hashing Based Retrieval", ECCV 2020; X. Wang et al., "CgAT", WWW 2023.

Every loss of this package maps relaxed codes and a guide code to one number an image, which the attacker lowers.
`direction` is +1 to approach the guide and -1 to leave it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.losses.registry import register_loss


@register_loss("inner")
def inner_product(u: Tensor, target: Tensor, direction: int) -> Tensor:
    """`-direction * mean_k(target_k u_k)`.

    Args:
        u: relaxed codes, `(B, K)` in (-1, 1).
        target: guide codes, `(B, K)` in {-1, +1}.
        direction: +1 toward, -1 away.

    Returns:
        `(B,)` in [-1, 1].
    """
    return -direction * (target * u).mean(1)  # (B,)


@register_loss("cosine")
def cosine(u: Tensor, target: Tensor, direction: int) -> Tensor:
    """`-direction` times the cosine of relaxed code and guide, `(B,)` in [-1, 1]; arguments as in `inner_product`."""
    return -direction * F.cosine_similarity(u, target, dim=1)  # (B,)


@register_loss("margin", relaxation="none")
def margin(logits: Tensor, target: Tensor, direction: int) -> Tensor:
    """Mean hinge on raw logits: `mean_k max(1 - direction target_k z_k, 0)`, `(B,)` at least 0.

    For logits that saturate tanh: the slope of a wrong bit is constant however far it is from flipping.
    Arguments as in `inner_product`, but with `logits` instead of relaxed codes (search with `relaxation="none"`).
    """
    return F.relu(1 - direction * target * logits).mean(1)  # (B,)


NEAR = 0.1
"""Outputs of that size count as near to flipping, where a trained model's are about 2; smaller values gain nothing more."""


@register_loss("logarithm", relaxation="none")
def logarithm(logits: Tensor, target: Tensor, direction: int) -> Tensor:
    """Mean logarithm of raw logits: `-direction mean_k target_k sign(z_k) log(1 + |z_k| / 0.1)`, `(B,)`; ours, no paper.

    Its slope falls with the size of an output and is never zero, so it minds the bits that are near to flipping, as tanh does, and
    still moves those of a model whose outputs are far too large for tanh. The hinge of `margin` weighs all bits alike and
    reaches less within small budgets. Arguments as in `margin`.
    """
    return -direction * (target * logits.sign() * torch.log1p(logits.abs() / NEAR)).mean(1)  # (B,)
