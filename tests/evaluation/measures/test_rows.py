"""Means and quantiles over pictures, and what was spent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.measures.rows import (
    Cost,
    mean_row,
    picture_numbers,
    quantile,
    quantile_interval,
    quantile_rows,
)


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
