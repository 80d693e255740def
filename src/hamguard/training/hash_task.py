"""`HashTask`: a hash model and an objective on one training set, as the loop wants it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.core.types import Ints
from hamguard.data.dataset import ImageStore
from hamguard.hashing.objective import Objective
from hamguard.models.hash_model import HashModel
from hamguard.models.head_norm import fold_head_norm
from hamguard.training.augment import augment, drop
from hamguard.training.distributed import gather
from hamguard.training.features import frozen_features, has_features
from hamguard.training.loop import Batch
from hamguard.training.watch import Watch

FIRST_PASS = 256  # pictures at once where a method wants outputs of the whole set


def advice(objective: Objective | None) -> str:
    """What to change where all codes are equal; `None` stands for a head that was fitted without labels."""
    if objective is None:
        return "Its features are equal, too: give trained weights (`weights`) or another `backbone`"
    hints = ["a lower learning rate (`lr=...`)"]
    if "pairs" in objective.settings_type.model_fields:
        hints += ["in-batch pairs (`pairs=batch`)", "balanced pairs (`balance=true`)"]
    return f"What helps: {', '.join(hints)}, normalized inputs (`normalization=data`), more bits, more epochs"


class HashTask:
    """Learns hash codes.

    A backbone whose weights take no gradient (`requires_grad_(False)`) stays bit for bit what it is: the head alone learns. Its
    batch norms are at rest, as they are wherever features are given; `at_rest` keeps them so where all weights learn.

    Args:
        model: the network, changed in place; its device is where the work happens.
        objective: the method, made for the labels of these items.
        images: pictures of the data set.
        index: rows of `images` that are trained on, `(n,)`.
        head_lr_factor: learning rate of the hash head divided by that of the backbone.
        views: kind of augmentation; `drop` is that of features.
        features: what the backbone makes of these items, `(n, D)`; the head learns on them, and no picture is read.
        finetunes_from: epoch from which all weights learn on pictures, where the head learned on features; None for never.
        process_group: this process among several.

    Raises:
        RequestError: the labels do not match the pictures; several processes for a method that looks at features or keeps the
            backbone; or no random views for one that compares views.
    """

    def __init__(
        self,
        model: HashModel,
        objective: Objective,
        images: ImageStore,
        index: Ints,
        *,
        head_lr_factor: float = 1.0,
        views: str = "none",
        features: Tensor | None = None,
        finetunes_from: int | None = None,
        process_group: ProcessGroup | None = None,
    ) -> None:
        if len(index) != len(objective.labels):
            raise RequestError(f"{len(index)} training pictures need as many label rows, got {len(objective.labels)}")
        several = process_group is not None and process_group.size > 1
        if objective.keeps_backbone:
            model.trunk.requires_grad_(False)
        if several and features is None and (objective.needs_features or objective.keeps_backbone):
            why = "looks at" if objective.needs_features else "keeps"
            raise RequestError(f"{objective.name} {why} features, which one process has; leave out torchrun")
        if objective.needs_views > 1 and features is not None and (views != "drop" or finetunes_from is not None):
            raise RequestError(
                f"{objective.name} compares random views of a picture; a frozen backbone sees none, "
                "`augment=drop` makes some of features"
            )
        if objective.needs_views > 1 and views == "none":
            raise RequestError(
                f"{objective.name} compares random views of a picture; `augment=none` makes none, `augment=crop-color` does"
            )
        self.model, self.objective = model, objective
        self.images, self.index = images, np.asarray(index)
        self.items = len(index)
        self.head_lr_factor, self.views = head_lr_factor, views
        self.process_group = process_group or ProcessGroup()
        self.device = next(model.parameters()).device
        self.learned: nn.Module = model.tail if rests(model.trunk) else model
        self.at_rest = features is not None or self.learned is not model
        self.features, self.finetunes_from, self._epoch = (
            None if features is None else features.to(self.device),
            finetunes_from,
            0,
        )
        inner = model if features is None else model.tail
        self.net: nn.Module = inner if self.process_group.size == 1 else DistributedDataParallel(inner)
        self._watch = Watch(model.bits)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Backbone where it learns, head, and what the method has of its own, each with its factor on the learning rate."""
        learns = self.learned is self.model
        upper = self.model.head if learns else self.model.tail
        groups = [
            {"params": list(self.model.backbone.parameters()) if learns else [], "lr_factor": 1.0},
            {"params": list(upper.parameters()), "lr_factor": self.head_lr_factor},
            {"params": self.objective.parameters(), "lr_factor": self.head_lr_factor},
        ]
        return [group for group in groups if group["params"]]

    def begin(self) -> None:
        """Show the method the outputs of the untrained network, where it wants them."""
        if self.objective.needs_start:
            self.objective.start(self.outputs())

    def select(self, epoch: int) -> Tensor | None:
        """The method's own subset of this epoch, or None."""
        self._epoch = epoch
        return self.objective.select(epoch)

    def step(self, batch: Batch) -> Tensor:
        """Loss of the global batch: own pictures through the network, codes of all processes into the objective."""
        self.learn()
        if (known := self._known) is not None:
            every = known[batch.index.to(self.device)]  # (B, D)
            x = every[batch.part]  # (b, D)
            if self.views == "drop":
                views = [drop(x, batch.generator, batch.part, len(every)) for _ in range(self.objective.needs_views)]
                x = torch.cat(views)  # (views * b, D)
            return self.loss_of(self.net(x).float(), batch, every)
        asked = self.objective
        x = self.images.batch(self.index[batch.index[batch.part].numpy()]).to(self.device)  # (b, C, H, W)
        total, kind = len(batch.index), "none" if self.views == "drop" else self.views
        views = [augment(x, kind, batch.generator, batch.part, total) for _ in range(asked.needs_views)]
        x = views[0] if len(views) == 1 else torch.cat(views)  # (views * b, C, H, W)
        if not asked.needs_features and self.learned is self.model:
            return self.loss_of((self.net if self.finetunes_from is None else self.model)(x).float(), batch)
        with torch.set_grad_enabled(self.learned is self.model):
            features = self.model.trunk_of(x)  # (views * B, D)
        z = self.model.tail(features).float()
        return self.loss_of(z, batch, features.detach().float().chunk(asked.needs_views)[0])

    def learn(self) -> None:
        """Training mode, but for a backbone that stays as it is."""
        if not self.at_rest:
            self.model.train()
            return
        self.model.head.train()
        if (
            self.model.backbone.training
        ):  # asked first, for a large one has hundreds of parts to tell, which costs more than a step
            self.model.backbone.eval()

    @property
    def _known(self) -> Tensor | None:
        """Features that are those of the backbone as it is."""
        return self.features if self.finetunes_from is None or self._epoch < self.finetunes_from else None

    def loss_of(self, z: Tensor, batch: Batch, features: Tensor | None = None) -> Tensor:
        """Loss of the global batch.

        Args:
            z: this process's logits, view after view, `(views * b, K)`.
            batch: the batch.
            features: of the first views, `(B, D)`, for a method that looks at them.
        """
        views = z.chunk(self.objective.needs_views)  # (b, K) each
        logits, *others = [gather(view, self.process_group) for view in views]  # (B, K) each
        self.look(logits.detach().cpu())
        labels = self.objective.labels[batch.index.to(self.objective.labels.device)]  # (B, C)
        index = batch.index.to(logits.device)
        more: dict[str, Any] = {"features": features} if self.objective.needs_features else {}
        if others:
            more["views"] = torch.stack(others)  # (views - 1, B, K)
        return self.objective.loss(logits, labels.to(logits.device), index, batch.progress, **more)

    def look(self, logits: Tensor) -> None:
        """Note what the epoch's codes are like, from the logits `(B, K)` of a batch on the CPU."""
        self._watch.look(logits)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The method's updates between epochs, then a look at the codes of this epoch.

        Raises:
            CollapseError: from the second epoch on, every batch had one code only, for at least `PATIENCE` batches.
        """
        self.objective.end_epoch(epoch)
        return self._watch.end_epoch(epoch, advice(self.objective))

    def outputs(self, every: int = 1) -> Tensor:
        """Logits of every `every`-th training item, `(n / every, K)`, in evaluation mode, no gradient."""
        self.model.eval()
        rows = self.index[::every]
        with torch.no_grad():
            if (known := self._known) is not None:
                return self.model.tail(known[::every]).float()  # type: ignore[no-any-return]
            if has_features(self.model, self.images):
                return self.model.tail(frozen_features(self.model, self.images, rows).to(self.device)).float()  # type: ignore[no-any-return]
            parts = [
                self.model.logits(self.images.batch(rows[i : i + FIRST_PASS]).to(self.device)).float()
                for i in range(0, len(rows), FIRST_PASS)
            ]
        return torch.cat(parts)  # (n, K)

    def state(self) -> dict[str, Any]:
        """What learns, objective and what was seen in this epoch; copies, so that training on does not change them."""
        return {
            "model": {name: value.detach().cpu().clone() for name, value in self.learned.state_dict().items()},
            "objective": {name: value.detach().cpu().clone() for name, value in self.objective.state.items()},
            **self._watch.state(),
            **({} if self.finetunes_from is None else {"epoch": self._epoch}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.learned.load_state_dict(state["model"])
        self.objective.load_state({name: value.to(self.device) for name, value in state["objective"].items()})
        self._watch.load_state(state)
        self._epoch = int(state.get("epoch", 0))

    def finish(self) -> None:
        """After the last step: a batch norm before the code becomes part of the head."""
        fold_head_norm(self.model)


def rests(part: nn.Module) -> bool:
    """Whether a part of a network has weights, and none of them learns."""
    learning = [value.requires_grad for value in part.parameters()]
    return bool(learning) and not any(learning)
