"""Gradients through steps and saturated parts: the same outputs, and slopes where there are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hamguard.attacks.through import Through


class Victim:
    """A linear hash function with something in its way."""

    bits = 3

    def __init__(self, way: Callable[[Tensor], Tensor]) -> None:
        self.way = way
        self.weight = torch.tensor([[1.0, -2, 3, 4], [2, 1, -1, 5], [-3, 1, 2, -1]])

    def logits(self, x: Tensor) -> Tensor:
        return self.way(x.flatten(1) @ self.weight.T)


def slope(victim: Victim | Through, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(victim.logits(x)[:, 0].sum(), x)
    return found


X = torch.tensor([0.3, 0.8, 0.1, 0.6]).view(1, 1, 2, 2)


@pytest.mark.parametrize("step", [torch.round, torch.floor, torch.ceil, torch.sign, Tensor.trunc])
def test_a_step_passes_the_gradient_on(step: Callable[[Tensor], Tensor]) -> None:
    victim = Victim(lambda z: step(7 * z))
    assert torch.equal(Through(victim).logits(X), victim.logits(X))
    assert (slope(victim, X) == 0).all()
    assert slope(Through(victim), X).flatten() == pytest.approx(7 * victim.weight[0])


@pytest.mark.parametrize(
    "bend", [torch.tanh, torch.sigmoid, Tensor.tanh, torch.nn.Tanh(), torch.nn.functional.hardtanh]
)
def test_saturation_bends_again(bend: Callable[[Tensor], Tensor]) -> None:
    victim = Victim(lambda z: bend(100 * z))
    assert torch.equal(Through(victim).logits(X), victim.logits(X))
    assert (slope(victim, X) == 0).all()
    found = slope(Through(victim), X).flatten()
    assert (found.sign() == victim.weight[0].sign()).all(), "bits rise where their weights say"


def test_a_tanh_that_bends_keeps_its_own_slope() -> None:
    victim = Victim(lambda z: torch.tanh(0.1 * z))
    torch.testing.assert_close(
        slope(Through(victim), X), slope(victim, X), rtol=1e-5, atol=0
    )  # 1 in its place: 2% more


def test_it_says_whether_there_is_anything_to_pass() -> None:
    assert Through(Victim(lambda z: z.relu())).meets(X) == 0
    assert Through(Victim(lambda z: z.round().tanh())).meets(X) == 2
    assert Through(Victim(torch.tanh)).bits == 3
