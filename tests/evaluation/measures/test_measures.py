"""Radii, sensitivities, rows: exact on a linear hash function, in bounds on a tiny model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.codes.binary import sign
from hamguard.core.errors import RequestError, RunError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.measures.gradients import TOGETHER, blocks, draw_in_ball, dual_norm, jacobian
from hamguard.evaluation.measures.radius import eighths, flip_radius, radius_rows
from hamguard.evaluation.measures.rows import (
    Cost,
    mean_row,
    picture_numbers,
    quantile,
    quantile_interval,
    quantile_rows,
)
from hamguard.evaluation.measures.sensitivity import (
    lipschitz_rows,
    local_lipschitz,
    loss_sensitivity,
    sensitivity_rows,
)
from tests.attacks.test_laws import world

SHAPE = (3, 4, 4)
BALLS = [Linf(0.1), L2(0.3)]


class LinearHash:
    """`z = W x + b`: every measure has an exact value, because the gradient of a bit is `w_k` everywhere."""

    def __init__(self, bits: int = 6, seed: int = 0, *, equal: bool = False) -> None:
        size = math.prod(SHAPE)
        generator = torch_generator(seed, "linear")
        self.bits = bits
        self.W = torch.randn(bits, size, generator=generator) * (1 + torch.arange(bits))[:, None]  # (K, D)
        if equal:
            self.W = self.W / self.W.abs().sum(1, keepdim=True)
        offset = 0.06 * (torch.rand(bits, generator=generator) - 0.5)
        self.b = offset * self.W.abs().sum(1) - 0.5 * self.W.sum(1)

    def logits(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.W.T + self.b  # (B, K)

    def norms(self, norm: str) -> Tensor:
        """Dual norms of the rows, `(K,)`."""
        return self.W.abs().sum(1) if norm == "linf" else self.W.norm(dim=1)

    def exact(self, x: Tensor, norm: str) -> np.ndarray:
        """Distance of every picture to the border of every bit, `(n, K)`."""
        return (self.logits(x).abs() / self.norms(norm)).double().numpy()


def pictures(n: int = 5, seed: int = 0) -> Tensor:
    """Well inside [0, 1], on the 8-bit grid."""
    x = 0.5 + 0.1 * (torch.rand(n, *SHAPE, generator=torch_generator(seed, "pictures")) - 0.5)
    return (x * 255).round() / 255


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


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_flip_radius_is_exact_on_a_linear_function(norm: Any) -> None:
    model, x = LinearHash(), pictures()
    found, exact = flip_radius(model, x, norm=norm), model.exact(x, norm)
    assert np.allclose(found.ratio, exact, rtol=1e-4)
    for m in range(1, 7):
        assert np.allclose(found.at_least(m), np.sort(exact, 1)[:, m - 1], rtol=1e-4)
    assert np.allclose(found.first, exact.min(1), rtol=1e-4)
    assert (found.reached >= exact.min(1) * (1 - 1e-3)).all() and np.allclose(found.reached, exact.min(1), rtol=2e-3)
    assert found.cost.backwards == 2 * 6  # the ratios, and the look that finds the bit flipped


def test_a_radius_at_the_edge_of_the_cube_holds_what_cannot_move() -> None:
    model = LinearHash(1)
    x = torch.where(model.W[0] * model.logits(pictures(1))[0] > 0, 0.0, 1.0).view(1, *SHAPE)  # the way down leads out
    x[0, 0] = 0.5  # but for a third of the values
    model.b = model.b - model.logits(x)[0] + torch.sign(model.logits(pictures(1))[0])
    free = model.W[0].view(SHAPE)[0].abs().sum()
    found = flip_radius(model, x)
    assert found.first[0] == pytest.approx(1 / float(model.W[0].abs().sum()), rel=1e-3)  # the formula sees no edge
    assert found.reached[0] == pytest.approx(1 / float(free), rel=2e-3)


def test_what_was_reached_does_flip_on_a_network_and_no_less() -> None:
    model, x, _, _ = world()
    for norm in ("linf", "l2"):
        found = flip_radius(model, x, norm=norm)  # type: ignore[arg-type]
        assert np.isfinite(found.reached).all() and (found.reached > 0).all()
        assert 0.3 < np.median(found.reached / found.first) < 3
        parts = [flip_radius(model, x[part], norm=norm) for part in (slice(0, 5), slice(5, 12))]  # type: ignore[arg-type]
        assert np.allclose(found.reached, np.concatenate([one.reached for one in parts]), rtol=1e-2)
        inside = np.stack([  # random points well below what was reached keep their code
            draw_in_ball(one, Threat(norm, 0.3 * r), 30, torch_generator(0, i)).numpy()
            for i, (one, r) in enumerate(zip(x, found.reached, strict=True))
        ])  # fmt: skip
        codes = sign(model.logits(torch.from_numpy(inside).flatten(0, 1))).view(len(x), 30, -1)
        assert (codes == model.code(x)[:, None]).float().mean() > 0.99


class Constant:
    """Saturated beyond float32: no gradient, no flip."""

    bits = 3

    def logits(self, x: Tensor) -> Tensor:
        return torch.tanh(1e4 * (x.flatten(1)[:, :3] + 1))


def test_a_model_without_gradient_has_no_finite_radius() -> None:
    found = flip_radius(Constant(), pictures(2))
    assert np.isinf(found.first).all() and np.isinf(found.reached).all()
    rows = radius_rows(found, Row())
    assert all(row.value is None and row.ci95 is None for row in rows)
    assert "flip-reached: 2 of 2 pictures have no finite value and count as largest" in rows[-1].notes


def test_radius_rows() -> None:
    rows = radius_rows(flip_radius(LinearHash(16), pictures(9)), Row(model="m", bits=16), seed=3)
    assert [(row.metric, row.at) for row in rows] == [
        *((f"flip-radius-{q}", m) for m in (1, 2, 4, 8) for q in ("median", "p10", "p90")),
        *((f"flip-reached-{q}", 1) for q in ("median", "p10", "p90")),
    ]
    for row in rows:
        assert row.model == "m" and row.n == 9 and row.threat == {"norm": "linf", "grid": "none"}
        assert row.ci95 is not None and row.ci95[0] <= float(row.value or 0) <= row.ci95[1]
        assert row.forwards and row.backwards and json.loads(row.json())
    assert eighths(7) == (1, 3)


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_local_lipschitz_of_a_linear_function_is_its_row_norm(ball: Threat) -> None:
    model, x = LinearHash(), pictures()
    found = local_lipschitz(model, x, ball=ball)
    rows = model.norms(ball.norm).double().numpy()
    assert np.allclose(found.bits, rows, rtol=1e-3)
    assert np.allclose(found.slope, rows.max(), rtol=1e-3)
    assert (found.relaxed_bits < found.bits).all() and (found.relaxed_slope < 0.95 * found.slope).all()


def test_lipschitz_of_tanh_lies_between_its_slopes() -> None:
    model, x = LinearHash(), pictures()
    model.W, model.b = model.W / 20, model.b / 20  # hardly bent
    found = local_lipschitz(model, x, ball=Linf(1e-3))
    u = torch.tanh(model.logits(x))
    exact = ((1 - u**2) * model.norms("linf")).double().numpy()  # at the picture
    assert np.allclose(found.relaxed_bits, exact, rtol=0.02)


def test_lipschitz_on_a_network() -> None:
    model, x, _, _ = world()
    found = local_lipschitz(model, x, alpha=3.0, seed=1)
    assert (found.relaxed_bits <= 3 * found.bits * (1 + 1e-4)).all()
    random = local_lipschitz(model, x, steps=1, draws=200)
    size = jacobian(model.logits, x, lambda g: dual_norm(g, "linf"))[1].double().numpy()
    assert (found.bits >= 0.5 * size).all() and (found.bits.max(1) >= 0.9 * random.bits.max(1)).all()
    more = local_lipschitz(model, x, steps=4)
    assert (more.bits >= local_lipschitz(model, x, steps=1).bits - 1e-4).all()
    parts = [
        local_lipschitz(model, x[part], alpha=3.0, seed=1, index=range(12)[part])
        for part in (slice(0, 5), slice(5, 12))
    ]
    assert np.allclose(found.bits, np.concatenate([one.bits for one in parts]), rtol=1e-3)
    rows = lipschitz_rows(found, Row(), seed=0)
    assert [row.metric for row in rows] == [
        "lipschitz[logits]", "lipschitz[tanh, alpha=3]", "lipschitz[logits, mean bit]",
    ]  # fmt: skip
    assert rows[0].threat == {"norm": "linf", "eps": 8 / 255, "grid": "none"} and rows[0].value == found.slope.mean()


def test_loss_sensitivity_is_exact_on_a_linear_function() -> None:
    model, x = LinearHash(), pictures()
    model.W, model.b = model.W / 20, model.b / 20
    z = model.logits(x)
    own = sign(z)
    assert np.allclose(loss_sensitivity(model, x).length, (own @ model.W / 6).norm(dim=1), rtol=1e-4)
    u = torch.tanh(2 * z)
    bent = (own * 2 * (1 - u**2)) @ model.W / 6
    assert np.allclose(loss_sensitivity(model, x, alpha=2).length, bent.norm(dim=1), rtol=1e-4)
    marks = torch.arange(5.0)

    def loss(z: Tensor, rows: Tensor) -> Tensor:
        return marks[rows] * z[:, 0]

    found = loss_sensitivity(model, x, loss=loss, name="first bit")
    assert np.allclose(found.length, marks * model.W[0].norm(), rtol=1e-4)
    (row,) = sensitivity_rows(found, Row(), seed=2)
    assert row.metric == "loss-sensitivity[first bit]" and row.value == pytest.approx(found.length.mean())
    assert sensitivity_rows(loss_sensitivity(model, x, alpha=2), Row())[0].metric == (
        "loss-sensitivity[own code, tanh(alpha z), alpha=2]"
    )


def test_saturation_hides_from_tanh_what_logits_show() -> None:
    model, x = LinearHash(), pictures()
    loud = LinearHash()
    loud.W, loud.b = 50 * model.W, 50 * model.b
    bent, plain = loss_sensitivity(loud, x, alpha=1.0).length, loss_sensitivity(loud, x).length
    assert np.median(bent) < 0.01 * np.median(plain)
    found = local_lipschitz(loud, x, ball=Linf(0.002))
    assert np.median(found.relaxed_bits) < 0.01 * np.median(found.bits)
    assert np.allclose(flip_radius(loud, x).ratio, flip_radius(model, x).ratio, rtol=1e-3)  # radii do not change


def test_measures_refuse_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match=r"pictures to attack must be .* in \[0, 1\]"):
        flip_radius(model, 255 * x)
    with pytest.raises(RequestError, match=r"pictures to attack must be"):
        local_lipschitz(model, x - 1)
    with pytest.raises(RequestError, match="steps must be at least 1, got 0"):
        flip_radius(model, x, steps=0)
    with pytest.raises(RequestError, match="unknown norm 'inf'; allowed: linf, l2"):
        flip_radius(model, x, norm="inf")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="m must be between 1 and 6, got 7"):
        flip_radius(model, x).at_least(7)
    with pytest.raises(RequestError, match="number of pictures must be at least 1, got 0"):
        flip_radius(model, x[:0])
    with pytest.raises(RequestError, match="index must have a number for each of 2 pictures, got 1"):
        local_lipschitz(model, x, index=[3])
    with pytest.raises(RequestError, match="alpha must be above 0, got 0"):
        local_lipschitz(model, x, alpha=0)
    with pytest.raises(RequestError, match="draws must be at least 0"):
        local_lipschitz(model, x, draws=-1)
    with pytest.raises(RequestError, match="steps must be at least 1"):
        local_lipschitz(model, x, steps=0)
    with pytest.raises(RequestError, match=r"alpha must be at least 0.0, got -1"):
        loss_sensitivity(model, x, alpha=-1)
    with pytest.raises(RequestError, match="a loss and its name are given together"):
        loss_sensitivity(model, x, loss=lambda z, rows: z[:, 0])
    with pytest.raises(RequestError, match=r"one number a picture, \(2,\), got \(2, 6\)"):
        loss_sensitivity(model, x, loss=lambda z, rows: z, name="z")


def test_a_module_in_channels_last_measures_alike() -> None:
    model, x, _, _ = world()
    before = flip_radius(model, x).ratio
    assert isinstance(model, nn.Module)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert np.allclose(flip_radius(model, x.to(memory_format=torch.channels_last)).ratio, before, rtol=1e-3)


def test_quantiles_are_observed_values() -> None:
    values = np.array([4.0, 1.0, np.inf, 2.0, 3.0])
    assert [quantile(values, share) for share in (0, 0.1, 0.2, 0.21, 0.5, 0.8, 0.81, 1)] == [
        1,
        1,
        1,
        2,
        3,
        4,
        np.inf,
        np.inf,
    ]
    assert quantile(np.arange(1, 11), 0.9) == 9  # 0.9 * 10 is 9.000000000000002 in floats elsewhere
    low, high = quantile_interval(np.random.default_rng(0).random(400), 0.5, seed=1)
    assert 0.4 < low < 0.5 < high < 0.6 and high - low > 0.05
    assert quantile_interval(values, 0.5, seed=1) == quantile_interval(values[::-1], 0.5, seed=1)
    for wrong in (np.array([]), np.array([np.nan]), np.zeros((2, 2))):
        with pytest.raises(RequestError, match="quantiles need values"):
            quantile(wrong, 0.5)
    with pytest.raises(RequestError, match=r"share must be between 0.0 and 1.0"):
        quantile(values, 1.5)
    with pytest.raises(RequestError, match="level must be between 0 and 1"):
        quantile_interval(values, 0.5, seed=0, level=1)
    with pytest.raises(RequestError, match="resamples must be at least 1"):
        quantile_interval(values, 0.5, seed=0, resamples=0)


def test_rows_of_means_and_quantiles() -> None:
    base = Row(notes=("known",))
    row = mean_row(base, "x", np.array([1.0, np.inf, 3.0, np.nan]), seed=0, at=2)
    assert row.value == 2 and row.n == 2 and row.at == 2 and row.ci95 == (1, 3)
    assert row.notes == ("known", "x: 2 of 4 pictures have no finite value")
    empty = mean_row(base, "x", np.array([]), seed=0)
    assert empty.value is None and empty.ci95 is None and empty.n == 0
    rows = quantile_rows(base, "r", np.array([1.0, 2.0, 3.0, np.inf]), seed=0)
    assert [row.metric for row in rows] == ["r-median", "r-p10", "r-p90"]
    assert [row.value for row in rows] == [2, 1, None] and rows[2].ci95 is None
    assert "r: 1 of 4 pictures have no finite value and count as largest" in rows[0].notes
    assert "r-p90: its interval has no upper end" in rows[2].notes
    assert [row.value for row in quantile_rows(base, "r", np.array([]), seed=0)] == [None] * 3
    costed = Cost(3, 4, 1.23456).on(base)
    assert (costed.forwards, costed.backwards, costed.seconds) == (3, 4, 1.235)
    assert costed == replace(base, forwards=3, backwards=4, seconds=1.235)
    assert picture_numbers(None, 3) == [0, 1, 2] and picture_numbers(np.array([5, 7]), 2) == [5, 7]  # type: ignore[arg-type]
