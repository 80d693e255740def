"""End points of samples, and how many points are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import weibull_max

from hamguard.core.errors import RequestError
from hamguard.evaluation.measures.extreme import PUBLISHED, QUICK, Draws, end_point


def test_end_points_of_known_distributions() -> None:
    for shape, wide in ((2.5, 0.15), (5.0, 0.4)):
        ends = []
        for seed in range(4):
            sample = weibull_max.rvs(shape, loc=7, scale=1, size=100, random_state=np.random.default_rng(seed))
            a, p = end_point(sample)
            assert a >= sample.max() and p > 0.05
            ends.append(a)
        assert np.mean(ends) == pytest.approx(7, abs=wide)
    a, _ = end_point(3 * sample)
    assert a == pytest.approx(3 * ends[-1], rel=0.02)  # the scale of gradients plays no role


def test_end_points_of_degenerate_samples() -> None:
    assert end_point(np.full(50, 2.5)) == (2.5, 1.0) and end_point(np.zeros(3)) == (0.0, 1.0)
    assert end_point(np.array([2.5, 2.5 * (1 + 1e-7)]))[1] == 1  # float32 rounding
    two = np.array([1.0] * 30 + [2.0] * 30)  # no continuous distribution
    a, p = end_point(two)
    assert a >= 2 and np.isfinite(a) and p < 0.05
    for sample in (np.array([1.0, 2.0]), np.array([1.0, 1.0, 5.0])):
        a, _ = end_point(sample)
        assert sample.max() <= a < 100
    for wrong in (np.array([1.0]), np.array([1.0, np.nan]), np.array([1.0, -2.0]), np.zeros((2, 2))):
        with pytest.raises(RequestError, match="at least two finite maxima"):
            end_point(wrong)


def test_draws_are_read_from_words() -> None:
    assert (QUICK.batches, QUICK.points, QUICK.all_bits) == (10, 8, False)
    assert Draws.read("quick") is QUICK and Draws.read("published") is PUBLISHED and PUBLISHED.all_bits
    assert Draws.read("50x64") == Draws(50, 64, all_bits=True)
    for wrong in ("slow", "50x", "x64", "5x-1", "٣x4"):
        with pytest.raises(RequestError, match="CLEVER settings must be quick, published or BATCHESxPOINTS"):
            Draws.read(wrong)
    for few in ("1x8", "4x0"):
        with pytest.raises(RequestError, match="at least 2 batches of 1 point"):
            Draws.read(few)
