"""Static adversarial training: pictures attacked once, on the model before the defense, join the training set.

Source: slides of C. Deng (2019), and CMLA, which trains on its adversaries with the hash method's own loss. It is the weakest
form: the model learns the adversaries of a model that is gone, and new ones are found easily. Attacked pictures are made in
fixed groups before the first step, and again when a stopped run goes on, from the start model; they take the random views of
their originals.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.core.seeds import derive_seed
from hamguard.defenses.inner import adversaries
from hamguard.defenses.registry import register
from hamguard.defenses.settings import AdversarySettings
from hamguard.defenses.task import Defense
from hamguard.images.quantize import to_bytes
from hamguard.models.folding import folded
from hamguard.training.augment import augment
from hamguard.training.loop import Batch

GROUP = 256  # pictures attacked at once


class StaticSettings(AdversarySettings):
    """Hyper-parameters of static adversarial training."""

    mix: float = Field(0.5, ge=0, le=1, description="share of the loss that attacked pictures have")


@register("static")
class Static(Defense):
    """`min (1 - mix) L_hash(x) + mix L_hash(x')`, x' made once against the model before the defense."""

    title = "static adversarial training (slides of C. Deng, 2019)"
    settings_type = StaticSettings
    settings: StaticSettings

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.start = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.made = torch.empty(0, dtype=torch.uint8)  # (n, C, H, W), once the run has begun

    def begin(self) -> None:
        """Fill the bank, and attack all training pictures."""
        super().begin()
        self._attack_all()

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch."""
        x, x_adv = self._pairs(batch)  # (b, C, H, W) each
        z, z_adv = self.outputs(x, x_adv)  # (B, K) each
        self.bank.refresh(batch.index, relax(z))
        attacked = self.hash_loss(z_adv, batch)  # first, so that methods with a memory remember the clean codes
        return (1 - self.settings.mix) * self.hash_loss(z, batch) + self.settings.mix * attacked

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pictures and their adversaries under the same random views."""
        self.learn()
        both = torch.cat([self._read(batch), self.made[batch.index[batch.part]].float() / 255], 1)  # (b, 2 C, H, W)
        both = augment(both.to(self.device), self.views, batch.generator, batch.part, len(batch.index))
        x, x_adv = both.chunk(2, 1)
        return x.contiguous(), x_adv.contiguous()

    def _attack_all(self) -> None:
        """Attacked pictures of the whole training set, 8-bit; a function of the start model and the seed."""
        assert self.attack is not None
        with torch.no_grad():
            groups = torch.split(torch.arange(self.items), GROUP)
            self.bank.fill(relax(torch.cat([self.start.logits(self._clean(rows)).float() for rows in groups])))
        parts, seen = [], folded(self.start)
        for rows in groups:
            target = self._guide_of(rows, self.bank.labels[rows.to(self.bank.labels.device)])
            seed = derive_seed(self.seed, "static")
            parts.append(to_bytes(adversaries(self.attack, seen, self._clean(rows), target, rows.tolist(), seed)))
        self.made = torch.cat(parts).cpu()  # (n, C, H, W)

    def _clean(self, rows: Tensor) -> Tensor:
        return self.codes.images.batch(self.codes.index[rows.numpy()]).to(self.device)

    def load_state(self, state: dict[str, Any]) -> None:
        """Make the attacked pictures again, then take what `state` gave."""
        self._attack_all()
        super().load_state(state)
