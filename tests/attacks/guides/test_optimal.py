"""The optimal guide against brute force, its flip scores against codes scored afresh, and what it promises beside other guides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides import optimal
from hamguard.attacks.guides.optimal import FittedOptimal, OptimalCode
from hamguard.attacks.guides.registry import guide_named
from hamguard.attacks.guides.vote import AnchorCode, SignedMean
from hamguard.attacks.types import LearningGuide
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.codes.labeled import Codes
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Floats
from hamguard.retrieval.flips import COPIES, DistinctCodes, spread
from hamguard.retrieval.metrics import average_precision


def bank_of(seed: int, n: int = 40, bits: int = 8, classes: int = 4, share: float = 0.35) -> CodeBank:
    """Multi-label items whose bits follow their labels, and stray."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, classes)) < share
    lean = labels @ rng.normal(size=(classes, bits)) + 0.7 * rng.normal(size=(n, bits))
    return CodeBank.of(np.where(lean < 0, -1, 1), labels)


def scores(code: Tensor | Array, label: Array, bank: CodeBank) -> Floats:
    """Average precision of codes `(M, K)` in {-1, +1} under one label vector."""
    return average_precision(Codes(pack(code), bank.bits, np.repeat(label[None], len(code), axis=0)), bank)


def codes_of(guide: OptimalCode | FittedOptimal, labels: Array, bank: CodeBank, seed: int = 0) -> Tensor:
    own = torch.ones(len(labels), bank.bits)
    return guide(own, torch.from_numpy(labels).float(), bank, range(len(labels)), seed)


@pytest.mark.parametrize(("bits", "n"), [(1, 5), (2, 9), (8, 60), (13, 200), (32, 300)])
def test_flips_score_like_codes_scored_afresh(bits: int, n: int) -> None:
    bank = bank_of(bits, n, bits)
    label = np.array([1, 0, 1, 0], dtype=np.uint8)
    flips = DistinctCodes.of(bank.packed, bits).flips(bank.labels[:, label > 0].any(1))
    code = np.random.default_rng(1).random(bits) < 0.5
    now, after = flips.single(code)
    signed = np.where(code, 1, -1)
    assert now.shape == (1,) and now == pytest.approx(scores(signed[None], label, bank), abs=1e-12)
    literal = np.where(np.eye(bits, dtype=bool), -signed, signed)  # (K, K), row k with bit k flipped
    np.testing.assert_allclose(after, scores(literal, label, bank)[None], atol=1e-12)
    chosen = np.random.default_rng(2).permutation(bits)[:7]
    if len(chosen) < 2:
        return
    pairs, after = flips.pairs(code, chosen)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == set(itertools.combinations(sorted(chosen.tolist()), 2))
    literal = np.repeat(signed[None], len(pairs), axis=0)
    np.put_along_axis(literal, pairs, -np.take_along_axis(literal, pairs, axis=1), axis=1)
    np.testing.assert_allclose(after, scores(literal, label, bank)[None], atol=1e-12)


def test_equal_codes_are_counted_once_and_all() -> None:
    bank = bank_of(0, n=500, bits=4)
    distinct = DistinctCodes.of(bank.packed, 4)
    assert len(distinct.ones) <= 16 and distinct.count.sum() == 500
    np.testing.assert_array_equal(distinct.ones[distinct.row], bank.codes.numpy() > 0)


def test_straying_is_what_it_does_to_the_distance_of_every_code() -> None:
    for wrong, stray, d in itertools.product((0.0, 0.1, 0.5), (0.3, 1.0), range(5)):
        literal = (1 - stray) * np.eye(5)[d]
        for bits in itertools.product((0, 1), repeat=4):
            moved = d - sum(bits[:d]) + sum(bits[d:])
            literal[moved] += stray * wrong ** sum(bits) * (1 - wrong) ** (4 - sum(bits))
        row = spread(4, stray, wrong)[d]
        np.testing.assert_allclose(row / COPIES, literal, atol=1 / COPIES)
        assert row.sum() == COPIES and row.min() >= 0


def test_stray_scores_are_those_of_a_bank_with_stray_copies() -> None:
    bank = bank_of(3, n=12, bits=2)
    label = np.array([1, 1, 0, 0], dtype=np.uint8)
    signs = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]])
    times = (
        COPIES // 32 * np.array([16 + 9, 3, 3, 1])
    )  # half of the copies stray, one bit in four is wrong: no rounding
    copies = (bank.codes.numpy()[:, None, :] * signs).repeat(times, axis=1).reshape(-1, 2)
    noisy = CodeBank.of(copies, bank.labels.repeat(COPIES, axis=0))
    flips = DistinctCodes.of(bank.packed, 2).flips(bank.labels[:, label > 0].any(1), spread(2, 0.5, 0.25))
    now, after = flips.single(np.array([True, True]))
    last = flips.pairs(np.array([True, True]), np.arange(2))[1]
    for row, items in enumerate((bank, noisy)):  # the items as they are, and where some stray
        got = [now[row], *after[row], *last[row]]
        np.testing.assert_allclose(got, scores(signs, label, items), atol=1e-12)


