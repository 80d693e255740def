"""Success rates on hand-made code tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming, pack
from hamguard.codes.histograms import distance_histograms
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.measures.criteria import (
    BitsMoved,
    NearCode,
    NothingFound,
    PrecisionDrops,
    TargetFound,
    away_criteria,
    code_curve,
    curve_rows,
    hits_probability,
    measure_success,
    success_rows,
    toward_criteria,
)

A, B = [1, 0], [0, 1]


def bank(codes: list[str], labels: list[list[int]]) -> CodeBank:
    bits = np.array([[int(bit) for bit in code] for code in codes])
    return CodeBank(pack(bits), bits.shape[1], np.array(labels, dtype=np.uint8))


CLEAN = bank(["00000", "00000", "11111"], [A, A, B])
MOVED = bank(["00111", "00001", "00000"], [A, A, B])  # 3, 1 and 5 bits
DATABASE = bank(["00000", "00001", "11111", "11110"], [A, A, B, B])


def random_bank(n: int, K: int, seed: int, classes: int = 3) -> CodeBank:
    rng = np.random.default_rng(seed)
    return CodeBank(pack(rng.integers(0, 2, (n, K))), K, np.eye(classes, dtype=np.uint8)[rng.integers(0, classes, n)])


def test_code_level_counts_bits() -> None:
    half = measure_success(BitsMoved(CLEAN), MOVED, CLEAN)
    assert (half.name, half.at, half.attacked.tolist(), half.clean.tolist()) == ("asr-code", 3, [1, 0, 1], [0, 0, 0])
    assert half.rate == pytest.approx(2 / 3)
    assert measure_success(BitsMoved(CLEAN, 1), MOVED, CLEAN).rate == 1
    assert code_curve(MOVED, CLEAN) == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    rows = curve_rows(MOVED, CLEAN, Row())
    assert [(row.metric, row.at, row.value) for row in rows[2:4]] == [("asr-code", 3, 2 / 3), ("asr-code", 4, 1 / 3)]


def test_retrieval_level_by_hand() -> None:
    rows = np.arange(3)
    # answers of the moved codes: 00111 has distances 3 2 2 3, 00001 has 1 0 4 5, 00000 has 0 1 5 4
    drops = PrecisionDrops(CLEAN, DATABASE, n=2)
    assert drops.hits.tolist() == [2, 2, 2] and drops.at == 2
    assert drops(MOVED.packed, rows).tolist() == [1, 0, 1]  # expected hits 1, 2, 0
    assert PrecisionDrops(CLEAN, DATABASE, n=2, rho=0.4)(MOVED.packed, rows).tolist() == [0, 0, 1]
    assert NothingFound(CLEAN.labels, DATABASE, 1)(MOVED.packed, rows).tolist() == [0.5, 0, 1]
    assert NothingFound(CLEAN.labels, DATABASE, 2)(MOVED.packed, rows).tolist() == [0, 0, 1]
    target = np.array([B, B, A], dtype=np.uint8)
    assert TargetFound(target, DATABASE, 1)(MOVED.packed, rows).tolist() == [0.5, 0, 1]
    three = TargetFound(target, DATABASE, 3)(MOVED.packed, rows)  # two of three, with one of the two at distance 3
    assert three.tolist() == [0.5, 0, 1]
    assert TargetFound(target, DATABASE, 10).at == 4  # no more items


def test_target_codes_are_reached_within_a_radius() -> None:
    target = bank(["11111", "00000", "00000"], [B, B, A]).packed
    found = measure_success(NearCode(target, 5, 2), MOVED, CLEAN)
    assert found.attacked.tolist() == [1, 1, 1] and found.clean.tolist() == [0, 1, 0]
    assert found.failed.tolist() == [False, True, False] and found.values.tolist() == [1, 1]
    assert measure_success(NearCode(target, 5, 0), MOVED, CLEAN).attacked.tolist() == [0, 0, 1]
    rate, clean = success_rows([found], Row(model="m"), seed=1)
    assert (rate.metric, rate.at, rate.value, rate.n) == ("t-asr-code", 2, 1.0, 2)
    assert rate.notes == ("t-asr-code@2: 1 of 3 queries fail when clean and are left out",)
    assert (clean.metric, clean.value, clean.n) == ("t-asr-code-clean", pytest.approx(1 / 3), 3)


def test_rates_without_queries_that_count_have_no_value() -> None:
    found = measure_success(NearCode(CLEAN.packed, 5, 2), MOVED, CLEAN)
    assert math.isnan(found.rate) and success_rows([found], Row())[0].value is None


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_equal_an_enumeration_of_all_orders(seed: int) -> None:
    query, database = random_bank(6, 3, seed, 2), random_bank(6, 3, seed + 10, 2)
    dist = hamming(query.packed, database.packed)
    relevant = (query.labels @ database.labels.T) > 0
    orders = [np.array(order) for order in itertools.permutations(range(6))]
    for n, least in ((1, 1), (2, 1), (3, 2), (5, 3), (6, 2), (4, 0)):
        slow = [
            np.mean([relevant[q][o][np.argsort(dist[q][o], kind="stable")][:n].sum() >= least for o in orders])
            for q in range(6)
        ]
        assert hits_probability(distance_histograms(query, database), n, least) == pytest.approx(slow, abs=1e-12)


def test_standard_lists() -> None:
    away = away_criteria(CLEAN, DATABASE)
    assert [(one.name, one.at) for one in away] == [
        ("asr-code", 3), ("asr-precision[rho=0.5]", 4), ("asr-hidden", 1), ("asr-hidden", 4), ("asr-hidden", 4),
    ]  # fmt: skip
    assert [one.name for one in away_criteria(CLEAN)] == ["asr-code"]
    toward = toward_criteria(5, target=CLEAN.packed, targets=CLEAN.labels, database=DATABASE)
    assert [(one.name, one.at) for one in toward] == [
        ("t-asr-code", 2), ("t-asr-code", 5), ("t-asr-top", 1), ("t-asr-top", 4),
    ]  # fmt: skip
    assert [one.at for one in toward_criteria(4, target=bank(["0000"], [A]).packed)] == [2]
    assert repr(away[1]) == "PrecisionDrops(n=100, rho=0.5)"
    for one in (*away, *toward):
        value = measure_success(one, MOVED, CLEAN)
        assert ((value.attacked >= 0) & (value.attacked <= 1)).all() and len(success_rows([value], Row())) == 2


def test_a_criterion_asks_any_part_of_the_pictures() -> None:
    query, moved, database = random_bank(20, 16, 0), random_bank(20, 16, 1), random_bank(60, 16, 2)
    part = np.array([3, 11, 4])
    for one in [
        *away_criteria(query, database),
        *toward_criteria(16, target=moved.packed, targets=moved.labels, database=database),
    ]:
        whole = one(moved.packed, np.arange(20))
        assert np.array_equal(one(moved.packed[part], part), whole[part])


def test_success_refuses_wrong_input() -> None:
    with pytest.raises(RequestError, match="asr-code knows 3 pictures, got 4 attacked codes of 5 bits and 3 clean"):
        measure_success(BitsMoved(CLEAN), DATABASE, CLEAN)
    with pytest.raises(RequestError, match="asr-code knows 3 pictures, got 3 attacked codes of 6 bits"):
        measure_success(BitsMoved(CLEAN), random_bank(3, 6, 0), CLEAN)
    with pytest.raises(RequestError, match="least must be between 0 and 5, got 6"):
        BitsMoved(CLEAN, 6)
    with pytest.raises(RequestError, match="radius must be between 0 and 5, got 9"):
        NearCode(CLEAN.packed, 5, 9)
    with pytest.raises(RequestError, match="target codes of 16 bits must be uint8"):
        NearCode(CLEAN.packed, 16)
    with pytest.raises(RequestError, match=r"rho must be between 0.0 and 1.0, got 2"):
        PrecisionDrops(CLEAN, DATABASE, rho=2)
    with pytest.raises(RequestError, match="n must be at least 1, got 0"):
        PrecisionDrops(CLEAN, DATABASE, n=0)
    with pytest.raises(RequestError, match="top must be at least 1, got 0"):
        NothingFound(CLEAN.labels, DATABASE, 0)
    with pytest.raises(RequestError, match="top must be at least 1, got 0"):
        TargetFound(CLEAN.labels, DATABASE, 0)
    with pytest.raises(RequestError, match="database must be at least 1, got 0"):
        NothingFound(CLEAN.labels, DATABASE.select(np.arange(0)))
    with pytest.raises(RequestError, match="needs target codes, or target labels and a database"):
        toward_criteria(5, targets=CLEAN.labels)
    table = distance_histograms(CLEAN, DATABASE)
    with pytest.raises(RequestError, match="n must be between 1 and 4, got 5"):
        hits_probability(table, 5, 1)
    with pytest.raises(RequestError, match="least must be at least 0, got -1"):
        hits_probability(table, 1, -1)
