"""How far a code is from where an attack wants it: the function f of C&W, on bits.

Paper: N. Carlini, D. Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017. It asks of f that f(x) <= 0
exactly where the attack has succeeded, and takes `f_6 = max(max_{i != t} Z_i - Z_t, -kappa)` on logits. Ours, on bits: an attack
has succeeded where at most `left` bits stand on the wrong side, and f adds up what the easiest K - left bits lack.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.losses.registry import register_loss
from hamguard.core.checks import check_range

NEAR = 2
"""Bits that may be left wrong toward a code: the radius in which a look-up by hash finds it."""


@register_loss("reach", relaxation="none")
@dataclass(frozen=True)
class ReachLoss:
    """`sum_k max(kappa - m_k, 0)` over the K - left largest of the margins `m_k = direction target_k z_k`.

    Attributes:
        left: bits that may be left wrong; None for half of them away from a code (K // 2), and two toward one.
        kappa: margin that a bit must have on the right side, in units of the logits.
    """

    left: int | None = None
    kappa: float = 0.0

    def __post_init__(self) -> None:
        check_range("kappa", self.kappa, 0.0)
        if self.left is not None:
            check_range("left", self.left, 0)

    def allowed(self, bits: int, direction: int) -> int:
        """Bits of a code that may be left wrong; direction +1 toward, -1 away."""
        usual = bits // 2 if direction < 0 else NEAR
        return min(usual if self.left is None else self.left, bits - 1)

    def __call__(self, logits: Tensor, target: Tensor, direction: int) -> Tensor:
        """Loss `(B,)` at least 0, and 0 where enough bits are right. `logits`, `target` `(B, K)`, direction +1 toward, -1 away."""
        m = direction * target * logits  # (B, K)
        bits = m.shape[1]
        easiest = m.topk(bits - self.allowed(bits, direction), dim=1).values  # (B, K - left)
        return F.relu(self.kappa - easiest).sum(1)  # (B,)
