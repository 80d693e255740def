import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.codes.binary import pack
from hamguard.codes.histograms import distance_histograms
from hamguard.codes.labeled import Codes
from hamguard.core.errors import RequestError
from hamguard.retrieval.metrics import (
    average_precision,
    first_hits_average_precision,
    hits_within,
    mean_average_precision,
    ndcg_at,
    precision_at,
    recall_at,
    with_labels,
)
from hamguard.retrieval.score import metric_name
from tests.retrieval.cases import DISTANCES, RELEVANCE, literal_ap, orders, ranking, table

small = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=6)


def draw(n, seed, bits=12, classes=5):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.25).astype(np.uint8)
    return Codes(pack(rng.integers(0, 2, (n, bits))), bits, labels)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"ties": "stable"}, 0.7470238095),
        ({}, 0.6575396825),
        ({"ties": "worst"}, 0.5428571429),
        ({"ties": "best"}, 0.7708333333),
        ({"ties": "stable", "at": 3, "norm": "hits"}, 0.8333333333),
        ({"ties": "stable", "at": 3, "norm": "min"}, 0.5555555556),
        ({"ties": "stable", "at": 3}, 0.4166666667),
        ({"at": 4}, 0.4027777778),
    ],
)
@pytest.mark.parametrize("path", ["numpy", "numba"])
def test_vectors(options, value, path):
    score = mean_average_precision(*ranking(DISTANCES, RELEVANCE), path=path, **options)
    assert score.value == pytest.approx(value, abs=1e-10)


def test_the_false_cut_counts_hits():
    query, database = ranking(DISTANCES, RELEVANCE)
    assert first_hits_average_precision(query, database, k=2).value == pytest.approx(0.8333333333, abs=1e-10)
    assert mean_average_precision(query, database, at=2, ties="stable", norm="hits").value == 1.0
    best = first_hits_average_precision(query, database, k=2, ties="best")
    assert best.name == "map_first_2_hits[ties=best]"
    assert best.value == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("at", [None, 1, 10, 77, 500])
@pytest.mark.parametrize("norm", ["relevant", "hits", "min"])
def test_stable_equals_a_stable_sort(at, norm):
    query, database = draw(20, 1), draw(200, 2)
    found = average_precision(query, database, ties="stable", at=at, norm=norm)
    dist = np.bitwise_count(query.packed[:, None] ^ database.packed[None]).sum(axis=2, dtype=int)
    hit = query.labels.astype(int) @ database.labels.T > 0
    for i in range(20):
        order = list(hit[i][np.argsort(dist[i], kind="stable")])
        assert found[i] == pytest.approx(literal_ap(order, at, norm), abs=1e-12)


@pytest.mark.parametrize("ties", ["expected", "stable", "worst", "best"])
@pytest.mark.parametrize("path", ["numpy", "numba"])
def test_shards_do_not_change_the_value(ties, path):
    query, database = draw(9, 1), draw(500, 2)
    cuts = [0, 7, 7, 300, 500]
    shards = [Codes(database.packed[a:b], 12, database.labels[a:b]) for a, b in itertools.pairwise(cuts)]
    whole = average_precision(query, database, ties=ties, at=50, path=path)
    assert np.array_equal(whole, average_precision(query, shards, ties=ties, at=50, path=path))


def test_shuffling_moves_the_stable_value_only():
    query, database = draw(9, 1), draw(500, 2)
    order = np.random.default_rng(3).permutation(500)
    other = Codes(database.packed[order], 12, database.labels[order])
    for ties in ("expected", "worst", "best"):
        first, second = (average_precision(query, d, ties=ties, at=40) for d in (database, other))
        assert np.array_equal(first, second)
    assert not np.array_equal(*(average_precision(query, d, ties="stable", at=40) for d in (database, other)))


def test_expected_lies_between_the_bounds_and_is_the_mean_of_stable_orders():
    query, database = draw(5, 1, bits=4), draw(60, 2, bits=4)
    low, mid, high = (average_precision(query, database, ties=t) for t in ("worst", "expected", "best"))
    assert bool((low <= mid).all() and (mid <= high).all())
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(400):
        order = rng.permutation(60)
        draws.append(average_precision(query, Codes(database.packed[order], 4, database.labels[order]), ties="stable"))
    assert np.allclose(np.mean(draws, axis=0), mid, atol=0.02)


def test_target_labels_make_a_targeted_map():
    query, database = draw(6, 1), draw(80, 2)
    target = np.roll(query.labels, 1, axis=1)
    found = mean_average_precision(with_labels(query, target), database)
    assert found.value == mean_average_precision(Codes(query.packed, 12, target), database).value
    assert found.value != mean_average_precision(query, database).value