@pytest.mark.parametrize("toward", [True, False])
def test_search_is_never_worse_than_its_start_and_mostly_the_best_of_all_codes(toward: bool) -> None:
    every = np.array(list(itertools.product((-1, 1), repeat=8)))
    side, best, reached, cases = 1 if toward else -1, 0, 0, 0
    for seed in range(15):
        bank = bank_of(seed)
        for label in np.eye(4, dtype=np.uint8)[:2]:
            score = side * scores(every, label, bank)
            plain, kicked = (
                side * scores(side * codes_of(OptimalCode(toward, restarts=n, stray=0.0), label[None], bank), label, bank)[0]
                for n in (0, 6)
            )  # fmt: skip
            start = SignedMean()(torch.ones(1, 8), torch.from_numpy(label[None]).float(), bank, [0], 0)
            assert plain >= side * scores(side * start, label, bank)[0]
            assert score.max() + 1e-12 >= kicked >= plain - 1e-12
            best, reached, cases = (
                best + (plain > score.max() - 1e-9),
                reached + (kicked > score.max() - 1e-9),
                cases + 1,
            )
    assert best >= 0.8 * cases and reached >= 0.95 * cases, (best, reached, cases)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 20), st.integers(1, 5), st.booleans(),
    st.sampled_from([0.0, 0.1, 1.0]),
)  # fmt: skip
def test_ideal_code_is_at_least_as_good_as_the_other_guides(
    seed: int, n: int, bits: int, classes: int, toward: bool, stray: float
) -> None:
    bank = bank_of(seed, n, bits, classes)
    guide, side = OptimalCode(toward, stray=stray).fit(bank), 1 if toward else -1
    for label in np.unique(bank.labels, axis=0)[:4]:
        wanted, own = torch.from_numpy(label[None]).float(), torch.ones(1, bits)
        got = side * scores(side * codes_of(guide, label[None], bank), label, bank)[0]
        for other in (SignedMean("mainstay"), SignedMean("center"), AnchorCode(n)):
            code = other(own, wanted, bank, [0], 0)
            assert got >= side * scores(side * code, label, bank)[0] - 1e-9, other


def test_a_bit_in_which_no_code_differs_is_left_alone() -> None:
    codes = bank_of(9, n=200, bits=12).codes
    codes[:, :3] = torch.tensor([1.0, -1, 1])
    bank = CodeBank.of(codes, bank_of(9, n=200, bits=12).labels)
    for toward in (True, False):
        for label in np.eye(4, dtype=np.uint8):
            wanted, own = torch.from_numpy(label[None]).float(), torch.ones(1, 12)
            guesses = [one(own, wanted, bank, [0], 0) for one in (SignedMean(), SignedMean("center"), AnchorCode(200))]
            got = codes_of(OptimalCode(toward), label[None], bank)
            assert any(torch.equal(got[:, :3], guess[:, :3]) for guess in guesses), "as one of the starts has it"


def test_it_beats_the_mainstay_where_labels_overlap() -> None:
    gains = []
    for seed in range(6):
        bank = bank_of(seed, n=400, bits=16, classes=6)
        label = np.array([1, 1, 0, 0, 0, 0], dtype=np.uint8)
        start = SignedMean()(torch.ones(1, 16), torch.from_numpy(label[None]).float(), bank, [0], 0)
        found = codes_of(OptimalCode(toward=True), label[None], bank)
        gains.append(float(np.diff(scores(torch.cat([start, found]), label, bank))[0]))
    assert np.mean(gains) > 0.01, gains


