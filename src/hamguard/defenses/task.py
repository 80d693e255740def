"""What all defenses share: a model that goes on learning codes, the bank of its training codes, and the inner attack.

A method file holds one `step`, which reads like the printed algorithm and calls what is here. The common loop runs it, so resume,
order, views and several processes are those of hash training: the inner attack works on a process's own part of the batch, losses
are computed on the codes of all parts.

Common to all methods, and different from the published code:

* The bank begins with the codes of the start model; ATRDH's begins with zeros, so that its first epoch compares with nothing.
* The inner attack sees the model in evaluation mode with frozen weights; the published code leaves it in training mode.
* Clean and attacked pictures go through the network as one batch, so with batch norm they share its statistics.
* The clean loss is that of the model's own hash method, with its own settings and its own centers, unless asked otherwise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.threat import Threat
from hamguard.codes.binary import relax
from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import derive_seed, torch_generator
from hamguard.core.types import Ints
from hamguard.data.dataset import ImageStore
from hamguard.defenses.average import Average
from hamguard.defenses.bank import TrainingBank
from hamguard.defenses.inner import adversaries, at_rest
from hamguard.defenses.settings import AdversarySettings, DefenseSettings
from hamguard.hashing.objective import Objective
from hamguard.models.folding import Folding
from hamguard.models.hash_model import HashModel
from hamguard.training.augment import augment
from hamguard.training.distributed import gather
from hamguard.training.hash_task import HashTask
from hamguard.training.loop import Batch

ALARM = 0.15
"""A longer attack that turns this share of all bits more than the one-step attack says that the model has learned to fool it."""


class Defense(ABC):
    """A defense at work on one model and one training set, as the training loop wants it.

    Args:
        model: the network, changed in place; its device is where the work happens.
        objective: loss of clean pictures, made for the labels of these items.
        images: pictures of the data set.
        index: rows of `images` that are trained on, `(n,)`.
        settings: of the method.
        threat: what the defense is for.
        seed: seed of whatever the method draws.
        head_lr_factor: learning rate of the hash head divided by that of the backbone.
        views: kind of augmentation.
        process_group: this process among several.

    Raises:
        RequestError: a wrong guide, loss or radius, or labels that are needed and missing.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    settings_type: ClassVar[type[DefenseSettings]]
    needs_labels = True
    paper: ClassVar[dict[str, Any]] = {}  # recipe and weights of the authors' code, where known; `--preset paper`
    doubles: ClassVar[bool] = True  # whether attacked pictures go through the outer step, too

    def __init__(
        self,
        model: HashModel,
        objective: Objective,
        images: ImageStore,
        index: Ints,
        settings: DefenseSettings,
        threat: Threat,
        *,
        seed: int = 0,
        head_lr_factor: float = 1.0,
        views: str = "none",
        process_group: ProcessGroup | None = None,
    ) -> None:
        self.codes = HashTask(
            model, objective, images, index, head_lr_factor=head_lr_factor, views=views, process_group=process_group
        )
        self.model, self.objective, self.settings, self.seed = model, objective, settings, seed
        self.threat, self.views, self.process_group = threat, views, self.codes.process_group
        self.items, self.device = self.codes.items, self.codes.device
        self.folding = Folding()
        self.bank = TrainingBank(objective.labels, model.bits)
        self.average = Average(self.codes.learned, settings.average) if settings.average else None
        self.attack = settings.attack(threat) if isinstance(settings, AdversarySettings) else None
        if not self.bank.labels.any() and (self.needs_labels or (self.attack and self.attack.guide.needs_labels)):
            raise RequestError(f"{self.name} needs labels; without: consistency, distill, trades")

    # What the loop asks

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Backbone and head, as in hash training."""
        return self.codes.parameter_groups()

    def begin(self) -> None:
        """Fill the bank with the codes of the start model, and show them to the objective where it wants them."""
        z = self.codes.outputs()  # (n, K)
        self.bank.fill(relax(z))
        if self.objective.needs_start:
            self.objective.start(z)

    def select(self, epoch: int) -> Tensor | None:
        """The hash method's own subset of this epoch, or the next `pictures` of the training set; None for all."""
        chosen, few = self.objective.select(epoch), self.settings.pictures
        pool = torch.arange(self.items) if chosen is None else chosen
        if not 0 < few < len(pool):
            return chosen
        around, place = divmod(epoch, len(pool) // few)  # no picture comes again before the others had their turn
        order = torch.randperm(len(pool), generator=torch_generator(self.seed, "pictures", around))
        return pool[order[place * few : (place + 1) * few]]

    @abstractmethod
    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch, a scalar with gradient."""

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The objective's updates between epochs; what the codes were like; whether a one-step attack still works.

        Raises:
            CollapseError: the codes became constant.
        """
        facts = self.codes.end_epoch(epoch)
        return {**facts, **self._compare(epoch)} if self.attack and self._is_fast else facts

    def state(self) -> dict[str, Any]:
        """Network, objective, bank, averaged weights; copies."""
        kept: dict[str, Any] = {"codes": self.codes.state(), "bank": self.bank.u.detach().cpu().clone()}
        return {**kept, "average": self.average.state() if self.average else {}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.codes.load_state(state["codes"])
        self.bank.fill(state["bank"].to(self.device))
        if self.average:
            self.average.load_state(state["average"])

    def finish(self) -> None:
        """After the last step: averaged weights, where they were asked for, become the model's."""
        if self.average:
            self.average.update()
            self.average.apply()

    # What steps are made of

    def pictures(self, batch: Batch) -> Tensor:
        """This process's clean pictures of a batch, with their random views, `(b, C, H, W)`."""
        self.learn()
        x = self._read(batch).to(self.device)
        return augment(x, self.views, batch.generator, batch.part, len(batch.index))

    def learn(self) -> None:
        """A step begins: the mean takes the weights that the last one left, and the model is in training mode."""
        if self.average:
            self.average.update()
        self.codes.learn()

    def _read(self, batch: Batch) -> Tensor:
        return self.codes.images.batch(self.codes.index[batch.index[batch.part].numpy()])

    def labels_of(self, batch: Batch) -> Tensor:
        """Labels of the whole batch, `(B, C)`."""
        return self.bank.labels[batch.index.to(self.bank.labels.device)]

    def guide(self, batch: Batch) -> Tensor:
        """Codes that the adversaries of the whole batch leave, from the bank as it is now, `(B, K)` in {-1, +1}."""
        assert self.attack is not None
        return self._guide_of(batch.index, self.labels_of(batch))

    def _guide_of(self, index: Tensor, labels: Tensor) -> Tensor:
        with self.full_precision():
            return self._guide_made(index, labels)

    def _guide_made(self, index: Tensor, labels: Tensor) -> Tensor:
        assert self.attack is not None
        maker = self.attack.guide
        if isinstance(maker, SignedMean):
            return self.bank.vote(labels, weighted=maker.name == "mainstay")
        own = self.bank.signs[index.to(self.bank.signs.device)]
        if not maker.needs_labels:
            return own
        code = maker(own, labels, self.bank.code_bank(), index.tolist(), self.seed)
        assert isinstance(code, Tensor)
        return code

    def adversaries(self, batch: Batch, x: Tensor, target: Tensor, attack: Attack | None = None) -> Tensor:
        """Attacked pictures of this process's part, `(b, C, H, W)`; `target` `(B, K)` is given for the whole batch."""
        attack = attack or self.attack
        assert attack is not None
        draw = int(torch.randint(2**62, (), generator=batch.generator))  # equal on all processes
        with at_rest(self.model, self.folding) as seen:
            return adversaries(attack, seen, x, target[batch.part], batch.index[batch.part].tolist(), draw)

    def outputs(self, *pictures: Tensor) -> list[Tensor]:
        """Logits of kinds of pictures, `(b, C, H, W)` each to `(B, K)` each: all processes' parts in order, with gradient."""
        z = self.codes.net(torch.cat(pictures)).float()  # (kinds * b, K)
        found = [gather(part, self.process_group) for part in z.chunk(len(pictures))]
        self.codes.look(found[0].detach().cpu())
        return found

    def hash_loss(self, z: Tensor, batch: Batch) -> Tensor:
        """The hash method's loss of the whole batch's logits `(B, K)`."""
        with self.full_precision():
            return self.objective.loss(z, self.labels_of(batch).to(z.device), batch.index.to(z.device), batch.progress)

    def full_precision(self) -> AbstractContextManager[Any]:
        """Mixed precision is for the network; votes over thousands of codes and losses are computed in full."""
        return torch.autocast(self.device.type, enabled=False)

    # The alarm

    @property
    def _is_fast(self) -> bool:
        return isinstance(self.settings, AdversarySettings) and self.settings.fast

    def _compare(self, epoch: int) -> dict[str, float]:
        """Share of bits that the one-step attack turns on a few training pictures, and a longer one; and the alarm."""
        assert isinstance(self.settings, AdversarySettings) and self.attack is not None
        count = min(self.settings.alarm_pictures, self.items)
        index = torch.from_numpy(np.linspace(0, self.items - 1, count).astype(np.int64))  # (m,)
        target = self._guide_of(index, self.bank.labels[index.to(self.bank.labels.device)])
        x = self.codes.images.batch(self.codes.index[index.numpy()]).to(self.device)
        seed = derive_seed(self.seed, "alarm", epoch)
        shares = []
        for attack in (self.attack, self.settings.check_attack(self.threat)):
            with at_rest(self.model, self.folding) as seen:
                x_adv = adversaries(attack, seen, x, target, index.tolist(), seed)
                with torch.no_grad():
                    shares.append(float((self.model.logits(x_adv) * target < 0).float().mean()))
        one, many = shares
        return {"one_step": one, "many_steps": many, "overfitted": float(overfitted(one, many))}


def overfitted(one: float, many: float) -> bool:
    """Whether a longer attack turns far more bits than the one-step attack that a model was trained with.

    Args:
        one: share of bits turned by the one-step attack, in [0, 1].
        many: share turned by the longer attack.

    >>> overfitted(0.30, 0.35), overfitted(0.05, 0.60)
    (False, True)
    """
    if not (math.isfinite(one) and math.isfinite(many)):
        raise RunError("the model returns NaN; its weights are broken")
    return many - one > ALARM
