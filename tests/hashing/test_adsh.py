"""ADSH: network loss and bit update against literal matrices and exhaustive search, subsets, start."""

import itertools

import pytest
import torch

from hamguard.codes.binary import sign
from hamguard.hashing import adsh as module
from hamguard.hashing.adsh import ADSH, ADSHSettings, adsh, codes_step, negative_value, similar_sum


def example(n=12, m=5, K=4, C=3, multi=False, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.eye(C, dtype=torch.double)[torch.randint(C, (n,), generator=g)]
    if multi:
        labels = (torch.rand(n, C, generator=g) < 0.5).double()
    u = torch.tanh(torch.randn(m, K, generator=g, dtype=torch.double))
    return u, torch.randperm(n, generator=g)[:m], labels, sign(torch.randn(n, K, generator=g, dtype=torch.double))


def signed(labels, rows, negative):
    return torch.tensor(
        [[1.0 if float(labels[i] @ labels[j]) > 0 else -negative for j in range(len(labels))] for i in rows]
    ).double()


def slow_objective(codes, u, subset, labels, *, gamma, negative):
    s = signed(labels, subset, negative)
    total = 0.0
    for i in range(len(u)):
        for j in range(len(codes)):
            total += (float(u[i] @ codes[j]) - u.shape[1] * float(s[i, j])) ** 2
        total += gamma * float((codes[subset[i]] - u[i]).square().sum())
    return total


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("negative", [1.0, 0.11])
def test_network_loss_agrees_with_loops(multi, negative):
    u, subset, labels, codes = example(multi=multi)
    fast = adsh(u, labels[subset], codes[subset], codes, labels, gamma=7.0, negative=negative)
    assert float(fast) * 5 * 12 == pytest.approx(
        slow_objective(codes, u, subset, labels, gamma=7.0, negative=negative), abs=1e-6
    )


@pytest.mark.parametrize("multi", [False, True])
def test_similar_sum_needs_no_large_matrix(multi, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 5)
    u, subset, labels, _ = example(multi=multi)
    literal = (signed(labels, subset, 0.0).T) @ u
    torch.testing.assert_close(similar_sum(u, labels[subset], labels), literal)
    s = signed(labels, range(12), 0.0)
    assert negative_value(labels, torch.arange(12)) == pytest.approx(float(s.sum() / (1 - s).sum()))


@pytest.mark.parametrize("multi", [False, True])
def test_bit_update_agrees_with_the_printed_matrices(multi):
    u, subset, labels, codes = example(multi=multi)
    s = signed(labels, subset, 0.3)
    own = torch.zeros_like(codes)
    own[subset] = u
    q = -2 * 4 * s.T @ u - 2 * 7.0 * own
    slow = codes.clone()
    for k in range(4):
        others = [b for b in range(4) if b != k]
        slow[:, k] = sign(-(q[:, k] + 2 * slow[:, others] @ (u[:, others].T @ u[:, k])))
    assert torch.equal(codes_step(codes, u, subset, labels, gamma=7.0, negative=0.3), slow)


@pytest.mark.parametrize("seed", range(3))
def test_bit_update_is_the_exact_minimum(seed):
    u, subset, labels, codes = example(n=7, m=4, K=1, seed=seed)
    found = codes_step(codes, u, subset, labels, gamma=2.0, negative=0.4)
    least = min(
        slow_objective(torch.tensor(c).double()[:, None], u, subset, labels, gamma=2.0, negative=0.4)
        for c in itertools.product((-1.0, 1.0), repeat=7)
    )
    assert slow_objective(found, u, subset, labels, gamma=2.0, negative=0.4) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_update_of_v_never_increases_the_objective(multi, seed):
    u, subset, labels, codes = example(n=30, m=10, K=6, multi=multi, seed=seed)
    known = {"u": u, "subset": subset, "labels": labels, "gamma": 20.0, "negative": 0.5}
    last = slow_objective(codes, **known)
    for _ in range(3):
        codes = codes_step(codes, u, subset, labels, gamma=20.0, negative=0.5)
        now = slow_objective(codes, **known)
        assert now <= last + 1e-9
        last = now


def make(n=20, bits=4, **settings):
    labels = torch.eye(5)[torch.arange(n) % 5]
    return ADSH(ADSHSettings(**settings), bits=bits, labels=labels, seed=3), labels


def test_subset_is_a_function_of_seed_and_outer_iteration():
    objective, _ = make(omega=6, inner=3)
    assert torch.equal(objective.select(0), objective.select(2))
    assert not torch.equal(objective.select(2), objective.select(3))
    assert len(objective.select(0)) == 6 and len(set(objective.select(0).tolist())) == 6
    assert len(make(omega=2000)[0].select(0)) == 20


def test_v_changes_only_when_an_outer_iteration_ends():
    objective, labels = make(omega=6, inner=2)
    assert objective.needs_start and objective.learned_codes() is None
    z = torch.randn(20, 4)
    objective.start(z)
    start = objective.learned_codes()
    assert torch.equal(start, sign(z - z.median(0).values))
    for epoch in range(2):
        index = objective.select(epoch)
        objective.loss(3 * torch.randn(6, 4), labels[index], index, 0.0)
        before = objective.state["outputs"].clone()
        objective.end_epoch(epoch)
        if epoch == 0:
            assert torch.equal(objective.learned_codes(), start)
    expected = codes_step(
        start, before[index.sort().values], index.sort().values, labels, gamma=200.0, negative=objective.negative
    )
    assert torch.equal(objective.learned_codes(), expected)
    assert float(objective.state["outputs"].abs().sum()) == 0


def test_printed_start_and_negatives():
    objective, labels = make(v_start="zero", negatives="hard", inner=1)
    assert not objective.needs_start and objective.negative == 1.0
    assert objective.learned_codes() is None
    index = objective.select(0)
    objective.loss(torch.randn(20, 4), labels[index], index, 0.0)
    objective.end_epoch(0)
    assert set(objective.learned_codes().unique().tolist()) <= {-1.0, 1.0}
