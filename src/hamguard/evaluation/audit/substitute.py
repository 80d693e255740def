"""A substitute: a small network of its own kind that learns to give the audited model's codes, for pictures that transfer.

Paper: N. Papernot et al., "Practical Black-Box Attacks against Machine Learning", ASIACCS 2017. It needs no gradient of the audited
model, so it reaches models that hide theirs.

Deliberate differences: the substitute learns from the training part as it is, without added pictures, and it imitates bits instead
of a class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.core.digests import digest_json
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Ints
from hamguard.data.dataset import ImageStore
from hamguard.evaluation.audit.bench import Bench
from hamguard.models.hash_model import HashModel
from hamguard.trainers.networks import pixel_statistics
from hamguard.training.augment import augment
from hamguard.training.loop import Batch, PlainTask, fit
from hamguard.training.recipe import Recipe

PICTURES = 10_000  # more help little
PIXELS = 10_000 * 32 * 32  # of all pictures together: large ones are seen less often
RECIPE = Recipe(epochs=6, lr=3e-3, schedule="one-cycle", batch_size=100, checkpoint_seconds=20)


class Imitation(PlainTask):
    """Learns the bits of codes, as the training loop wants it.

    Args:
        model: the substitute, changed in place.
        images: pictures of the data set.
        index: rows that are learned from, `(n,)`.
        codes: the audited model's codes of them, `(n, K)` in {-1, +1}.
    """

    def __init__(self, model: HashModel, images: ImageStore, index: Ints, codes: Tensor) -> None:
        self.net: HashModel = model
        self.images, self.index, self.codes = images, index, codes
        self.items = len(index)

    def step(self, batch: Batch) -> Tensor:
        """Mean logistic loss of the bits."""
        self.net.train()
        device = next(self.net.parameters()).device
        x = self.images.batch(self.index[batch.index.numpy()]).to(device)  # (B, C, H, W)
        x = augment(x, "shift", batch.generator, slice(0, len(x)), len(x))
        z = self.net.logits(x)  # (B, K)
        return F.softplus(-self.codes[batch.index].to(z) * z).mean()

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Nothing to report."""
        return {}

    def state(self) -> dict[str, Any]:
        """The weights."""
        return {"model": self.net.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.net.load_state_dict(state["model"])


def train_substitute(bench: Bench) -> HashModel:
    """A trained substitute, in evaluation mode and frozen; training goes on where it was stopped.

    Raises:
        StoppedError: a person stopped the run.
    """
    ground = bench.ground
    images, train = ground.dataset.images, ground.split.train
    height, width = images.size
    most = min(PICTURES, max(500, PIXELS // (height * width)), len(train))
    picked = np.linspace(0, len(train) - 1, most).astype(np.int64)
    mean, std = pixel_statistics(images, train)
    model = HashModel(
        backbone_for(images.size),
        ground.model.bits,
        channels=images.channels,
        size=images.size,
        mean=mean,
        std=std,
        generator=torch_generator(ground.seed, "substitute"),
    ).to(ground.device)
    model.to(memory_format=torch.channels_last)
    task = Imitation(model, images, train[picked], ground.reference.select(picked).codes)
    recipe = RECIPE.model_copy(update={"batch_size": min(100, max(2, most // 10))})
    folder = bench.work / "substitute"
    folder.mkdir(parents=True, exist_ok=True)
    fit(
        task,
        recipe,
        seed=ground.seed,
        folder=folder,
        run=digest_json([ground.model.digest, ground.split.digest, most]),
        progress=bench.progress,
    )
    return model.eval().requires_grad_(False)


def backbone_for(size: tuple[int, int]) -> str:
    """The convolutions that learn a picture size from nothing in a minute."""
    return "conv2" if min(size) <= 28 else "conv8"
