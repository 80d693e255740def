"""The center code: by hand, and what it misses."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.vote import SignedMean, mainstay_sum
from hamguard.core.errors import RequestError
from tests.attacks.published import BANK, CODE, B, L, Y


def test_the_code_before_the_sign() -> None:
    assert torch.allclose(mainstay_sum(Y, B, L, weighted=False), torch.tensor([[1.2, 1.6, -1.2, -1.6]]))
    assert SignedMean("center")(CODE, Y, BANK, [0], 0).tolist() == [[1, 1, -1, -1]]


def test_no_code_on_the_other_side_counts_nothing() -> None:
    everything = torch.tensor([[1.0, 1, 1]])
    assert torch.allclose(mainstay_sum(everything, B, L, weighted=False), B.mean(0, keepdim=True))


def test_labels_are_needed() -> None:
    with pytest.raises(RequestError, match="the center code needs the labels of the pictures"):
        SignedMean("center")(CODE, None, BANK, [0], 0)
