"""CgAT: adversarial training against pictures that leave the center code of their labels.

Paper: X. Wang, Y. Lin, X. Li, "CgAT: Center-Guided Adversarial Training for Deep Hashing-Based Retrieval", WWW 2023 (arXiv
2204.10779). Similar codes count alike in a center, as in the authors' code. Deliberate differences: those of `task`; `lam`
is 0.75 instead of 1, as in SAAT; and the recipe, Adam with rate 1e-3 and a cosine instead of SGD with rate 0.01, momentum 0.9,
weight decay 5e-4, 30 epochs. `--preset paper` has both.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.defenses.registry import register
from hamguard.defenses.settings import AdversarySettings
from hamguard.defenses.task import Defense
from hamguard.training.loop import Batch


class CgATSettings(AdversarySettings):
    """Hyper-parameters of CgAT."""

    guide: str = Field("center", description="code that adversaries leave: mainstay, center, own, anchor or p2p")
    lam: float = Field(0.75, ge=0, description="weight of the attacked codes' agreement with the guide, authors 1")


@register("cgat")
class CgAT(Defense):
    """`min L_hash(x) - lam mean(f(x') c)`, x' the pictures that leave the center code c."""

    title = "CgAT (Wang, Lin, Li, WWW 2023)"
    paper: ClassVar[dict[str, Any]] = {
        "lam": 1.0,
        "epochs": 30,
        "batch_size": 32,
        "optimizer": "sgd",
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "late-step",
        "augment": "shift-flip",
    }
    settings_type = CgATSettings
    settings: CgATSettings

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch."""
        x = self.pictures(batch)  # (b, C, H, W)
        x_adv = self.adversaries(batch, x, self.guide(batch))  # inner: max d_H(f(x'), c)
        z, z_adv = self.outputs(x, x_adv)  # (B, K) each
        self.bank.refresh(batch.index, relax(z))
        code = self.guide(batch).to(z)  # c again, of the refreshed bank, (B, K)
        return self.hash_loss(z, batch) - self.settings.lam * (relax(z_adv) * code).mean()
