"""THA's circle-like loss: a prototype near all codes that share a label with it, far from all others.

Paper: X. Wang, Z. Zhang, G. Lu, Y. Xu, "Targeted Attack and Defense for Deep Hashing", SIGIR 2021; formulas after the authors'
code. It trains the net of `guides/prototype.py` and is no loss of an attack.

Deliberate differences: the log-sum-exp runs over each label's own pairs and is averaged over labels; the authors' runs over all
pairs of the batch at once, so that its hardest label dominates, and is there by `joint=True`. Their code drops the pairs below
the diagonal of the (rectangular) batch, a leftover of a square formula; here every pair counts. A label without similar codes,
or without others, contributes the other part only. SAAT's port wraps the sum in a softplus; the authors do not, and the option is
not offered, because a monotone function of one sum only rescales its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

QUANTIZATION = 1e-4  # weight of the distance to the signed prototype, authors' code


def circle_loss(h: Tensor, codes: Tensor, similar: Tensor, *, joint: bool = False) -> Tensor:
    """Circle-like loss with margin 0 and scale 1.

    Args:
        h: relaxed prototypes of a batch of labels, `(B, K)` in (-1, 1).
        codes: reference codes, `(N, K)` in {-1, +1}.
        similar: which pairs share a label, `(B, N)` bool.
        joint: one log-sum-exp over all pairs of the batch (published), else one a label.

    Returns:
        The loss, a scalar.
    """
    s = h @ codes.T / h.shape[1]  # (B, N) in [-1, 1]
    pull = -(2 - s.detach()).clamp(min=0) * s  # (B, N), weights carry no gradient
    push = (2 + s.detach()).clamp(min=0) * s  # (B, N)
    if joint:
        pull, push, similar = pull.flatten()[None], push.flatten()[None], similar.flatten()[None]  # (1, B * N)
    parts = _log_sum_exp(pull, similar) + _log_sum_exp(push, ~similar)  # (B,), or (1,)
    quantization = (torch.where(h.detach() < 0, -1.0, 1.0) - h).square().sum()
    return (parts.sum() + QUANTIZATION * quantization) / len(h)


def _log_sum_exp(value: Tensor, where: Tensor) -> Tensor:
    """Of each row's marked entries, `(B,)`; 0 without gradient where none is marked."""
    some = where.any(1)
    kept = torch.where(where | ~some[:, None], value, -torch.inf)  # a row of -inf would have a NaN gradient
    return torch.where(some, torch.logsumexp(kept, dim=1), 0.0)
