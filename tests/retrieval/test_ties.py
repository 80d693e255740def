import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.codes.histograms import DistanceHistograms
from hamguard.core.errors import RequestError
from hamguard.retrieval.ties import average_precision_from, first_hits_from, harmonic_span
from tests.retrieval.cases import DISTANCES, RELEVANCE, literal_ap, orders, table

small = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=7)


@pytest.mark.parametrize(
    ("ties", "value"), [("expected", 0.6575396825), ("worst", 0.5428571429), ("best", 0.7708333333)]
)
def test_vectors(ties, value):
    assert average_precision_from(table(DISTANCES, RELEVANCE), ties=ties)[0] == pytest.approx(value, abs=1e-10)


def test_expected_under_a_cut():
    found = average_precision_from(table(DISTANCES, RELEVANCE), at=4)
    assert found[0] == pytest.approx(0.4027777778, abs=1e-10)


def test_random_ranking():
    whole = DistanceHistograms(np.array([[5900, 0]]), np.array([[590, 0]]), 1)
    assert average_precision_from(whole)[0] == pytest.approx(0.10126, abs=5e-6)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(small, st.one_of(st.none(), st.integers(1, 8)), st.sampled_from(["relevant", "hits", "min"]))
def test_closed_forms_equal_all_orders(items, at, norm):
    distances, relevance = zip(*items, strict=True)
    values = [literal_ap(order, at, norm) for order in orders(distances, relevance)]
    counts = table(distances, relevance)
    assert average_precision_from(counts, at=at, ties="worst", norm=norm)[0] == pytest.approx(min(values), abs=1e-12)
    assert average_precision_from(counts, at=at, ties="best", norm=norm)[0] == pytest.approx(max(values), abs=1e-12)
    if norm == "hits" and at is not None and at < len(items):
        with pytest.raises(RequestError, match="use norm 'relevant' or 'min', or ties 'stable', 'worst' or 'best'"):
            average_precision_from(counts, at=at, norm=norm)
    else:
        assert average_precision_from(counts, at=at, norm=norm)[0] == pytest.approx(np.mean(values), abs=1e-12)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(small, st.integers(1, 8))
def test_first_hits_equal_all_orders(items, k):
    distances, relevance = zip(*items, strict=True)
    values = []
    for order in orders(distances, relevance):
        ranks = np.flatnonzero(order)[:k] + 1
        values.append(np.mean(np.arange(1, len(ranks) + 1) / ranks) if len(ranks) else 0.0)
    counts = table(distances, relevance)
    assert first_hits_from(counts, k=k, ties="worst")[0] == pytest.approx(min(values), abs=1e-12)
    assert first_hits_from(counts, k=k, ties="best")[0] == pytest.approx(max(values), abs=1e-12)


def test_bounds_with_the_hits_denominator_search_the_number_of_hits_at_the_cut():
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(200):
        n0, n = rng.integers(1, 5), rng.integers(2, 7)
        distances = [0] * n0 + [1] * n
        relevance = [*rng.integers(0, 2, n0), *rng.integers(0, 2, n)]
        at = int(rng.integers(n0, n0 + n)) + 1
        values = [literal_ap(o, at, "hits") for o in orders(distances, relevance)] if n + n0 < 9 else []
        if values:
            found = average_precision_from(table(distances, relevance, 1), at=at, ties="worst", norm="hits")[0]
            assert found == pytest.approx(min(values), abs=1e-12)
            compared += 1
    assert compared > 100


def test_harmonic_spans_keep_their_digits():
    starts = np.array([0, 1, 10, 63, 64, 65, 1000, 10**6, 10**7, 0, 50, 10**9])
    counts = np.array([1, 0, 5, 2, 3, 1, 7, 3, 100, 5000, 100, 2])
    exact = [
        sum(sorted(1 / np.longdouble(s + i) for i in range(1, c + 1))) for s, c in zip(starts, counts, strict=True)
    ]
    assert np.allclose(harmonic_span(starts, counts), np.array(exact, dtype=float), rtol=4e-15, atol=0)


def test_small_groups_far_down_the_ranking_keep_their_digits():
    n0 = 10_000_000
    counts = DistanceHistograms(np.array([[n0, 2]]), np.array([[0, 2]]), 1)
    exact = (1 / (n0 + 1) + 2 / (n0 + 2)) / 2
    assert average_precision_from(counts)[0] == pytest.approx(exact, rel=1e-9)


def test_slices_of_queries_do_not_change_the_values(monkeypatch):
    rng = np.random.default_rng(0)
    total = rng.integers(0, 30, (11, 9))
    counts = DistanceHistograms(total, rng.integers(0, total + 1), 8)
    whole = average_precision_from(counts)
    monkeypatch.setattr("hamguard.retrieval.ties.SLICE_CELLS", 20)
    assert np.array_equal(average_precision_from(counts), whole)


def test_wrong_requests_are_refused():
    counts = table(DISTANCES, RELEVANCE)
    with pytest.raises(RequestError, match=r"unknown ties 'expekted'.*did you mean expected"):
        average_precision_from(counts, ties="expekted")
    with pytest.raises(RequestError, match="unknown norm 'all'; allowed: relevant, hits, min"):
        average_precision_from(counts, norm="all")
    with pytest.raises(RequestError, match="do not know the order of the database"):
        average_precision_from(counts, ties="stable")
    with pytest.raises(RequestError, match="at must be at least 1, got 0"):
        average_precision_from(counts, at=0)
    with pytest.raises(RequestError, match="k must be at least 1, got 0"):
        first_hits_from(counts, k=0, ties="best")
    with pytest.raises(RequestError, match="allowed: stable, worst, best"):
        first_hits_from(counts, k=1, ties="expected")
    with pytest.raises(RequestError, match="allowed ties: worst, best"):
        first_hits_from(counts, k=1, ties="stable")
