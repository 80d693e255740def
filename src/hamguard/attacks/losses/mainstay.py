"""SAAT's masked quadratic against the mainstay code.

Paper: X. Yuan, Z. Zhang, X. Wang, L. Wu, "Semantic-Aware Adversarial Training for Reliable Deep Hashing Retrieval",
IEEE TIFS 18, 2023.

Deliberate differences: kept bits are counted per image (the code counts them over the batch, so that a loss depends on
its neighbors). Toward a code, the printed form `(q + 2) q` has no slope at q = -1, where a wrong bit starts; the
default is its mirror image `(2 - q) q`, and `printed=True` gives the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hamguard.attacks.losses.registry import register_loss


@register_loss("mainstay")
@dataclass(frozen=True)
class MainstayLoss:
    """Mean over kept bits of a quadratic in `q_k = u_k target_k`.

    Away: keep `q > -0.5`, `(q + 2) q`. Toward: keep `q < 0.5`, `-(2 - q) q`, or `-(q + 2) q` as printed.

    Attributes:
        edge: bits that are further than this on the wanted side are dropped.
        printed: toward form of the paper's code.
    """

    edge: float = 0.5
    printed: bool = False

    def __call__(self, u: Tensor, target: Tensor, direction: int) -> Tensor:
        """Loss `(B,)`; 0 without gradient where no bit is kept. `u`, `target` `(B, K)`, direction +1 toward, -1 away."""
        q = u * target  # (B, K)
        kept = (-direction * q.detach() > -self.edge).to(u.dtype)  # (B, K)
        value = (q + 2) * q if direction < 0 else -(q + 2) * q if self.printed else -(2 - q) * q
        return (kept * value).sum(1) / kept.sum(1).clamp(min=1)  # (B,)
