"""Local Lipschitz constants: exact on a linear hash function, lower bounds on a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.attacks.threat import Linf, Threat
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.measures.gradients import dual_norm, jacobian
from hamguard.evaluation.measures.lipschitz import lipschitz_rows, local_lipschitz
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import BALLS, LinearHash, pictures


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


def test_slopes_refuse_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match=r"pictures to attack must be"):
        local_lipschitz(model, x - 1)
    with pytest.raises(RequestError, match="index must have a number for each of 2 pictures, got 1"):
        local_lipschitz(model, x, index=[3])
    with pytest.raises(RequestError, match="alpha must be above 0, got 0"):
        local_lipschitz(model, x, alpha=0)
    with pytest.raises(RequestError, match="draws must be at least 0"):
        local_lipschitz(model, x, draws=-1)
    with pytest.raises(RequestError, match="steps must be at least 1"):
        local_lipschitz(model, x, steps=0)
