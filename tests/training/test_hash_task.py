"""What `HashTask` hands to a method, beside what the loop's own tests say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split
from hamguard.hashing.objective import Objective, Settings
from hamguard.models.hash_model import HashModel
from hamguard.training.hash_task import HashTask
from hamguard.training.loop import Batch

Blobs = tuple[Dataset, Split]


class Looking(Objective):
    """Keeps what it was shown."""

    name, title, settings_type = "looking", "a test, 2026", Settings
    needs_features = True
    seen: Tensor | None = None

    def loss(
        self, logits: Tensor, labels: Tensor, index: Tensor, progress: float, features: Tensor | None = None
    ) -> Tensor:
        self.seen = features
        return logits.square().mean()


def task_of(blobs: Blobs, **more: Any) -> HashTask:
    dataset, split = blobs
    labels = torch.from_numpy(dataset.labels[split.train]).float()
    model = HashModel("conv2", 6, channels=1, size=dataset.images.size)
    return HashTask(model, Looking(Settings(), bits=6, labels=labels, seed=0), dataset.images, split.train, **more)


def test_a_method_that_asks_sees_the_features_of_its_batch_without_gradient(blobs: Blobs) -> None:
    task = task_of(blobs)
    index = torch.tensor([5, 2, 9, 0])
    task.step(Batch(index, slice(0, 4), 0.0, torch.Generator())).backward()
    seen = task.objective.seen  # type: ignore[attr-defined]
    x = task.images.batch(task.index[index.numpy()])
    assert seen.shape == (4, task.model.features) and not seen.requires_grad
    assert torch.allclose(seen, task.model.features_of(x), atol=1e-5)
    assert all(value.grad is not None for value in task.model.parameters()), "all weights learn, the backbone's too"


def test_features_belong_to_one_process(blobs: Blobs) -> None:
    with pytest.raises(RequestError, match="looking looks at features, which one process has; leave out torchrun"):
        task_of(blobs, process_group=ProcessGroup(0, 2))
