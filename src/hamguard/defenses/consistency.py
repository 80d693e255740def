"""Virtual adversarial training: a picture and its adversary get the same code. No label is used for it.

Idea: T. Miyato et al., "Virtual Adversarial Training", TPAMI 2019; for hashing in the slides of C. Deng (2019) as `||u(x) -
u(x')||^2` on unlabeled pictures. Ours: the adversary leaves the picture's own code as the bank has it, within a ball for all
values (theirs follows one power iteration of a second-order form in the Euclidean ball).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.defenses.registry import register
from hamguard.defenses.settings import AdversarySettings
from hamguard.defenses.task import Defense
from hamguard.training.loop import Batch


class ConsistencySettings(AdversarySettings):
    """Hyper-parameters of virtual adversarial training."""

    guide: str = Field("own", description="code that adversaries leave: mainstay, center, own, anchor or p2p")
    lam: float = Field(1.0, ge=0, description="weight of the mean squared difference of the two relaxed codes")


@register("consistency")
class Consistency(Defense):
    """`min L_hash(x) + lam mean (u(x) - u(x'))^2`, x' the pictures that leave their own code."""

    title = "virtual adversarial training"
    settings_type = ConsistencySettings
    settings: ConsistencySettings
    needs_labels = False

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch."""
        x = self.pictures(batch)  # (b, C, H, W)
        x_adv = self.adversaries(batch, x, self.guide(batch))  # away from sign u(x)
        z, z_adv = self.outputs(x, x_adv)  # (B, K) each
        u = relax(z)
        self.bank.refresh(batch.index, u)
        return self.hash_loss(z, batch) + self.settings.lam * (u - relax(z_adv)).square().mean()
