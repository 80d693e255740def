"""The mainstay code: by hand, labels as class numbers, and what it misses."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.guides.vote import SignedMean, label_cosine, mainstay_sum
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from tests.attacks.published import BANK, CODE, B, L, Y

NAMES = ("mainstay", "center")


def test_the_code_before_the_sign() -> None:
    assert torch.allclose(label_cosine(Y, L), torch.tensor([[0.7071, 1, 0.7071, 0.7071, 0, 0.5]]), atol=1e-4)
    assert torch.allclose(mainstay_sum(Y, B, L), torch.tensor([[1.3333, 1.4477, -1.0572, -1.6095]]), atol=1e-4)
    assert SignedMean()(CODE, Y, BANK, [0], 0).tolist() == [[1, 1, -1, -1]]


def printed_objective(code: Tensor, label: Tensor, codes: Tensor, labels: Tensor) -> float:
    """What DMFL minimizes, bit by bit: weighted mean distance to codes that share a label, minus mean distance to the others."""
    near = far = near_weights = far_count = 0.0
    for other, other_label in zip(codes, labels, strict=True):
        distance = sum(int(a != b) for a, b in zip(code.tolist(), other.tolist(), strict=True))
        shared = float(label @ other_label)
        if shared:
            weight = shared / float(label.norm() * other_label.norm())
            near, near_weights = near + weight * distance, near_weights + weight
        else:
            far, far_count = far + distance, far_count + 1
    return near / max(near_weights, 1e-12) - far / max(far_count, 1)


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_no_code_of_all_is_a_better_mainstay(bits: int) -> None:
    everything = [torch.tensor(code) for code in product((-1.0, 1.0), repeat=bits)]
    missed = 0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        codes = 2.0 * torch.randint(2, (9, bits), generator=generator) - 1  # (N, K)
        labels = (torch.rand(9, 3, generator=generator) < 0.4).float()  # (N, C), some without any label
        bank = CodeBank.of(codes.numpy(), labels.numpy().astype("uint8"), ids=torch.arange(9).numpy().astype(str))
        for label in map(torch.tensor, product((0.0, 1.0), repeat=3)):
            values = [printed_objective(code, label, codes, labels) for code in everything]
            made, unweighted = (SignedMean(name)(codes[:1], label[None], bank, [0], 0)[0] for name in NAMES)
            assert printed_objective(made, label, codes, labels) == pytest.approx(min(values), abs=1e-6)
            # its opposite is the farthest, which is what an attack moves to
            assert printed_objective(-made, label, codes, labels) == pytest.approx(max(values), abs=1e-6)
            missed += printed_objective(unweighted, label, codes, labels) > min(values) + 1e-3
    assert missed or bits < 6  # CgAT's code is another one, and the search tells them apart


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
