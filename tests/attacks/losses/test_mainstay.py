"""The masked quadratic against published vectors, and the mirrored form toward a code."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.losses.mainstay import MainstayLoss
from tests.attacks.published import CODE, OUT


@pytest.mark.parametrize(
    ("loss", "direction", "expected"), [(MainstayLoss(), -1, 0.83), (MainstayLoss(printed=True), 1, 0.1033333)]
)
def test_published_vectors(loss: MainstayLoss, direction: int, expected: float) -> None:
    assert float(loss(OUT, CODE, direction)) == pytest.approx(expected, abs=1e-6)


def test_mirrored_toward_form_moves_a_fully_wrong_bit() -> None:
    for printed, slope in ((True, 0.0), (False, -4.0)):
        u = torch.tensor([[-1.0]], requires_grad=True)
        MainstayLoss(printed=printed)(u, torch.ones(1, 1), 1).backward()
        assert u.grad is not None and float(u.grad) == pytest.approx(slope)
