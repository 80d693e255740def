"""SDHA's weighted surrogate distance to a set of relevant codes.

Paper: J. Lu, M. Chen, Y. Sun, W. Wang, Y. Wang, X. Yang, "A Smart Adversarial Attack on Deep Hashing Based Image Retrieval",
ICMR 2021;
formulas after the code in SAAT's repository.

Deliberate difference: the weight of a relevant code is `max(d_H, 1)^-z`; the code adds 1e-8 to d_H, so that one code at
distance 0 weighs ten thousand times a code at distance 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.attacks.guides.relevant import CodeSet


def surrogate_distance(u: Tensor, codes: Tensor, sigma: float) -> Tensor:
    """Smooth Hamming distance, away form: `0.5 sum_k |u_k - r_k| g_k + sum_k (1 - g_k)`, `g = sigmoid(sigma u r)`.

    A bit that disagrees counts 1 and gets no more gradient, one that agrees counts half its distance.

    Args:
        u: relaxed codes, `(B, K)`.
        codes: relevant codes, `(R, K)` in {-1, +1}.
        sigma: steepness of the gate.

    Returns:
        `(B, R)`.
    """
    return _summed(
        u, codes, lambda r: 0.5 * (u - r).abs() * torch.sigmoid(sigma * u * r) + torch.sigmoid(-sigma * u * r)
    )


def toward_distance(u: Tensor, codes: Tensor, sigma: float) -> Tensor:
    """Toward form: `0.5 sum_k |u_k - r_k| sigmoid(-sigma u r)`, `(B, R)`."""
    return _summed(u, codes, lambda r: 0.5 * (u - r).abs() * torch.sigmoid(-sigma * u * r))


def _summed(u: Tensor, codes: Tensor, term: Callable[[float], Tensor]) -> Tensor:
    """`sum_k term(r_k)` for every code, `(B, R)`.

    A bit of a code is -1 or +1, so each term has two values only: their mean, plus or minus half their difference. The sum over
    bits is then one matrix product instead of `B R K` terms.
    """
    high, low = term(1.0), term(-1.0)  # (B, K)
    total: Tensor = ((high + low) / 2).sum(1, keepdim=True) + ((high - low) / 2) @ codes.T  # (B, R)
    return total


@dataclass(frozen=True)
class SdhaLoss:
    """`-(scale / K) mean_r w_r D(u, r)` away, `+` toward, over each image's relevant codes; near codes weigh more when leaving.

    Attributes:
        sigma_away, sigma_toward: steepness of the gates.
        z_away, z_toward: exponents of the weights; toward, far codes weigh more.
        scale: factor of the term against the picture's squared error, which `Attack` adds by `fidelity`.
    """

    sigma_away: float = 5.0
    sigma_toward: float = 10.0
    z_away: float = 0.5
    z_toward: float = -0.3
    scale: float = 25.0
    takes_sets = True

    def __call__(self, u: Tensor, target: CodeSet, direction: int) -> Tensor:
        """Loss `(B,)`; an image without relevant codes has its own code as its only one."""
        codes, member = target.codes.to(u), target.member.to(u)  # (R, K), (B, R)
        hard = torch.where(u.detach() < 0, -1.0, 1.0).to(u)
        dist = (u.shape[1] - hard @ codes.T) / 2  # (B, R), in bits
        weight = dist.clamp(min=1) ** -(self.z_away if direction < 0 else self.z_toward) * member
        if direction < 0:
            value = -(weight * surrogate_distance(u, codes, self.sigma_away)).sum(1)
        else:
            value = (weight * toward_distance(u, codes, self.sigma_toward)).sum(1)
        return self.scale / u.shape[1] * value / member.sum(1).clamp(min=1)  # (B,)
