"""Control: the same fine-tuning without adversaries, so that what more training does is not taken for a defense."""

from __future__ import annotations

from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.defenses.registry import register
from hamguard.defenses.settings import DefenseSettings
from hamguard.defenses.task import Defense
from hamguard.training.loop import Batch


@register("control")
class Control(Defense):
    """`min L_hash(x)`."""

    title = "fine-tuning without adversaries"
    settings_type = DefenseSettings
    needs_labels = False
    doubles = False

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch."""
        (z,) = self.outputs(self.pictures(batch))  # (B, K)
        self.bank.refresh(batch.index, relax(z))
        return self.hash_loss(z, batch)
