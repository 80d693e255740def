import numpy as np
import pytest

from hamguard.codes.histograms import DistanceHistograms
from hamguard.core.errors import RequestError
from hamguard.retrieval.curves import precision_curve, radius_curve, radius_precision, radius_recall, recall_curve
from tests.retrieval.cases import DISTANCES, RELEVANCE, orders, table

# Two queries at K = 2: one finds nothing before radius 1, the other has no relevant item.
COUNTS = DistanceHistograms(np.array([[0, 4, 4], [2, 2, 4]]), np.array([[0, 3, 1], [0, 0, 0]]), 2)


def test_macro_precision_skips_empty_balls():
    curve = radius_curve(COUNTS)
    assert list(curve.radius) == [0, 1, 2]
    assert list(curve.balls) == [1, 2, 2]
    assert np.allclose(curve.precision, [0, (3 / 4 + 0) / 2, (4 / 8 + 0) / 2])
    assert np.allclose(curve.recall, [0, 3 / 8, 1 / 2])
    assert curve.without_relevant == 1
    assert curve.name == "radius[macro,empty=skip]"


@pytest.mark.parametrize(("empty", "first"), [("zero", 0.0), ("one", 0.5)])
def test_macro_precision_of_empty_balls_by_agreement(empty, first):
    assert radius_curve(COUNTS, empty=empty).precision[0] == first


def test_micro_sums_counts_first():
    curve = radius_curve(COUNTS, average="micro")
    assert np.allclose(curve.precision, [0 / 2, 3 / 8, 4 / 16])
    assert np.allclose(curve.recall, [0, 3 / 4, 1])


def test_a_radius_without_any_item_has_no_precision_unless_agreed():
    alone = DistanceHistograms(COUNTS.total[:1], COUNTS.relevant[:1], 2)
    for average in ("macro", "micro"):
        assert np.isnan(radius_curve(alone, average=average).precision[0])
        assert radius_curve(alone, average=average, empty="one").precision[0] == 1
        assert radius_curve(alone, average=average, empty="zero").precision[0] == 0


def test_within_a_radius():
    assert list(radius_precision(COUNTS, 1)) == [0.75, 0]
    assert list(radius_precision(COUNTS, 0, empty="one")) == [1, 0]
    assert np.isnan(radius_precision(COUNTS, 0, empty="skip")[0])
    assert list(radius_recall(COUNTS, 1)) == [0.75, 0]


def test_precision_at_recall_levels_equals_the_mean_rank_over_all_orders():
    counts = table(DISTANCES, RELEVANCE)
    levels = [0.01, 0.25, 0.26, 0.5, 0.75, 1.0]
    ranks = np.array([np.flatnonzero(order) + 1 for order in orders(DISTANCES, RELEVANCE)])
    needed = np.array([1, 1, 2, 2, 3, 4])
    for ties, rank in (("expected", ranks.mean(axis=0)), ("best", ranks.min(axis=0)), ("worst", ranks.max(axis=0))):
        curve = recall_curve(counts, levels, ties=ties)
        assert np.allclose(curve.precision, needed / rank[needed - 1])
    assert (curve.n, curve.without_relevant, curve.name) == (1, 0, "recall[ties=worst]")


@pytest.mark.parametrize("ties", ["expected", "best", "worst"])
def test_interpolated_precision_is_the_highest_at_any_later_hit(ties):
    rng = np.random.default_rng(0)
    total = rng.integers(0, 6, (8, 7))
    counts = DistanceHistograms(total, rng.integers(0, total + 1), 6)
    for i in range(8):
        one = DistanceHistograms(counts.total[i : i + 1], counts.relevant[i : i + 1], 6)
        count = int(one.relevant_count[0])
        plain = recall_curve(one, np.arange(1, count + 1) / count, ties=ties).precision  # at every hit
        smooth = recall_curve(one, np.arange(1, count + 1) / count, ties=ties, interpolated=True)
        assert np.allclose(smooth.precision, np.maximum.accumulate(plain[::-1])[::-1])
    assert smooth.name == f"recall[ties={ties},interpolated]"


def test_decimal_levels_do_not_need_a_hit_too_many():
    counts = DistanceHistograms(np.array([[30, 70]]), np.array([[30, 0]]), 1)
    assert np.allclose(recall_curve(counts, [0.1], ties="best").precision, [1])
    ladder = DistanceHistograms(np.ones((1, 31), dtype=int), np.ones((1, 31), dtype=int), 30)
    ladder.relevant[0, 3] = 0
    assert recall_curve(ladder, [0.1]).precision[0] == 1.0  # 3 hits of 30, not 4


def test_queries_without_relevant_items_have_no_recall():
    curve = recall_curve(COUNTS)
    assert (curve.n, curve.without_relevant, len(curve.recall)) == (1, 1, 100)


def test_precision_by_number_of_results():
    lists = list(orders(DISTANCES, RELEVANCE))
    expected = [np.mean([sum(o[:n]) / n for o in lists]) for n in range(1, 9)]
    assert np.allclose(precision_curve(table(DISTANCES, RELEVANCE), range(1, 9)), expected)


def test_wrong_requests_are_refused():
    none = DistanceHistograms(COUNTS.total[:0], COUNTS.relevant[:0], 2)
    for curve in (radius_curve, recall_curve, lambda h: precision_curve(h, [1])):
        with pytest.raises(RequestError, match="there are no queries"):
            curve(none)
    with pytest.raises(RequestError, match="unknown average 'mean'"):
        radius_curve(COUNTS, average="mean")
    with pytest.raises(RequestError, match="unknown empty 'drop'; allowed: skip, zero, one"):
        radius_curve(COUNTS, empty="drop")
    with pytest.raises(RequestError, match="radius must be between 0 and 2, got 3"):
        radius_precision(COUNTS, 3)
    with pytest.raises(RequestError, match="radius must be between 0 and 2, got -1"):
        radius_recall(COUNTS, -1)
    with pytest.raises(RequestError, match="unknown empty"):
        radius_precision(COUNTS, 1, empty="nan")
    for grid in ([], [0], [1.1], [[0.5]], [float("nan")]):
        with pytest.raises(RequestError, match=r"recall levels must be one or more numbers in \(0, 1\]"):
            recall_curve(COUNTS, grid)
    with pytest.raises(RequestError, match="unknown ties of a recall curve 'stable'"):
        recall_curve(COUNTS, ties="stable")
    with pytest.raises(RequestError, match="no query has a relevant item"):
        recall_curve(DistanceHistograms(COUNTS.total, COUNTS.relevant * 0, 2))
    with pytest.raises(RequestError, match="n must be between 1 and 8, got 9"):
        precision_curve(COUNTS, [1, 9])
    with pytest.raises(RequestError, match="unknown ties of histograms"):
        precision_curve(COUNTS, [1], ties="stable")