def test_queries_without_hits_are_kept_or_left_out_and_always_counted():
    query, database = draw(4, 1, classes=3), draw(50, 2, classes=3)
    query.labels[:] = [[1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    database.labels[:, 2] = 0
    for ties in ("expected", "stable"):
        kept = mean_average_precision(query, database, ties=ties)
        left = mean_average_precision(query, database, ties=ties, empty="skip")
        assert (kept.n, kept.unlabeled, kept.without_relevant) == (4, 1, 2)
        assert (left.n, left.unlabeled, left.without_relevant) == (2, 1, 2)
        assert left.value == pytest.approx(2 * kept.value)
        assert list(left.kept) == [True, False, False, True]
        assert left.name.endswith("empty=skip]")
        assert "2 left out, 1 unlabeled, 1 with labels but nothing relevant" in repr(left)


def test_empty_under_a_cut_means_that_no_order_brings_a_hit():
    query, database = ranking([0, 1, 1, 2], [0, 1, 0, 1])
    two = Codes(np.repeat(query.packed, 2, axis=0), 3, np.array([[1, 0], [0, 1]], dtype=np.uint8))
    score = mean_average_precision(two, database, at=2, empty="skip")
    assert list(score.kept) == [True, True]  # the first query's hit may stand at rank 2
    assert list(mean_average_precision(two, database, at=1, empty="skip").kept) == [False, True]
    with pytest.raises(RequestError, match=r"no query has a hit.*use empty='zero'"):
        mean_average_precision(query, database, at=1, empty="skip")


@settings(deadline=None, max_examples=40, derandomize=True)
@given(small, st.data())
def test_precision_recall_and_ndcg_equal_all_orders(items, data):
    distances, relevance = zip(*items, strict=True)
    n = data.draw(st.integers(1, len(items)))
    query, database = ranking(distances, relevance)
    lists = list(orders(distances, relevance))
    hits = [sum(o[:n]) for o in lists]
    total = max(1, sum(relevance))
    stable = sum(r for _, r in sorted(items, key=lambda x: x[0])[:n])
    for ties, value in (("expected", np.mean(hits)), ("worst", min(hits)), ("best", max(hits)), ("stable", stable)):
        assert precision_at(query, database, n, ties=ties).value == pytest.approx(value / n)
        assert recall_at(query, database, n, ties=ties).value == pytest.approx(value / total)
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = sum(discount[: sum(relevance)])
    gain = np.mean([np.dot(o[:n], discount) for o in lists])
    assert ndcg_at(query, database, n).value == pytest.approx(gain / ideal if ideal else 0.0)


def test_graded_ndcg_equals_all_orders():
    distances = [0, 1, 1, 1, 2]
    query, database = ranking(distances, [0] * 5)
    labels = np.array([[0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=np.uint8)
    query, database = with_labels(query, np.array([[1, 1, 1]])), with_labels(database, labels)
    gains = [1, 2, 1, 0, 3]
    discount = 1 / np.log2(np.arange(2, 7))
    for n in range(1, 6):
        found = ndcg_at(query, database, n, gain="shared")
        mean = np.mean([np.dot(o[:n], discount[:n]) for o in orders(distances, gains)])
        assert found.value == pytest.approx(mean / np.dot([3, 2, 1, 1, 0][:n], discount[:n]))
        assert found.name == f"ndcg@{n}[gain=shared]"


def test_discounts_are_summed_in_chunks(monkeypatch):
    query, database = draw(5, 1), draw(300, 2)
    whole = ndcg_at(query, database, 250).per_query
    monkeypatch.setattr("hamguard.retrieval.ndcg.CHUNK", 7)
    assert np.allclose(ndcg_at(query, database, 250).per_query, whole, rtol=1e-13)


def test_histograms_at_hand_give_the_same():
    query, database = draw(5, 1), draw(100, 2)
    counts = distance_histograms(query, database)
    for ties in ("expected", "stable"):
        again = mean_average_precision(query, database, at=9, ties=ties, histograms=counts)
        assert again.value == mean_average_precision(query, database, at=9, ties=ties).value
    assert np.array_equal(
        ndcg_at(query, database, 9, histograms=counts).per_query, ndcg_at(query, database, 9).per_query
    )


def test_names_say_what_differs_from_the_defaults():
    assert metric_name("map", at=1000, ties="stable", norm="hits", empty="skip") == (
        "map@1000[ties=stable,norm=hits,empty=skip]"
    )
    score = mean_average_precision(draw(5, 1), draw(50, 2), at=7, ties="stable", norm="min")
    assert (score.name, score.at, score.ties) == ("map@7[ties=stable,norm=min]", 7, "stable")


def test_wrong_requests_are_refused():
    query, database = draw(5, 1), draw(50, 2)
    with pytest.raises(RequestError, match="expected ties at 9 with norm 'hits' have no defined value"):
        mean_average_precision(query, database, at=9, norm="hits")
    with pytest.raises(RequestError, match="unknown empty 'drop'; allowed: zero, skip"):
        mean_average_precision(query, database, empty="drop")
    with pytest.raises(RequestError, match="at must be at least 1"):
        average_precision(query, database, at=-1, ties="stable")
    with pytest.raises(RequestError, match="there are no queries"):
        mean_average_precision(draw(0, 1), database)
    with pytest.raises(RequestError, match="the database is empty"):
        mean_average_precision(query, draw(0, 1))
    for metric in (precision_at, recall_at, ndcg_at):
        with pytest.raises(RequestError, match="n must be between 1 and 50, got 51"):
            metric(query, database, 51)
    with pytest.raises(RequestError, match="unknown gain 'log'"):
        ndcg_at(query, database, 5, gain="log")
    with pytest.raises(RequestError, match="unknown ties of the first k hits 'expected'"):
        first_hits_average_precision(query, database, k=3, ties="expected")
    with pytest.raises(RequestError, match="k must be at least 1"):
        first_hits_average_precision(query, database, k=0)
    with pytest.raises(RequestError, match="unknown ties of histograms 'stable'"):
        hits_within(table(DISTANCES, RELEVANCE), 2, "stable")
    with pytest.raises(RequestError, match="of 5 queries and 12 bits do not belong to 4 queries"):
        average_precision(draw(4, 1), database, histograms=distance_histograms(query, database))
    with pytest.raises(RequestError, match="labels of codes must have shape"):
        with_labels(query, np.ones((4, 5)))
