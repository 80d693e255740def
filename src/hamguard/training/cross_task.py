"""A cross-modal model learns from pairs of pictures and texts, as the training loop wants it.

One file a method stands in `hashing`: its equations and settings. Here are its networks at work: whose turn it is, what is fixed
meanwhile, what is remembered. Adversarial training hangs in by `adversaries`, which doubles a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError
from hamguard.core.types import Ints
from hamguard.data.dataset import ImageStore
from hamguard.hashing.cross_modal import cross_likelihood
from hamguard.hashing.dcmh import DCMHSettings, dcmh, update_codes
from hamguard.hashing.dsph import DSPHSettings, dsph
from hamguard.hashing.objective import CrossSettings, similarity
from hamguard.hashing.ssah import SSAHSettings, discriminate, mislead, ssah
from hamguard.models.backbones import feature_layer
from hamguard.models.cross_modal import CrossModel
from hamguard.models.dsph_parts import Proxies
from hamguard.models.ssah_parts import SsahParts
from hamguard.training.augment import augment
from hamguard.training.loop import Batch
from hamguard.training.watch import Watch

PASS = 256  # pairs at once where outputs of the whole set are wanted
ADVICE = "What helps: a lower learning rate (`lr=...`), balanced pairs (`balance=true`), more bits, more epochs"


@dataclass(frozen=True)
class Pairs:
    """Training pairs.

    Attributes:
        images: pictures of the data set.
        index: rows of `images`, `(n,)`.
        bags: what the text net takes, `(n, D)`: bags of words in [0, 1], or any real numbers of a sentence encoder.
        labels: multi-hot labels, `(n, C)` float in {0, 1}.

    Raises:
        RequestError: their numbers differ.
    """

    images: ImageStore
    index: Ints
    bags: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if not len(self.index) == len(self.bags) == len(self.labels):
            counts = f"{len(self.index)} pictures, {len(self.bags)} texts, {len(self.labels)} label rows"
            raise RequestError(f"training pairs need one text and one label row a picture, got {counts}")

    def __len__(self) -> int:
        return len(self.index)

    def pictures(self, numbers: Tensor) -> Tensor:
        """Pictures of some pairs, `(b,)` to `(b, C, H, W)` in [0, 1]."""
        return self.images.batch(np.asarray(self.index)[numbers.numpy()])


class Adversaries(Protocol):
    """Makes adversaries of a batch, for the model as it is now."""

    def pictures(self, x: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Attacked pictures of `x`, `(B, C, H, W)`."""

    def bags(self, bags: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Attacked bags of `bags`, `(B, D)`."""


class CrossTask(ABC):
    """Learns one cross-modal model.

    Args:
        model: both sides, changed in place; its device is where the work happens.
        pairs: what it learns from.
        settings: of the method.
        head_lr_factor: learning rate of the image side's hash head divided by that of its backbone.
        views: kind of augmentation.
        seed: of the parts that only training needs.
        features: what the trunk of the image net makes of the pictures, `(n, D)`; what stands above it learns on them, the trunk
            stays as it is and no picture is read.
    """

    def __init__(
        self,
        model: CrossModel,
        pairs: Pairs,
        settings: CrossSettings,
        *,
        head_lr_factor: float = 1.0,
        views: str = "none",
        seed: int = 0,
        features: Tensor | None = None,
    ) -> None:
        self.model, self.pairs, self.settings = model, pairs, settings
        self.items, self.views, self.head_lr_factor = len(pairs), views, head_lr_factor
        self.device = next(model.parameters()).device
        self.labels, self.bags = pairs.labels.to(self.device), pairs.bags.to(self.device)
        self.features = None if features is None else features.to(self.device)
        self.trunk = "image.backbone." + ("0." if feature_layer(model.image.name) else "")  # where its weights stand
        if features is not None:
            model.image.trunk.requires_grad_(False)
        self.adversaries: Adversaries | None = None
        self.parts: nn.Module | None = None  # networks that only training needs
        self.watch = Watch(model.bits)
        del seed

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Image net, its head, text net, and the parts that only training needs; a trunk that stays as it is has none."""
        image, text = self.model.image, self.model.text
        learned = image.backbone if self.features is None else image.neck
        groups = [
            {"params": list(learned.parameters()), "lr_factor": 1.0},
            {"params": list(image.head.parameters()), "lr_factor": self.head_lr_factor},
            {"params": list(text.parameters()), "lr_factor": self.settings.text_lr_factor},
        ]
        return [group for group in groups if group["params"]]

    def begin(self) -> None:  # noqa: B027 - most methods remember nothing
        """Prepare a fresh run."""

    def select(self, epoch: int) -> Tensor | None:
        """All pairs in every epoch."""
        return None

    @abstractmethod
    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch, a scalar with gradient to the nets whose turn it is."""

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Facts about the codes of this epoch.

        Raises:
            CollapseError: the codes became constant.
        """
        return self.watch.end_epoch(epoch, ADVICE)

    def learn(self) -> None:
        """Training mode, but for a trunk that stays as it is."""
        self.model.train()
        if self.features is not None:
            self.model.image.trunk.eval()

    def image_features(self, batch: Batch) -> Tensor:
        """What the hash head of the image net takes of the pictures of a batch, `(B, F)`, with gradient to what learns."""
        if self.features is None:
            return self.model.image.features_of(self.pictures_of(batch))
        found: Tensor = self.model.image.neck(self.features[batch.index.to(self.device)])
        return found

    def image_logits(self, batch: Batch) -> Tensor:
        """Logits of the image net for the pictures of a batch, `(B, K)`."""
        z: Tensor = self.model.image.head(self.image_features(batch))
        return z

    def pictures_of(self, batch: Batch) -> Tensor:
        """Pictures of a batch under their random views, and their adversaries after them where there are any."""
        x = self.pairs.pictures(batch.index).to(self.device)  # (B, C, H, W)
        x = augment(x, self.views, batch.generator, batch.part, len(batch.index))
        if self.adversaries is None:
            return x
        return torch.cat([x, self.adversaries.pictures(x, self.labels[batch.index.to(self.device)], batch)])

    def bags_of(self, batch: Batch) -> Tensor:
        """Bags of a batch, and their adversaries after them where there are any."""
        rows = batch.index.to(self.device)
        bags = self.bags[rows]  # (B, D)
        if self.adversaries is None:
            return bags
        return torch.cat([bags, self.adversaries.bags(bags, self.labels[rows], batch)])

    def rows_of(self, batch: Batch) -> Tensor:
        """Numbers of the pairs that `pictures_of` and `bags_of` return, `(B,)` or `(2 B,)`."""
        rows = batch.index.to(self.device)
        return rows if self.adversaries is None else torch.cat([rows, rows])

    @torch.no_grad()
    def image_outputs(self) -> Tensor:
        """Logits of all pictures, `(n, K)`, in evaluation mode."""
        net = self.model.image
        was = net.training
        net.eval()
        groups = torch.split(torch.arange(self.items), PASS)
        if self.features is not None:
            found = torch.cat([net.tail(part) for part in torch.split(self.features, PASS)])
        else:
            found = torch.cat([net.logits(self.pairs.pictures(rows).to(self.device)) for rows in groups])
        net.train(was)
        return found

    @torch.no_grad()
    def text_outputs(self) -> Tensor:
        """Logits of all texts, `(n, K)`."""
        return torch.cat([self.model.text.logits(part) for part in torch.split(self.bags, PASS)])

    def state(self) -> dict[str, Any]:
        """Networks, what is remembered, and what was seen in this epoch; copies."""
        kept: dict[str, Any] = {"model": _copy(self.model), **self.watch.state()}
        if self.features is not None:  # the trunk is what it was
            for name in self.model.image.trunk.state_dict(prefix=self.trunk):
                del kept["model"][name]
        return {**kept, "parts": _copy(self.parts) if self.parts is not None else {}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.model.load_state_dict(state["model"], strict=self.features is None)
        self.watch.load_state(state)
        if self.parts is not None:
            self.parts.load_state_dict(state["parts"])


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


class DcmhTask(CrossTask):
    """DCMH: the nets take turns against the other's outputs and the codes of the pairs."""

    settings: DCMHSettings

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.f = torch.zeros(self.items, self.model.bits, device=self.device)  # F, (n, K)
        self.g = torch.zeros_like(self.f)  # G, (n, K)
        self.codes = torch.ones_like(self.f)  # B, (n, K)
        self.epoch, self.turn = 0, 0

    def begin(self) -> None:
        """F and G by one pass, then B."""
        self._refresh()

    def select(self, epoch: int) -> Tensor | None:
        """All pairs; where turns are passes, the image net has the even ones."""
        self.epoch = epoch
        return None

    def step(self, batch: Batch) -> Tensor:
        """Eq. (1) for the net whose turn it is."""
        self.learn()
        ask = self.settings
        images = (self.epoch if ask.turns == "pass" else self.turn) % 2 == 0
        self.turn += 1
        rows = self.rows_of(batch)
        memory, fixed = (self.f, self.g) if images else (self.g, self.f)
        z = self.image_logits(batch) if images else self.model.text.logits(self.bags_of(batch))
        z = z.float()  # what is remembered is no half precision
        if images:
            self.watch.look(z.detach().cpu())
        u = ask.relax(z)  # (B, K)
        own = batch.index.to(self.device)
        other = own if ask.against == "batch" else slice(None)
        loss = dcmh(
            u,
            self.labels[rows],
            fixed[other],
            self.labels[other],
            self.codes[rows],
            gamma=ask.gamma,
            eta=ask.eta,
            balance=ask.balance,
            over=ask.over,
            rest=memory.sum(0) - memory[own].sum(0),
        )
        memory[own] = u.detach()[: len(own)]
        return loss

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """F and G of the nets as they are now, then `B = sign(F + G)`."""
        facts = super().end_epoch(epoch)
        self._refresh()
        return {**facts, "code_error": float((self.codes - (self.f + self.g) / 2).square().mean())}

    def _refresh(self) -> None:
        self.f, self.g = self.settings.relax(self.image_outputs()), self.settings.relax(self.text_outputs())
        self.codes = update_codes(self.f, self.g, max(self.settings.gamma, 1.0))  # eq. (8)

    def state(self) -> dict[str, Any]:
        """F, G, B and whose turn it is, besides."""
        memory = {"f": self.f.cpu().clone(), "g": self.g.cpu().clone(), "codes": self.codes.cpu().clone()}
        return {**super().state(), **memory, "turn": self.turn}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        super().load_state(state)
        self.f, self.g, self.codes = (state[name].to(self.device) for name in ("f", "g", "codes"))
        self.turn = int(state["turn"])


class SsahTask(CrossTask):
    """SSAH: label net, image net, text net and both discriminators take one step each on every batch."""

    settings: SSAHSettings
    parts: SsahParts

    def __init__(self, *args: Any, seed: int = 0, **named: Any) -> None:
        super().__init__(*args, seed=seed, **named)
        ask = self.settings
        self.parts = SsahParts(
            self.labels.shape[1], self.model.bits, width=ask.label_width, features=ask.features, seed=seed
        ).to(self.device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parts learn at their own rate."""
        parts, ask = self.parts, self.settings
        critics = [*parts.image_critic.parameters(), *parts.text_critic.parameters()]
        labels = [*parts.label_net.parameters(), *parts.image_label.parameters(), *parts.text_label.parameters()]
        own = [(labels, ask.label_lr_factor), (critics, ask.critic_lr_factor)]
        return [*super().parameter_groups(), *({"params": params, "lr_factor": factor} for params, factor in own)]

    def step(self, batch: Batch) -> Tensor:
        """Eq. (7) and (8): the sum of the nets' losses, each with the others' outputs fixed, so that each gets its own gradient."""
        self.learn()
        ask, parts = self.settings, self.parts
        labels = self.labels[self.rows_of(batch)]  # (B, C)
        terms, delta = ask.weights(items=self.items, bits=self.model.bits, labels=labels.shape[1])
        weights: dict[str, Any] = {**terms, "balance": ask.balance}
        fl, zl, ll = parts.label_net(labels)
        fv = self.image_features(batch)  # (B, F)
        ft = self.model.text.encode(self.bags_of(batch))  # (B, F)
        zv, zt = self.model.image.head(fv), self.model.text.head(ft)  # (B, K)
        self.watch.look(zv.detach().cpu())
        hl, hv, ht = relax(zl), relax(zv), relax(zt)
        guide = (hl.detach(), fl.detach())
        loss = ssah(hl, fl, ll, labels, guide, **weights)  # the label net follows itself
        loss = loss + ssah(hv, fv, parts.image_label(fv), labels, guide, **weights)
        loss = loss + ssah(ht, ft, parts.text_label(ft), labels, guide, **weights)
        if ask.cross:
            similar = similarity(labels, labels)
            for own, other in ((hv, ht), (ht, hv)):
                loss = loss + ask.cross * cross_likelihood(own, other.detach(), similar, balance=ask.balance)
        for critic, f in ((parts.image_critic, fv), (parts.text_critic, ft)):
            loss = loss + discriminate(critic(fl.detach()), critic(f.detach()))  # both discriminators learn
            loss = loss + delta * mislead(fixed(critic)(f))
        return loss


class DsphTask(CrossTask):
    """DSPH: image net, text net and proxies take one step each on every batch."""

    settings: DSPHSettings
    parts: Proxies

    def __init__(self, *args: Any, seed: int = 0, **named: Any) -> None:
        super().__init__(*args, seed=seed, **named)
        classes, bits = self.labels.shape[1], self.model.bits
        self.parts = Proxies(classes, bits, seed=seed).to(self.device)
        self.delta = self.settings.far(bits=bits, classes=classes)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The proxies learn at their own rate."""
        own = {"params": list(self.parts.parameters()), "lr_factor": self.settings.proxy_lr_factor}
        return [*super().parameter_groups(), own]

    def step(self, batch: Batch) -> Tensor:
        """Both nets toward the proxies of their labels, and pairs without a common label apart."""
        self.learn()
        ask, labels = self.settings, self.labels[self.rows_of(batch)]  # (B, C)
        zv = self.image_logits(batch).float()  # (B, K)
        zt = self.model.text.logits(self.bags_of(batch)).float()  # (B, K)
        self.watch.look(zv.detach().cpu())
        u, t, proxies = relax(zv), relax(zt), self.parts.points
        return dsph(u, t, labels, proxies, delta=self.delta, alpha=ask.alpha, balance=ask.balance)


def fixed(module: nn.Module) -> Any:
    """The module as a function of its input alone: gradients pass through it and leave its weights alone."""
    frozen = {name: value.detach() for name, value in module.named_parameters()}
    return lambda x: torch.func.functional_call(module, frozen, (x,))


TASKS: dict[str, type[CrossTask]] = {"dcmh": DcmhTask, "dsph": DsphTask, "ssah": SsahTask}
