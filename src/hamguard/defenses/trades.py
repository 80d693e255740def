"""TRADES for codes: the clean loss, and a divergence between the bits of a picture and of its adversary that weighs it.

Paper: H. Zhang, Y. Yu, J. Jiao, E. Xing, L. El Ghaoui, M. Jordan, "Theoretically Principled Trade-off between Robustness and
Accuracy", ICML 2019, for classifiers. Ours for hashing: each bit is a coin with `P(+1) = (1 + u) / 2`, whose logit is `2 z`,
and the class distributions' divergence becomes the mean divergence of coins. Deliberate differences: the inner attack starts at
a random picture of the ball, not beside the clean one, and leaves the coins that the bank holds, so that it needs no pass of
its own.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.threat import Threat
from hamguard.attacks.types import Guide
from hamguard.codes.binary import relax
from hamguard.defenses.inner import inner_attack
from hamguard.defenses.registry import register
from hamguard.defenses.settings import AdversarySettings
from hamguard.defenses.task import Defense
from hamguard.training.loop import Batch

EDGE = 1 - 1e-6  # relaxed codes nearer to 1 count as this far: their logits would be infinite


def coin_divergence(z: Tensor, other: Tensor) -> Tensor:
    """Mean over bits of `KL(coin of z || coin of other)`, logits `(B, K)` each to `(B,)`, at least 0."""
    heads = torch.sigmoid(2 * z)  # P(+1), (B, K)
    up = F.logsigmoid(2 * z) - F.logsigmoid(2 * other)
    down = F.logsigmoid(-2 * z) - F.logsigmoid(-2 * other)
    return (heads * up + (1 - heads) * down).mean(1)


def leave_coins(z: Tensor, target: Guide, direction: int) -> Tensor:
    """Loss of the inner attack, `(B,)`: the more the coins of `z` differ from those of the logits `target`, the lower."""
    assert isinstance(target, Tensor)
    return direction * coin_divergence(target, z)


class TradesSettings(AdversarySettings):
    """Hyper-parameters of TRADES."""

    guide: str = Field("own", description="code that adversaries leave where loss is not coins")
    loss: str = Field("coins", description="coins: adversaries make the divergence large; or a loss against a code")
    beta: float = Field(6.0, ge=0, description="weight of the divergence, paper 1 to 6")

    def _inner(self, ball: Threat, steps: int, size: float | None) -> Attack:
        if self.loss != "coins":
            return super()._inner(ball, steps, size)
        made = inner_attack(self.guide, "inner", ball, steps=steps, step_size=size)
        return replace(made, loss=leave_coins, relaxation="none")


@register("trades")
class Trades(Defense):
    """`min L_hash(x) + beta mean KL(coins of x || coins of x')`, x' the pictures whose coins differ most."""

    title = "TRADES (Zhang et al., ICML 2019), for codes"
    settings_type = TradesSettings
    settings: TradesSettings
    needs_labels = False

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch."""
        x = self.pictures(batch)  # (b, C, H, W)
        x_adv = self.adversaries(batch, x, self._left(batch))  # inner: the divergence is largest
        z, z_adv = self.outputs(x, x_adv)  # (B, K) each
        self.bank.refresh(batch.index, relax(z))
        return self.hash_loss(z, batch) + self.settings.beta * coin_divergence(z, z_adv).mean()

    def _left(self, batch: Batch) -> Tensor:
        """What the adversaries leave: logits of the coins in the bank, or guide codes, `(B, K)`."""
        if self.settings.loss != "coins":
            return self.guide(batch)
        u = self.bank.u[batch.index.to(self.bank.u.device)]  # (B, K)
        return torch.atanh(u.clamp(-EDGE, EDGE))
