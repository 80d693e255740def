"""What `HashTask` hands to a method, beside what the loop's own tests say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split
from hamguard.hashing.objective import Objective, Settings
from hamguard.models.hash_model import HashModel
from hamguard.training.augment import augment
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


class Comparing(Objective):
    """Keeps the views that it was shown."""

    name, title, settings_type = "comparing", "a test, 2026", Settings
    needs_views = 3
    first: Tensor | None = None
    others: Tensor | None = None

    def loss(
        self, logits: Tensor, labels: Tensor, index: Tensor, progress: float, views: Tensor | None = None
    ) -> Tensor:
        assert views is not None
        self.first, self.others = logits, views
        return (logits - views).square().mean()


def task_of(blobs: Blobs, kind: type[Objective] = Looking, **more: Any) -> HashTask:
    dataset, split = blobs
    labels = torch.from_numpy(dataset.labels[split.train]).float()
    model = HashModel("conv2", 6, channels=1, size=dataset.images.size)
    return HashTask(model, kind(Settings(), bits=6, labels=labels, seed=0), dataset.images, split.train, **more)


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


def test_a_method_that_asks_sees_several_views_of_the_same_pictures(blobs: Blobs) -> None:
    task = task_of(blobs, Comparing, views="shift")
    index = torch.tensor([5, 2, 9, 0])
    task.step(Batch(index, slice(0, 4), 0.0, torch_generator(3))).backward()
    first, others = task.objective.first, task.objective.others  # type: ignore[attr-defined]
    x, generator = task.images.batch(task.index[index.numpy()]), torch_generator(3)
    views = [augment(x, "shift", generator, slice(0, 4), 4) for _ in range(3)]
    assert first.shape == (4, 6) and others.shape == (2, 4, 6) and not torch.equal(views[0], views[1])
    for logits, view in zip((first, *others), views, strict=True):
        torch.testing.assert_close(logits, task.model.logits(view), atol=1e-5, rtol=0)
    assert all(value.grad is not None for value in task.model.parameters())


def test_views_that_are_the_same_picture_are_refused(blobs: Blobs) -> None:
    with pytest.raises(RequestError, match=r"comparing compares random views of a picture; `augment=none` makes none"):
        task_of(blobs, Comparing)


def test_a_backbone_that_is_kept_does_not_learn_and_is_at_rest(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Comparing, "keeps_backbone", True)
    task = task_of(blobs, Comparing, views="shift")
    task.step(Batch(torch.arange(4), slice(0, 4), 0.0, torch_generator(3))).backward()
    assert all(value.grad is None for value in task.model.backbone.parameters())
    assert not task.model.backbone.training and task.model.head.training
    learned = [value for group in task.parameter_groups() for value in group["params"]]
    assert {id(value) for value in learned} == {id(value) for value in task.model.head.parameters()}
    with pytest.raises(RequestError, match="comparing keeps features, which one process has; leave out torchrun"):
        task_of(blobs, Comparing, views="shift", process_group=ProcessGroup(0, 2))
