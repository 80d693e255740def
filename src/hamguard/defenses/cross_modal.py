"""DCMH+ and SSAH+: adversarial training of cross-modal models, the control that the papers lack, and the min-max form.

Source: C. Li et al., "Cross-Modal Learning with Adversarial Samples", NeurIPS 2019. All three go on from a trained model with the
model's own loss, its label net and discriminators included.

* `static`, as published: adversaries of the first half of the training pairs are made once, on the start model, and stand with
  their true labels in front of the clean pairs; 5 epochs. `form=paper` makes them by the published form of CMLA (500 steps in the
  paper), the default by ours, of which 100 steps are enough; pictures are 8-bit and stand beside their own texts, every clean pair
  is visited (the code keeps JPEG files in directory order and visits two thirds).
* `control`: the same pairs in front, but clean. What it gains is owed to training on.
* `minmax`: adversaries are made in every step for the model as it is, and a batch is learned together with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import PairCodes, pair_codes
from hamguard.attacks.losses.cmla import CmlaLoss, distortion
from hamguard.attacks.methods.cmla import TEXT_EPS, cmla, cmla_text
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import sign
from hamguard.core.checks import parse_eps
from hamguard.core.types import Array
from hamguard.data.dataset import ImageStore
from hamguard.defenses.inner import adversaries, at_rest
from hamguard.hashing.objective import Settings
from hamguard.images.quantize import as_pixels
from hamguard.models.cross_modal import CrossModel
from hamguard.models.folding import folded
from hamguard.training.cross_task import CrossTask, Pairs
from hamguard.training.loop import Batch

GROUP = 128  # pairs attacked at once
CrossDefense = Literal["static", "control", "minmax"]
CROSS_DEFENSES: dict[str, str] = {
    "static": "CMLA's adversarial training: static adversaries of half of the pairs (NeurIPS 2019)",
    "control": "the same pairs in front, clean",
    "minmax": "new adversaries in every step (after Madry et al., ICLR 2018)",
}


class CrossDefenseSettings(Settings):
    """Hyper-parameters of all three; frozen, unknown keys are errors."""

    later = ("form",)

    share: float = Field(
        0.5, gt=0, le=1, description="static, control: share of the pairs that stand in front, the first ones"
    )
    attack_steps: int = Field(100, ge=1, description="static: steps of CMLA (published 500)")
    text_eps: float = Field(TEXT_EPS, gt=0, le=1, description="radius of text adversaries, on the scale of the bag")
    steps: int = Field(5, ge=1, description="minmax: gradients of the inner attack")
    intra: float | None = Field(
        None, ge=0, description="weight of the intra term; static 1 as published, minmax 0, the stronger attack"
    )
    form: Literal["default", "paper"] = Field(
        "default", description="static: form of CMLA that makes the adversaries, see its card"
    )

    @field_validator("text_eps", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return parse_eps(value) if isinstance(value, str) else value


@dataclass
class InnerCross:
    """Adversaries of a batch for the model as it is, which leave the batch's codes of the other modality."""

    task: CrossTask
    image: Attack
    text: Attack
    seed: int

    def pictures(self, x: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`."""
        with at_rest(self.task.model.image) as seen:
            with torch.no_grad():
                own = sign(seen.logits(x))
            return adversaries(
                self.image, seen, x, self._codes(own, labels, batch, "text"), batch.index.tolist(), _draw(batch)
            )

    def bags(self, bags: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Attacked bags, `(B, D)`."""
        text = self.task.model.text
        with torch.no_grad():
            own = sign(text.logits(bags))
        target = self._codes(own, labels, batch, "image")
        return adversaries(self.text, text, bags, target, batch.index.tolist(), _draw(batch))

    def _codes(self, own: Tensor, labels: Tensor, batch: Batch, other: str) -> PairCodes:
        with torch.no_grad():
            if other == "text":
                found = sign(self.task.model.text.logits(self.task.bags[batch.index.to(self.task.device)]))
            else:
                with at_rest(self.task.model.image) as seen:
                    found = sign(seen.logits(self.task.pairs.pictures(batch.index).to(self.task.device)))
        return pair_codes(own, found, labels, labels)


def _draw(batch: Batch) -> int:
    return int(torch.randint(2**62, (), generator=batch.generator))


def inner_cross(task: CrossTask, ask: CrossDefenseSettings, eps: float, seed: int) -> InnerCross:
    """The inner attacks of the min-max form: PGD from a random start, steps of a quarter of the radius, the last point kept."""
    loss = CmlaLoss(ask.intra or 0.0)

    def pgd(eps: float) -> Attack:
        search = SignSteps(ask.steps, max(0.25, 1 / ask.steps) * eps, random_start=True, keep="last")
        return Attack(loss=loss, search=search, threat=Linf(eps), rounding=False)

    return InnerCross(task, pgd(eps), pgd(ask.text_eps), seed)


def in_front(pairs: Pairs, pixels: Array, bags: Array) -> Pairs:
    """The pairs with the first of them once more in front, as these pictures `(m, H, W, ...)` uint8 and bags `(m, D)`."""
    m = len(pixels)
    store = ImageStore(np.concatenate([pixels, pairs.images.pixels(pairs.index)]))
    return Pairs(
        store,
        np.arange(len(store)),
        torch.cat([torch.from_numpy(bags), pairs.bags]),
        torch.cat([pairs.labels[:m], pairs.labels]),
    )


def distances(pairs: Pairs, clean: int) -> dict[str, float]:
    """Mean D of the adversaries in front of `clean` pairs by modality; near 0 where the norm term held them at their originals."""
    m = len(pairs) - clean
    groups = torch.split(torch.arange(m), GROUP)
    image = torch.cat([distortion(pairs.pictures(rows), pairs.pictures(rows + m)) for rows in groups])
    return {"image": float(image.mean()), "text": float(distortion(pairs.bags[:m], pairs.bags[m : 2 * m]).mean())}


def static_adversaries(
    model: CrossModel, pairs: Pairs, m: int, ask: CrossDefenseSettings, eps: float, seed: int
) -> tuple[Array, Array]:
    """Adversaries of the first m pairs on the model as it is: 8-bit pictures and bags `(m, D)`."""
    device = next(model.parameters()).device
    intra = 1.0 if ask.intra is None else ask.intra
    image = cmla(steps=ask.attack_steps, intra=intra, preset=ask.form, threat=Linf(eps))
    text = cmla_text(steps=ask.attack_steps, intra=intra, preset=ask.form, threat=Linf(ask.text_eps))
    model.eval()
    was = [p.requires_grad for p in model.parameters()]
    model.requires_grad_(False)
    bank = _bank(model, pairs, device)
    seen: Any = folded(model.image)
    pixels, bags = [], []
    for start in range(0, m, GROUP):
        rows = torch.arange(start, min(m, start + GROUP))
        labels = pairs.labels[rows].to(device)
        x = pairs.pictures(rows).to(device)
        pixels.append(as_pixels(image(seen, x, labels, bank, index=rows.tolist(), seed=seed).x_adv))
        made = text(model.text, pairs.bags[rows].to(device), labels, bank.swapped(), index=rows.tolist(), seed=seed)
        bags.append(made.x_adv.cpu().numpy())
    for p, flag in zip(model.parameters(), was, strict=True):
        p.requires_grad_(flag)
    return np.concatenate(pixels), np.concatenate(bags)


@torch.no_grad()
def _bank(model: CrossModel, pairs: Pairs, device: torch.device | str) -> PairBank:
    """Clean codes of all pairs."""
    groups = torch.split(torch.arange(len(pairs)), GROUP)
    image = torch.cat([model.image.code(pairs.pictures(rows).to(device)).cpu() for rows in groups])
    text = torch.cat([model.text.code(pairs.bags[rows].to(device)).cpu() for rows in groups])
    return PairBank.join(CodeBank.of(image, pairs.labels), CodeBank.of(text, pairs.labels))
