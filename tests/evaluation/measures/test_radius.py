"""Flip radii: exact on a linear hash function, lawful on a network."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hamguard.attacks.threat import Threat
from hamguard.codes.binary import sign
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.measures.gradients import draw_in_ball
from hamguard.evaluation.measures.radius import flip_radius, radius_rows
from hamguard.evaluation.measures.rows import (
    eighths,
)
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import SHAPE, Constant, LinearHash, pictures


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


def test_a_module_in_channels_last_measures_alike() -> None:
    model, x, _, _ = world()
    before = flip_radius(model, x).ratio
    assert isinstance(model, nn.Module)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert np.allclose(flip_radius(model, x.to(memory_format=torch.channels_last)).ratio, before, rtol=1e-3)


def test_radii_refuse_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match=r"pictures to attack must be .* in \[0, 1\]"):
        flip_radius(model, 255 * x)
    with pytest.raises(RequestError, match="steps must be at least 1, got 0"):
        flip_radius(model, x, steps=0)
    with pytest.raises(RequestError, match="unknown norm 'inf'; allowed: linf, l2"):
        flip_radius(model, x, norm="inf")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="m must be between 1 and 6, got 7"):
        flip_radius(model, x).at_least(7)
    with pytest.raises(RequestError, match="number of pictures must be at least 1, got 0"):
        flip_radius(model, x[:0])
