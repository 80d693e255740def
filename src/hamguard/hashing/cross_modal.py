"""What the cross-modal methods share: pairs across modalities.

A method file holds pure functions, one for each equation, and `Settings`. The networks, which differ in number from method to
method, are moved by the method's task in `training`.
"""

from __future__ import annotations

from torch import Tensor

from hamguard.hashing.dpsh import pair_likelihood
from hamguard.hashing.memory import pair_mean


def cross_likelihood(own: Tensor, other: Tensor, similar: Tensor, *, balance: bool, scale: float = 0.5) -> Tensor:
    """Mean negative log likelihood of pairs across two sets of outputs.

    Args:
        own: outputs of a batch, `(B, K)`.
        other: outputs that they are compared with, `(N, K)`.
        similar: `S` in {0, 1}, `(B, N)`.
        balance: similar and dissimilar pairs weigh alike.
        scale: factor of the inner product, 1/2 in DCMH and SSAH.

    Returns:
        Mean of `softplus(theta) - S theta` with `theta = scale * own . other`, a scalar.
    """
    terms = pair_likelihood(own, other, similar, scale)  # (B, N); (i, i) is a picture with its text and stays
    return pair_mean(terms, similar, balance=balance, skip_self=False)
