"""L1: the exact projection onto the ball inside [0, 1], and steps that move few values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import L1, SPARSE, parse_threat, shrink_l1
from hamguard.core.errors import RequestError
from hamguard.core.rows import eps_text, eps_words
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.plan import AuditPlan


def by_halving(delta: Tensor, x: Tensor, eps: float) -> Tensor:
    """The projection by its definition: one threshold for all values of a picture, found by 200 halvings."""
    size, room = delta.abs(), torch.where(delta > 0, 1 - x, x)
    low, high = torch.zeros(len(x), 1, dtype=delta.dtype), size.max(1, keepdim=True).values

    def at(t: Tensor) -> Tensor:
        return torch.minimum((size - t).clamp(min=0), room)

    for _ in range(200):
        middle = (low + high) / 2
        longer = at(middle).sum(1, keepdim=True) > eps
        low, high = torch.where(longer, middle, low), torch.where(longer, high, middle)
    t = torch.where(at(torch.zeros_like(low)).sum(1, keepdim=True) > eps, high, torch.zeros_like(high))
    return delta.sign() * at(t)


@settings(max_examples=60, deadline=None)
@given(eps=st.floats(1e-3, 40), far=st.floats(0, 4), seed=st.integers(0, 10**6), corners=st.booleans())
def test_projection_onto_the_l1_ball_inside_the_box_is_exact(eps: float, far: float, seed: int, corners: bool) -> None:
    x = torch.rand(4, 30, dtype=torch.float64, generator=torch_generator(seed))
    x = x.round() if corners else x  # pictures of black and white have room in one direction only
    delta = far * torch.randn(4, 30, dtype=torch.float64, generator=torch_generator(seed, "far"))
    found = shrink_l1(delta, x, eps)
    assert torch.allclose(found, by_halving(delta, x, eps), atol=1e-9)
    assert bool((found.abs().sum(1) <= eps + 1e-9).all())
    assert float((x + found).min()) >= -1e-12 and float((x + found).max()) <= 1 + 1e-12
    other = shrink_l1(found + 0.1 * torch.randn(4, 30, generator=torch_generator(seed, "o")).double(), x, eps)
    assert bool(((delta - found).norm(dim=1) <= (delta - other).norm(dim=1) + 1e-9).all()), "no allowed point is nearer"


def test_clipping_after_the_ball_would_be_shorter_and_farther() -> None:
    x, delta = torch.tensor([[0.0, 0.5]]), torch.tensor([[-3.0, 0.4]])
    assert torch.allclose(L1(0.3).project(x + delta, x), torch.tensor([[0.0, 0.8]]))


def test_steps_and_starts_of_l1() -> None:
    x = (torch.rand(2, 1, 20, 20, generator=torch_generator(0)) * 255).round() / 255
    gradient = torch.randn(2, 1, 20, 20, generator=torch_generator(1))
    threat = L1(5.0)
    step = threat.steepest(gradient)
    assert torch.allclose(threat.length(step), torch.ones(2, 1, 1, 1)), "of unit size"
    assert step.count_nonzero().item() == 2 * round(SPARSE * 400)
    assert bool((step * gradient >= 0).all())
    best = gradient[0].abs().argmax()
    at = x.clone()
    at[0].view(-1)[best] = 0.0 if gradient[0].view(-1)[best] > 0 else 1.0
    assert threat.steepest(gradient, at)[0].view(-1)[best] == 0, "that value cannot move"
    assert not bool(threat.steepest(torch.zeros_like(gradient)).any())
    for found in (threat.start(x, [0, 1], 3), threat.on_grid(threat.project(x - gradient, x), x)):
        assert float((found - x).abs().sum((1, 2, 3)).max()) <= 5.0 + 1e-4


def test_words_of_l1() -> None:
    assert eps_text({"norm": "l1", "eps": 12.0}) == "l1 12" and eps_words({"norm": "l1", "eps": 12.0}) == "L1 12"
    assert AttackSpec.read("hag", eps=12.0, norm="l1").attack.threat == L1(12.0)
    with pytest.raises(RequestError, match="eps must be above 0, got 0"):
        L1(0.0)
    with pytest.raises(RequestError, match="unknown threat 'l1'"):
        parse_threat("l1", "3")
    with pytest.raises(RequestError, match="unknown norm of an audit 'l1'"):
        AuditPlan(Budget(L1(3.0)))
