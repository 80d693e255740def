"""Gradients of every output, draws from a ball, and blocks of pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.measures.gradients import TOGETHER, blocks, draw_in_ball, dual_norm, jacobian
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import SHAPE, LinearHash, pictures


@pytest.mark.parametrize("n", [2, TOGETHER + 1])
def test_jacobian_of_a_linear_function_is_its_matrix(n: int) -> None:
    model, x = LinearHash(), pictures(n)
    z, gradient = jacobian(model.logits, x)
    assert torch.allclose(z, model.logits(x)) and gradient.shape == (n, 6, *SHAPE)
    assert torch.allclose(gradient.flatten(2), model.W.expand(n, -1, -1))
    for norm in ("linf", "l2"):
        sizes = jacobian(model.logits, x, lambda g, norm=norm: dual_norm(g, norm))[1]
        assert torch.allclose(sizes, model.norms(norm).expand(n, -1))


def test_both_ways_to_a_jacobian_agree() -> None:
    model, x, _, _ = world()
    assert len(x) > TOGETHER
    one_by_one, together = jacobian(model.logits, x)[1], jacobian(model.logits, x[:TOGETHER])[1]
    assert torch.allclose(one_by_one[:TOGETHER], together, atol=1e-5)


class Stubborn(torch.autograd.Function):
    """An operation that cannot be batched."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * float(2 if float(gradient.sum()) > -1e9 else 0)  # reads a number, which a batch does not have


def test_an_operation_that_cannot_be_batched_goes_one_by_one() -> None:
    model, x = LinearHash(), pictures(2)
    _, gradient = jacobian(lambda x: Stubborn.apply(model.logits(x)), x)
    assert torch.allclose(gradient.flatten(2), 2 * model.W.expand(2, -1, -1))


def test_jacobian_refuses_what_it_cannot_measure() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match=r"must return \(2, K\) numbers, got \(12,\)"):
        jacobian(lambda x: model.logits(x).flatten(), x)
    with pytest.raises(RequestError, match="lets no gradient through"):
        jacobian(lambda x: model.logits(x).detach(), x)
    with pytest.raises(RunError, match="NaN or infinite"):
        jacobian(lambda x: model.logits(x) * float("nan"), x)
    with pytest.raises(RequestError, match="unknown norm 'l1'; allowed: linf, l2"):
        dual_norm(x, "l1")  # type: ignore[arg-type]


@pytest.mark.parametrize("ball", [Linf(0.03), L2(0.5)], ids=repr)
def test_draws_fill_the_ball(ball: Threat) -> None:
    x = pictures(1)[0]
    drawn = draw_in_ball(x, ball, 400, torch_generator(0, "ball"))
    length = ball.length(drawn - x).flatten()
    assert drawn.shape == (400, *SHAPE) and float(length.max()) <= ball.eps * (1 + 1e-5)
    D = (
        x.numel()
    )  # in D dimensions almost everything lies near the surface: the mean length is D / (D + 1) of the radius
    if ball.norm == "l2":
        assert float(length.mean()) == pytest.approx(ball.eps * D / (D + 1), rel=0.01)
    assert float((drawn - x).mean()) == pytest.approx(0, abs=0.1 * ball.eps)
    assert torch.equal(drawn, draw_in_ball(x, ball, 400, torch_generator(0, "ball")))
    white = draw_in_ball(torch.ones(SHAPE), ball, 50, torch_generator(0, "ball"))
    assert float(white.max()) == 1 and float(white.min()) >= 0


def test_blocks_cover_everything_once() -> None:
    small, large = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 224, 224)
    assert [part.stop - part.start for part in blocks(600, small)] == [256, 256, 88]
    assert [part.stop - part.start for part in blocks(7, large)] == [5, 2]
    assert [part.stop - part.start for part in blocks(2, large, 64)] == [1, 1]
    assert list(blocks(0, small)) == []
