"""SMMD: how far the codes of two domains lie apart, for similar pairs and for dissimilar ones (PPL, AAAI 2021).

Deliberate differences: the paper names no kernel; the Gaussian of the code of its cross-modal successor is used, five bandwidths
around the mean squared distance of the pooled batch. That distance is 0 where all codes are equal, so it is held above `TINY`,
without which a game whose codes collapse ends in NaN. A kind of pair that a batch has none of counts 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)
SHRINK = 4.0  # the base bandwidth is the mean squared distance divided by 2^2
TINY = 1e-6


def gaussian_kernels(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of five Gaussian kernels within and across two sets of codes.

    Args:
        a: codes, `(n, K)`.
        b: codes, `(n, K)`.

    Returns:
        `k(a, a)`, `k(b, b)` and `k(a, b)`, `(n, n)` each, values in (0, 5]; the bandwidth carries no gradient.
    """
    pooled = torch.cat([a, b])  # (2n, K)
    squared = (pooled[:, None] - pooled[None]).square().sum(2)  # (2n, 2n)
    count = len(pooled)
    mean = squared.detach().sum() / (count * (count - 1))
    base = (mean / SHRINK).clamp(min=TINY)
    kernel = torch.stack([torch.exp(-squared / (base * factor)) for factor in FACTORS]).sum(0)  # (2n, 2n)
    n = len(a)
    return kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]


def masked_discrepancy(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """`Ds*`: the discrepancy over the pairs of a mask, a scalar; may be negative.

    Args:
        a: codes of the first domain, `(n, K)`.
        b: codes of the second, `(n, K)`.
        mask: pairs that count, `(n, n)` in {0, 1}.
    """
    within_a, within_b, across = gaussian_kernels(a, b)
    weight = mask / mask.sum().clamp(min=1)  # (n, n)
    return (weight * (within_a + within_b - 2 * across)).sum()


def smmd(a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
    """`Ds = Ds+ - Ds-`, a scalar: small where similar pairs are aligned across domains and dissimilar ones are not.

    Args:
        a: codes of clean pictures, `(n, K)`.
        b: codes of the same pictures after protection, `(n, K)`.
        similar: `S` in {-1, +1}, `(n, n)`.
    """
    return masked_discrepancy(a, b, (similar > 0).to(a)) - masked_discrepancy(a, b, (similar <= 0).to(a))
