"""HAG's masked loss.

Paper: E. Yang, T. Liu, C. Deng, D. Tao, "Adversarial Examples for Hamming Space Search", IEEE TCYB 50(4), 2020;
here after the slides of C. Deng (2019), because the full text was not at hand.

Deliberate differences from the ports: the mask multiplies the products and is counted per image (the port beside THA
puts it into the denominator only, over the batch), and the balance term of SAAT's port is off unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hamguard.attacks.losses.registry import register_loss


@register_loss("hag")
@dataclass(frozen=True)
class HagLoss:
    """`((1/m) sum_k w_k c_k u_k + 1)^2` with `w_k = 1 where |u_k - c_k| < 1 + t`, m the sum of w; minimum 0.

    A bit that has crossed zero by more than `t` leaves the loss, so that the others get the gradient. An image
    whose bits all have left has loss 0 and no gradient.

    Attributes:
        t: how far a bit must be over before it is dropped (0.5 in both ports; the paper's value was not seen).
        balance_weight: weight of `mean_k(u_k)^2`, which SAAT's port adds with weight 1.
    """

    t: float = 0.5
    balance_weight: float = 0.0

    def __call__(self, u: Tensor, target: Tensor, direction: int) -> Tensor:
        """Loss `(B,)`; `target` is the own code and `direction` -1, or a code to approach with +1."""
        code = -direction * target  # the code to leave
        mask = ((u.detach() - code).abs() < 1 + self.t).to(u.dtype)  # (B, K)
        kept = mask.sum(1)  # (B,)
        inner = (mask * code * u).sum(1) / kept.clamp(min=1)
        loss = (inner + 1).square() * (kept > 0)  # (B,)
        return loss + self.balance_weight * u.mean(1).square()
