"""Loss sensitivity: exact on a linear hash function, and what saturation hides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hamguard.attacks.threat import Linf
from hamguard.codes.binary import sign
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.measures.lipschitz import local_lipschitz
from hamguard.evaluation.measures.radius import flip_radius
from hamguard.evaluation.measures.sensitivity import loss_sensitivity, sensitivity_rows
from tests.evaluation.measures.linear import LinearHash, pictures


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


def test_sensitivity_refuses_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match=r"alpha must be at least 0.0, got -1"):
        loss_sensitivity(model, x, alpha=-1)
    with pytest.raises(RequestError, match="a loss and its name are given together"):
        loss_sensitivity(model, x, loss=lambda z, rows: z[:, 0])
    with pytest.raises(RequestError, match=r"one number a picture, \(2,\), got \(2, 6\)"):
        loss_sensitivity(model, x, loss=lambda z, rows: z, name="z")
