"""The loss of C&W on bits: its equation by hand, zero exactly where an attack has succeeded."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.losses.reach import ReachLoss
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator


def by_hand(z: torch.Tensor, target: torch.Tensor, direction: int, left: int, kappa: float) -> list[float]:
    """`sum over the K - left largest m_k of max(kappa - m_k, 0)`, `m_k = direction target_k z_k`."""
    found = []
    for outputs, code in zip(z.tolist(), target.tolist(), strict=True):
        margins = sorted((direction * c * o for o, c in zip(outputs, code, strict=True)), reverse=True)
        found.append(sum(max(kappa - m, 0.0) for m in margins[: len(margins) - left]))
    return found


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize(("left", "kappa"), [(0, 0.0), (3, 0.0), (2, 0.7)])
def test_it_is_the_equation(direction: int, left: int, kappa: float) -> None:
    z = torch.randn(6, 8, generator=torch_generator(1))
    target = torch.randn(6, 8, generator=torch_generator(2)).sign()
    found = ReachLoss(left, kappa)(z, target, direction)
    assert found.tolist() == pytest.approx(by_hand(z, target, direction, left, kappa), abs=1e-5)


def test_it_is_zero_where_few_enough_bits_are_wrong() -> None:
    z = torch.randn(200, 8, generator=torch_generator(3))
    target = torch.randn(200, 8, generator=torch_generator(4)).sign()
    for direction, left in ((-1, 4), (1, 2)):
        wrong = (z.sign() != direction * target).sum(1)
        assert torch.equal(ReachLoss()(z, target, direction) <= 0, wrong <= left), "C(x') = t exactly where f(x') <= 0"


def test_what_may_be_left() -> None:
    assert ReachLoss().allowed(32, -1) == 16 and ReachLoss().allowed(32, 1) == 2 and ReachLoss(5).allowed(32, 1) == 5
    assert ReachLoss(40).allowed(32, -1) == 31 and ReachLoss().allowed(2, 1) == 1, "a bit at least"
    with pytest.raises(RequestError, match="left must be at least 0"):
        ReachLoss(-1)
    with pytest.raises(RequestError, match="kappa must be at least 0"):
        ReachLoss(kappa=-0.1)
