"""HAG's masked loss.

Paper: E. Yang, T. Liu, C. Deng, D. Tao, "Adversarial Examples for Hamming Space Search", IEEE TCYB 50(4), 2020;
here after the slides of C. Deng (2019), because the full text was not at hand.

What is left is `F(x_q)`, the clean outputs `tanh(H(x_q))` at slope 1, as slides and SAAT's port; only the mask has their signs. So
a bit of which the model is not sure weighs less. A code that is no picture's own has signs only, and these stand for it;
`leaves="signs"` takes them for the own code, too.

Deliberate differences from the ports: the mask multiplies the products and is counted per image (the port beside THA
puts it into the denominator only, over the batch), and the balance term of SAAT's port is off unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hamguard.attacks.losses.registry import register_loss
from hamguard.core.checks import check_choice


@register_loss("hag")
@dataclass(frozen=True)
class HagLoss:
    """`((1/m) sum_k w_k F_k u_k + 1)^2` with `w_k = 1 where |u_k - sign(F_k)| < 1 + t`, m the sum of w; at least 0.

    F are the clean outputs and u those of the attacked image. A bit that has crossed zero by more than `t` leaves the loss, so
    that the others get the gradient. An image whose bits all have left has loss 0 and no gradient.

    Attributes:
        t: how far a bit must be over before it is dropped (0.5 in both ports; the paper's value was not seen).
        balance_weight: weight of `mean_k(w_k u_k)^2`, which SAAT's port adds with weight 1.
        leaves: what F is, the clean `outputs` as published, or their `signs`, so that all bits weigh alike.

    Raises:
        RequestError: `leaves` is neither.
    """

    t: float = 0.5
    balance_weight: float = 0.0
    leaves: Literal["outputs", "signs"] = "outputs"

    def __post_init__(self) -> None:
        check_choice("what HAG leaves", self.leaves, ("outputs", "signs"))

    @property
    def takes_outputs(self) -> bool:
        """Whether an attack is to give it the clean outputs."""
        return self.leaves == "outputs"

    def __call__(self, u: Tensor, target: Tensor, direction: int, outputs: Tensor | None = None) -> Tensor:
        """Loss of each image.

        Args:
            u: relaxed codes, `(B, K)` in (-1, 1).
            target: the own code, `(B, K)` in {-1, +1}, or another.
            direction: -1 to leave it, +1 to approach it, which is to leave its opposite.
            outputs: clean outputs, `(B, K)` in (-1, 1), where `target` is their sign; None: the code itself is left.

        Returns:
            `(B,)`, 0 where no bit is left.
        """
        code = -direction * target  # sign(F(x_q)), the code to leave
        left = code if outputs is None else -direction * outputs  # F(x_q)
        mask = ((u.detach() - code).abs() < 1 + self.t).to(u.dtype)  # w_q, (B, K)
        kept = mask.sum(1)  # m, (B,)
        inner = (mask * left * u).sum(1) / kept.clamp(min=1)
        loss = (inner + 1).square() * (kept > 0)  # (B,)
        return loss + self.balance_weight * (mask * u).mean(1).square()
