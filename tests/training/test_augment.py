"""Random views of training pictures."""

from __future__ import annotations

import pytest
import torch

from hamguard.core.seeds import torch_generator
from hamguard.training.augment import augment


@pytest.mark.parametrize("kind", ["flip", "shift", "shift-flip"])
def test_two_processes_see_the_views_of_one(kind: str) -> None:
    x = torch.rand(10, 3, 16, 12)
    whole = augment(x, kind, torch_generator(0, "v"), slice(0, 10), 10)
    parts = [augment(x[p], kind, torch_generator(0, "v"), p, 10) for p in (slice(0, 5), slice(5, 10))]
    assert torch.equal(whole, torch.cat(parts)) and whole.shape == x.shape
    assert not torch.equal(whole, x) and 0 <= float(whole.min()) and float(whole.max()) <= 1
