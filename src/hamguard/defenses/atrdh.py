"""ATRDH: adversarial training against targeted pictures, made with prototype codes that are learned along with the model.

Paper: X. Wang, Z. Zhang, G. Lu, Y. Xu, "Targeted Attack and Defense for Deep Hashing", SIGIR 2021 (the name is that of later
papers). Adversaries approach the prototype code of a random label, which is CgAT's criticism: targeted pictures are not the
worst. Deliberate differences: those of `task`; targets are drawn from the label vectors of the training pictures, not of the
database; the bank is refreshed from a pass in evaluation mode before the attack; the recipe, Adam with rate 1e-3 and a cosine
instead of 1e-4 with steps over 100 epochs; the prototype net has rate 1e-3 instead of 1e-4, because runs are short, and its
loss is joint over the batch as published; the model's Adam has the usual betas, not (0.5, 0.999). SAAT's port weighs the
adversarial loss with 2 instead of 1.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.prototype import BETAS, prototype_net
from hamguard.attacks.guides.supervised import distinct_labels
from hamguard.attacks.losses.circle import circle_loss
from hamguard.attacks.threat import Threat
from hamguard.codes.binary import relax, sign
from hamguard.core.seeds import torch_generator
from hamguard.defenses.inner import at_rest, inner_attack
from hamguard.defenses.registry import register
from hamguard.defenses.settings import AdversarySettings
from hamguard.defenses.task import Defense
from hamguard.training.distributed import gather
from hamguard.training.loop import Batch


class ATRDHSettings(AdversarySettings):
    """Hyper-parameters of ATRDH."""

    guide: str = Field("mainstay", description="code that the alarm's pictures leave; adversaries approach prototypes")
    weight: float = Field(1.0, ge=0, description="weight of the attacked pictures' pair loss, authors 1, SAAT's port 2")
    prototype_rate: float = Field(1e-3, gt=0, description="learning rate of the prototype net, authors 1e-4")

    def toward(self, threat: Threat) -> Attack:
        """The inner attack, toward codes."""
        steps = 1 if self.fast else self.steps
        return inner_attack("own", self.loss, self._ball(threat), steps=steps, step_size=self.step_size, toward=True)


@register("atrdh")
class ATRDH(Defense):
    """`min L_hash(x) + w mean_ij (u'_i . U_j / K - S_ij)^2`, x' the pictures that approach another label's prototype code."""

    title = "ATRDH (Wang et al., SIGIR 2021)"
    paper: ClassVar[dict[str, Any]] = {
        "epochs": 100,
        "batch_size": 32,
        "optimizer": "adam",
        "lr": 1e-4,
        "schedule": "late-step",
    }
    settings_type = ATRDHSettings
    settings: ATRDHSettings

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        labels = self.bank.labels
        self.pool = distinct_labels(labels.cpu().numpy()).to(self.device)  # (P, C)
        generator = torch_generator(self.seed, "atrdh", "prototype")
        self.prototype = prototype_net(labels.shape[1], self.model.bits, generator).to(self.device)
        self.own = torch.optim.Adam(self.prototype.parameters(), lr=self.settings.prototype_rate, betas=BETAS)
        self.toward = self.settings.toward(self.threat)

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch."""
        x = self.pictures(batch)  # (b, C, H, W)
        # 1. codes of the batch into the bank
        with at_rest(self.model), torch.no_grad():
            z_now = gather(self.model.logits(x).float(), self.process_group)  # (B, K)
        self.bank.refresh(batch.index, relax(z_now))
        # 2. random targets; one step of the prototype net against the bank
        drawn = torch.randint(len(self.pool), (len(batch.index),), generator=batch.generator)
        targets = self.pool[drawn.to(self.device)]  # (B, C)
        self._move_prototype(targets)
        # 3. pictures that approach the targets' prototype codes
        with torch.no_grad(), self.full_precision():
            code = sign(self.prototype(targets))  # (B, K)
        x_adv = self.adversaries(batch, x, code, self.toward)
        # 4. the adversarial loss compares with all training codes, under the true labels
        z, z_adv = self.outputs(x, x_adv)  # (B, K) each
        self.bank.refresh(batch.index, relax(z))
        with self.full_precision():
            inner = relax(z_adv) @ self.bank.u.T / self.model.bits  # (B, n)
            pairs = (inner - self.bank.similar(self.labels_of(batch))).square().mean()
        return self.hash_loss(z, batch) + self.settings.weight * pairs

    def _move_prototype(self, targets: Tensor) -> None:
        with torch.enable_grad(), self.full_precision():
            similar = targets @ self.bank.labels.T > 0  # (B, n)
            loss = circle_loss(self.prototype(targets), self.bank.signs, similar, joint=True)
            self.own.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self.own.step()

    def state(self) -> dict[str, Any]:
        """As of every defense, and the prototype net with its optimizer."""
        net = {name: value.detach().cpu().clone() for name, value in self.prototype.state_dict().items()}
        return {**super().state(), "prototype": net, "own": copy.deepcopy(self.own.state_dict())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        super().load_state(state)
        self.prototype.load_state_dict(state["prototype"])
        self.own.load_state_dict(state["own"])
