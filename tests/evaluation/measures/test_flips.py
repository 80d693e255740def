"""Flip curves of noise and of an attack."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.methods.noise import noise
from hamguard.attacks.threat import L2, Linf
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.measures.budgets import Pictures, plain_pgd
from hamguard.evaluation.measures.flips import flip_curve, flip_rows
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import LinearHash, pictures


def test_flip_curves_of_noise_and_attack() -> None:
    model, x, _, _ = world()
    eps = (2 / 255, 16 / 255, 64 / 255)
    quiet = flip_curve(Pictures(model, x, seed=1), lambda e: noise(threat=Linf(e)), eps, draws=3)
    loud = flip_curve(Pictures(model, x, seed=1), lambda e: pgd(steps=5, threat=Linf(e)), eps)
    assert quiet.flipped.shape == (3, 12) and loud.rounding and quiet.norm == "linf"
    assert (loud.means >= quiet.means).all() and loud.means[2] > quiet.means[2] + 1 and (np.diff(loud.means) > 0).all()
    thirds = quiet.flipped * 3  # a mean over three draws
    assert np.allclose(thirds, thirds.round()) and not np.allclose(quiet.flipped, quiet.flipped.round())
    again = flip_curve(Pictures(model, x, seed=1, batch_size=5), lambda e: noise(threat=Linf(e)), eps, draws=3)
    assert np.array_equal(quiet.flipped, again.flipped)
    assert not np.array_equal(
        quiet.flipped, flip_curve(Pictures(model, x), lambda e: noise(threat=Linf(e)), eps, draws=3).flipped
    )
    rows = flip_rows(loud, Row(attack={"method": "pgd"}), seed=2)
    assert [(row.metric, row.threat["eps"], row.n) for row in rows] == [("bits-moved", e, 12) for e in eps]  # type: ignore[index]
    assert rows[2].value == pytest.approx(loud.means[2]) and rows[0].backwards == loud.cost.backwards > 0


def test_flip_curves_refuse_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match="number of budgets must be at least 1"):
        flip_curve(Pictures(model, x), plain_pgd, ())
    with pytest.raises(RequestError, match="draws must be at least 1"):
        flip_curve(Pictures(model, x), plain_pgd, draws=0)
    with pytest.raises(RequestError, match="the attack's budget is 0.3, it was made for"):
        flip_curve(Pictures(model, x), lambda eps: noise(threat=L2(0.3)))