def test_codes_depend_on_bank_label_and_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_of(5, n=80, bits=24)
    labels = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.uint8)
    torch.manual_seed(5)
    state, state_numpy = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002 - not moved
    guide = OptimalCode(restarts=3)
    together = codes_of(guide, labels, bank, 1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert np.random.get_state()[1].tolist() == state_numpy  # noqa: NPY002
    assert torch.equal(together, codes_of(guide, labels, bank, 1)) and torch.equal(together[0], together[2])
    fitted, calls = guide.fit(bank, 1), []
    monkeypatch.setattr(optimal, "best_code", lambda *a, f=optimal.best_code: calls.append(1) or f(*a))
    backwards = torch.cat([codes_of(fitted, row[None], bank) for row in labels[::-1]])
    assert torch.equal(together, backwards.flip(0)) and len(calls) == 3, "one search a distinct label vector"
    assert together.dtype == torch.float32 and set(together.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("toward", [True, False])
def test_where_every_code_scores_alike_it_is_the_mainstay(toward: bool) -> None:
    bank = CodeBank.of(bank_of(7).codes, np.tile([1, 0, 0], (40, 1)))
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.uint8)  # all relevant, none, no label
    got = codes_of(OptimalCode(toward), labels, bank)
    for row, label in zip(got, labels, strict=True):
        wanted = torch.from_numpy(label[None]).float()
        assert torch.equal(row, SignedMean()(torch.ones(1, 8), wanted, bank, [0], 0)[0])


def test_it_takes_the_direction_of_its_attack() -> None:
    bank = bank_of(2, n=120, bits=16)
    guide = OptimalCode()
    assert guide.with_direction(False) is guide and guide.with_direction(True) == OptimalCode(toward=True)
    fitted = guide.fit(bank)
    assert fitted.with_direction(False) is fitted and fitted.with_direction(True).search.toward
    label = np.array([[1, 0, 0, 0]], dtype=np.uint8)
    away = codes_of(fitted, label, bank)
    toward = codes_of(fitted.with_direction(True), label, bank)
    assert torch.equal(toward, codes_of(OptimalCode(toward=True), label, bank))
    assert torch.equal(away, codes_of(fitted, label, bank)), "each keeps its own codes"
    high, low = scores(toward, label[0], bank)[0], scores(-away, label[0], bank)[0]
    assert low <= scores(-toward, label[0], bank)[0] and high >= scores(away, label[0], bank)[0]


class Linear:
    """The least that an attack needs: logits of flattened pictures."""

    bits = 16

    def logits(self, x: Tensor) -> Tensor:
        weight = torch.randn(48, 16, generator=torch.Generator().manual_seed(0))
        return (x.flatten(1) - 0.5) @ weight


def test_an_attack_prepares_it_once_and_follows_it() -> None:
    bank = bank_of(4, n=150, bits=16)
    attack = Attack(OptimalCode(toward=True), toward=True)
    prepared = attack.prepared(bank, 3)
    assert isinstance(attack.guide, LearningGuide) and isinstance(prepared.guide, FittedOptimal)
    assert prepared.guide.name == "optimal" and "search=OptimalCode(toward=True" in repr(prepared.guide)
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 1]])
    got, plain = (one(Linear(), x, labels, bank, seed=3) for one in (prepared, attack))
    assert torch.equal(got.target, plain.target) and torch.equal(got.x_adv, plain.x_adv)
    agree = [(Linear().logits(pictures).sign() == got.target).float().mean() for pictures in (x, got.x_adv)]
    assert agree[1] > agree[0]


def test_large_codes_try_the_pairs_of_the_cheapest_bits_only() -> None:
    bank = bank_of(6, n=60, bits=40)
    label = np.array([[1, 0, 0, 0]], dtype=np.uint8)
    low, high = (
        scores(codes_of(OptimalCode(toward=True, pair_bits=p, stray=0.0), label, bank), label[0], bank) for p in (0, 8)
    )
    assert high >= low


def test_wrong_inputs_explain_themselves() -> None:
    bank, own = bank_of(1), torch.ones(2, 8)
    assert guide_named("optimal") == OptimalCode()
    fitted = OptimalCode().fit(bank)
    with pytest.raises(RequestError, match="the optimal code needs the labels of the pictures"):
        fitted(own, None, bank, range(2), 0)
    with pytest.raises(RequestError, match="labels have 3 classes, the reference codes 4"):
        fitted(own, torch.eye(3), bank, range(3), 0)
    with pytest.raises(RequestError, match="fitted on codes of 8 bits, the model has 6"):
        fitted(own[:, :6], torch.eye(4)[:2], bank, range(2), 0)
    with pytest.raises(RequestError, match="the optimal code needs reference codes with labels, got none"):
        OptimalCode().fit(None)
    for wrong, message in (
        ({"pair_bits": -1}, "pair bits must be at least 0, got -1"),
        ({"restarts": -1}, "restarts must be at least 0, got -1"),
        ({"stray": 1.1}, "stray share must be between 0.0 and 1.0, got 1.1"),
    ):
        with pytest.raises(RequestError, match=message):
            OptimalCode(**wrong)
    with pytest.raises(RequestError, match="flips are scored on at least one code, got none"):
        DistinctCodes.of(bank.packed[:0], 8)
    with pytest.raises(RequestError, match=r"relevance of 40 items must have shape \(40,\), got \(3,\)"):
        DistinctCodes.of(bank.packed, 8).flips(np.ones(3, dtype=bool))
    with pytest.raises(RequestError, match="a spread for 4 bits does not belong to codes of 8"):
        DistinctCodes.of(bank.packed, 8).flips(np.ones(40, dtype=bool), spread(4, 0.1))
    with pytest.raises(RequestError, match="stray share must be between 0.0 and 1.0, got -0.7"):
        spread(8, -0.7)
    with pytest.raises(RequestError, match="wrong share must be between 0.0 and 1.0, got 2"):
        spread(8, 0.1, 2)
