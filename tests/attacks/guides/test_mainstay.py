"""The mainstay code: by hand, labels as class numbers, and what it misses."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.guides.vote import SignedMean, label_cosine, mainstay_sum
from hamguard.core.errors import RequestError
from tests.attacks.published import BANK, CODE, B, L, Y


def test_the_code_before_the_sign() -> None:
    assert torch.allclose(label_cosine(Y, L), torch.tensor([[0.7071, 1, 0.7071, 0.7071, 0, 0.5]]), atol=1e-4)
    assert torch.allclose(mainstay_sum(Y, B, L), torch.tensor([[1.3333, 1.4477, -1.0572, -1.6095]]), atol=1e-4)
    assert SignedMean()(CODE, Y, BANK, [0], 0).tolist() == [[1, 1, -1, -1]]


def test_without_a_label_only_far_codes_count() -> None:
    assert torch.allclose(mainstay_sum(torch.zeros(1, 3), B, L), -B.mean(0, keepdim=True))


def test_class_numbers_are_rows_of_one_class() -> None:
    for guide in (SignedMean(), SignedMean("center"), RelevantSet()):
        for numbers in (torch.tensor([2]), torch.tensor([2.0])):
            got, want = (guide(CODE, y, BANK, [0], 0) for y in (numbers, torch.eye(3)[[2]]))
            assert repr(got) == repr(want)
    with pytest.raises(RequestError, match="class numbers go up to 9, but there are 3 classes"):
        SignedMean()(CODE, torch.tensor([9]), BANK, [0], 0)
    with pytest.raises(RequestError, match="class numbers must be whole numbers from 0, got 0.4"):
        SignedMean()(CODE, torch.tensor([0.4]), BANK, [0], 0)


def test_what_it_misses_is_said() -> None:
    with pytest.raises(RequestError, match="the mainstay code needs reference codes with labels, got none"):
        SignedMean()(CODE, Y, None, [0], 0)
    with pytest.raises(RequestError, match="labels have 2 classes, the reference codes 3"):
        SignedMean()(CODE, torch.ones(1, 2), BANK, [0], 0)
