"""Batches are bounded by pixels, and codes do not depend on where a batch ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.core.seeds import numpy_generator, torch_generator
from hamguard.data.dataset import ImageStore
from hamguard.models.hash_model import HashModel
from hamguard.training import encode


def test_large_pictures_go_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = HashModel("conv2", 16, channels=1, size=(28, 28), generator=torch_generator(0)).eval()
    images = ImageStore(numpy_generator(0, "pictures").integers(0, 256, (11, 28, 28), np.uint8))
    seen: list[int] = []
    logits = model.logits

    def counted(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return logits(x)

    monkeypatch.setattr(model, "logits", counted)
    whole = encode.packed_codes(model, images, np.arange(11))
    monkeypatch.setattr(encode, "PIXELS", 4 * 28 * 28)
    assert np.array_equal(encode.packed_codes(model, images, np.arange(11)), whole)
    monkeypatch.setattr(encode, "PIXELS", 1)
    assert np.array_equal(encode.packed_codes(model, images, np.arange(2)), whole[:2])
    assert seen == [11, 4, 4, 3, 1, 1]
