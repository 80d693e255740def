"""False matches within a radius: counts against loops, fits and intervals against what is known exactly."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming, pack
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes, Floats
from hamguard.retrieval.false_matches import COUNTED, count_pairs, false_matches, sampled


def drawn(n: int, bits: int, seed: int, *, on: float = 0.5, codes: int = 0) -> Bytes:
    """Packed codes of independent bits; of so many different codes, each shared by many items, where `codes` says so."""
    rng = np.random.default_rng(seed)
    packed = pack((rng.random((codes or n, bits)) < on).astype(np.uint8))
    return packed[rng.integers(0, codes, n)] if codes else packed


def binomial(bits: int, p: float) -> Floats:
    """Share of pairs of independent codes within each radius, where a bit differs with probability p."""
    each = [comb(bits, d) * p**d * (1 - p) ** (bits - d) for d in range(bits + 1)]
    return np.cumsum(each)


@settings(max_examples=25, deadline=None)
@given(bits=st.sampled_from([8, 12, 33]), codes=st.sampled_from([0, 3, 20]), seed=st.integers(0, 999))
def test_pairs_are_counted_as_a_loop_counts_them(bits: int, codes: int, seed: int) -> None:
    packed = drawn(60, bits, seed, codes=codes)
    counts = count_pairs(packed, bits)
    dist = hamming(packed, packed)[np.triu_indices(60, 1)]
    assert counts.pairs.tolist() == np.bincount(dist, minlength=bits + 1).tolist()
    assert counts.items == 60 and counts.total == 60 * 59 // 2 == counts.pairs.sum()
    assert len(counts.sizes) == len(np.unique(packed, axis=0))
    assert (np.linalg.eigvalsh(counts.shared) > -1e-6).all()


@pytest.mark.parametrize(("on", "bits"), [(0.5, 64), (0.3, 64), (0.5, 48)])
def test_what_is_too_rare_to_be_counted_is_fitted(on: float, bits: int) -> None:
    truth = binomial(bits, 2 * on * (1 - on))
    radius = int(np.count_nonzero(truth <= 1e-7)) - 1
    covered = []
    for seed in range(20):
        found = false_matches(count_pairs(drawn(2000, bits, seed, on=on), bits))
        assert found.fitted[radius] and found.window == 1e-2
        assert 0.4 < found.share[radius] / truth[radius] < 2.5
        assert (np.diff(found.share) >= 0).all() and found.share[-1] == pytest.approx(1)
        assert (found.low <= found.share).all() and (found.share <= found.high).all()
        wide = slice(radius, radius + 12)
        covered.append(((found.low <= truth) & (truth <= found.high))[wide])
    assert np.mean(covered) >= 0.93


def test_the_radius_keeps_to_the_limit_at_the_upper_end() -> None:
    found = false_matches(count_pairs(drawn(4000, 64, 0), 64))
    radius = found.radius(10_000_000, 1.0)
    assert radius is not None
    high = found.expected(10_000_000)[2]
    assert high[radius] <= 1.0 < high[radius + 1]
    assert 10_000_000 * binomial(64, 0.5)[radius] < 1.0
    radii = [found.radius(10**7, most) for most in (0.001, 0.1, 1.0, 100.0)]
    assert radii == sorted(radii) and len(set(radii)) == 4  # type: ignore[type-var]
    assert found.radius(10, 10.0) == 64, "everything is allowed"


def test_codes_that_collapse_are_counted_with_all_their_items() -> None:
    packed = drawn(5000, 64, 1, codes=100)
    found = false_matches(count_pairs(packed, 64))
    assert (found.distinct, found.items, found.window) == (100, 5000, None)
    assert found.expected(1000)[0][0] == pytest.approx(10.0, rel=0.05), "a hundredth of the items have an equal code"
    assert found.low[0] < 0.01 < found.high[0] * 1.05 and found.radius(1000, 1.0) is None
    assert found.radius(10, 1.0) is not None, "among few items even that is rare"


def test_a_clump_that_a_curve_does_not_foresee_is_not_fitted_over() -> None:
    clump = np.repeat(drawn(1, 64, 3), 12, axis=0)  # 66 equal pairs, then none for long
    found = false_matches(count_pairs(np.concatenate([drawn(3000, 64, 2), clump]), 64))
    assert found.window is None and not found.fitted.any()
    assert found.share[0] == pytest.approx(66 / (3012 * 3011 / 2))
    assert found.low[0] < found.share[0] < found.high[0]


def test_without_pairs_there_is_an_upper_bound_all_the_same() -> None:
    found = false_matches(count_pairs(drawn(60, 64, 4), 64))
    pairs = 60 * 59 / 2
    assert found.window is None and found.share[3] == found.low[3] == 0.0
    assert found.high[3] == pytest.approx(3.69 / pairs, rel=0.02), "Poisson: no pair was seen"
    assert found.radius(100, 0.1) is None


def test_a_count_is_taken_as_it_is_where_pairs_are_enough() -> None:
    counts = count_pairs(drawn(2000, 32, 5), 32)
    found, within = false_matches(counts), np.cumsum(counts.pairs)
    enough = within >= COUNTED
    assert np.allclose(found.share[enough], within[enough] / counts.total) and not found.fitted[enough].any()


def test_samples_are_drawn_once_and_refused_where_they_say_nothing() -> None:
    bank = CodeBank(drawn(500, 32, 6), 32, np.zeros((500, 0), np.uint8))
    assert len(sampled(bank, 100, 0)) == 100 and sampled(bank, 1000, 0) is bank.packed
    assert np.array_equal(sampled(bank, 100, 1), sampled(bank, 100, 1))
    assert not np.array_equal(sampled(bank, 100, 1), sampled(bank, 100, 2))
    with pytest.raises(RequestError, match="counted between at least 50 items, the codes are those of 20"):
        sampled(bank.select(np.arange(20)), 100, 0)
    with pytest.raises(RequestError, match="sample must be at least 50, got 10"):
        sampled(bank, 10, 0)
    found = false_matches(count_pairs(bank.packed, 32))
    with pytest.raises(RequestError, match="false matches must be a number above 0, got 0"):
        found.radius(100, 0.0)
    with pytest.raises(RequestError, match="items must be at least 1, got 0"):
        found.expected(0)
