import warnings

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.retrieval import intervals
from hamguard.retrieval.intervals import (
    bootstrap_interval,
    enough_resamples,
    paired_difference,
    paired_differences,
    ratio_interval,
)

VALUES = np.random.default_rng(0).random(400)


def test_the_interval_agrees_with_the_normal_law():
    low, high = bootstrap_interval(VALUES, seed=0, resamples=4000)
    half = 1.96 * VALUES.std() / 20
    assert low == pytest.approx(VALUES.mean() - half, abs=0.003)
    assert high == pytest.approx(VALUES.mean() + half, abs=0.003)
    narrow = bootstrap_interval(VALUES, seed=0, level=0.5)
    assert low < narrow[0] < VALUES.mean() < narrow[1] < high


def test_the_seed_alone_decides():
    first = bootstrap_interval(VALUES, seed=1)
    np.random.seed(5)  # noqa: NPY002 - the global generator must not matter
    assert bootstrap_interval(VALUES, seed=1) == first
    assert bootstrap_interval(VALUES, seed=2) != first


def test_batches_bound_the_memory_and_not_the_result(monkeypatch):
    whole = bootstrap_interval(VALUES, seed=1)
    monkeypatch.setattr(intervals, "BATCH_BYTES", 1)
    assert bootstrap_interval(VALUES, seed=1) == whole


@pytest.mark.parametrize("values", [[0.25], [0.1] * 50, [0, 0]])
def test_constant_values_have_no_width_and_no_warning(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bootstrap_interval(np.array(values), seed=0) == (values[0], values[0])


def test_pairs_cancel_what_queries_share():
    better = VALUES + 0.01 + 0.001 * np.random.default_rng(1).standard_normal(400)
    found = paired_difference(better, VALUES, seed=0)
    assert found.value == pytest.approx(0.01, abs=0.001)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.001
    assert found.differs
    assert not paired_difference(VALUES, VALUES, seed=0).differs
    assert paired_difference(VALUES, better, seed=0).differs
    assert not paired_difference(VALUES, np.random.default_rng(3).permutation(VALUES), seed=0).differs


def test_seeds_are_drawn_before_queries():
    """Against a literal bootstrap; with queries that agree the interval is that of the seeds alone."""
    rng = np.random.default_rng(4)
    values = rng.random((3, 80)) + np.array([[0.0], [0.1], [0.3]])
    means = [values[rng.integers(0, 3, 3)][:, rng.integers(0, 80, 80)].mean() for _ in range(20000)]
    assert bootstrap_interval(values, seed=0, resamples=20000) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), abs=0.005
    )
    flat = np.array([[0.0], [0.1], [0.3]]) * np.ones((1, 50))
    assert bootstrap_interval(flat, seed=0) == pytest.approx((0, 0.3))
    assert bootstrap_interval(VALUES[None], seed=1) == bootstrap_interval(VALUES, seed=1)
    moved = paired_difference(values + 0.05, values, seed=0)
    assert (moved.low, moved.high, moved.n) == pytest.approx((0.05, 0.05, 80))


@pytest.mark.parametrize("shape", [(60,), (3, 60)])
def test_many_pairs_are_those_of_single_ones(shape, monkeypatch):
    rng = np.random.default_rng(7)
    pairs = [(rng.random(shape) + shift, rng.random(shape)) for shift in (0, 0.1, 0.3)]
    pairs += [(pairs[0][0] + 0.5, pairs[0][0]), (rng.random(40), rng.random(40))]  # a constant gap, and other queries
    together = paired_differences(pairs, seed=3, level=0.99, resamples=2500)
    for one, pair in zip(together, pairs, strict=True):
        alone = paired_difference(*pair, seed=3, level=0.99, resamples=2500)
        assert (one.value, one.n) == (alone.value, alone.n)
        assert (one.low, one.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    monkeypatch.setattr(intervals, "BATCH_BYTES", 16 * 60 * 7)
    again = paired_differences(pairs[:3], seed=3, level=0.99, resamples=2500)
    for one, pair in zip(again, pairs, strict=False):
        alone = paired_difference(*pair, seed=3, level=0.99, resamples=2500)
        assert (one.low, one.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    assert paired_differences([], seed=0) == []


def test_far_quantiles_have_resamples_beyond_them():
    for pairs in (1, 6, 64):
        tail = 0.05 / pairs / 2
        assert 10 <= round(enough_resamples(1 - 0.05 / pairs) * tail, 6) <= 25
    assert enough_resamples(0.5) == 1000


def test_wrong_requests_are_refused():
    for values in ([], [[[1.0]]]):
        with pytest.raises(RequestError, match=r"values must have shape \(n,\)"):
            bootstrap_interval(np.array(values), seed=0)
    with pytest.raises(RequestError, match="values must be finite, got 2 NaN or infinite values"):
        bootstrap_interval(np.array([1, np.nan, np.inf]), seed=0)
    for level in (0, 1, 95, float("nan")):
        with pytest.raises(RequestError, match=r"level must be between 0 and 1.*95% is 0.95"):
            bootstrap_interval(VALUES, seed=0, level=level)
    with pytest.raises(RequestError, match="resamples must be at least 1"):
        bootstrap_interval(VALUES, seed=0, resamples=0)
    with pytest.raises(RequestError, match="the same queries, got 400 and 399"):
        paired_difference(VALUES, VALUES[1:], seed=0)
    with pytest.raises(RequestError, match="the same queries, got 400 and 1 x 400"):
        paired_difference(VALUES, VALUES[None], seed=0)
    with pytest.raises(RequestError, match=r"top must have shape \(n,\) with"):
        ratio_interval(VALUES[None], VALUES[None], seed=0)
    with pytest.raises(RequestError, match="level must be between"):
        enough_resamples(1)
    with pytest.raises(RequestError, match="second must be finite"):
        paired_difference(VALUES, VALUES * np.nan, seed=0)


def test_ratio_interval_holds_the_ratio_and_is_narrow_where_both_move_together() -> None:
    rng = np.random.default_rng(0)
    bottom = rng.uniform(0.5, 1.5, 400)
    top = 0.7 * bottom + rng.normal(0, 0.01, 400)
    low, high = ratio_interval(top, bottom, seed=0)
    assert low < 0.7 < high and high - low < 0.01
    assert ratio_interval(top, bottom, seed=0) == (low, high)
    with pytest.raises(RequestError, match="need the same queries, got 400 and 3"):
        ratio_interval(top, bottom[:3], seed=0)
    with pytest.raises(RequestError, match="a bottom that is not 0"):
        ratio_interval(top, np.zeros(400), seed=0)


@pytest.mark.parametrize("seed", range(8))
def test_the_interval_is_the_percentile_interval_of_scipy(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(seed)
    values, resamples = rng.random(rng.integers(2, 90)), int(rng.integers(2, 300))
    monkeypatch.setattr(intervals, "BATCH_BYTES", 16 * len(values) * 37)
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=37,
        method="percentile",
        confidence_level=0.9,
        rng=numpy_generator(seed, "bootstrap"),
    ).confidence_interval
    got = intervals.bootstrap_interval(values, seed=seed, level=0.9, resamples=resamples)
    assert got == pytest.approx((found.low, found.high), rel=1e-12)
