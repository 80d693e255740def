"""DSDH: closed forms, discrete steps against exhaustive search, and the pull of the network toward B."""

import itertools

import pytest
import torch

from hamguard.codes.binary import relax, sign
from hamguard.hashing.dsdh import DSDH, DSDHSettings, classifier_step, cyclic_step, discrete_objective, dsdh


def example(n=30, K=6, C=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    u = torch.tanh(torch.randn(n, K, generator=g, dtype=torch.double))
    return u, (torch.rand(n, C, generator=g) < 0.4).double(), sign(torch.randn(n, K, generator=g, dtype=torch.double))


def test_discrete_objective_agrees_with_loops():
    u, labels, codes = example(n=5)
    w = torch.randn(6, 4, dtype=torch.double)
    slow = sum(
        0.5 * (labels[i, c] - sum(w[k, c] * codes[i, k] for k in range(6))) ** 2 for i in range(5) for c in range(4)
    )
    slow += 0.2 * sum(w[k, c] ** 2 for k in range(6) for c in range(4))
    slow += 0.3 * sum((codes[i, k] - u[i, k]) ** 2 for i in range(5) for k in range(6))
    assert float(discrete_objective(codes, w, u, labels, mu=0.5, nu=0.2, eta=0.3)) == pytest.approx(
        float(slow), abs=1e-6
    )


def test_classifier_step_is_stationary():
    u, labels, codes = example()
    w = classifier_step(codes, labels, ridge=0.2 / 0.5).requires_grad_()
    discrete_objective(codes, w, u, labels, mu=0.5, nu=0.2, eta=0.3).backward()
    assert float(w.grad.abs().max()) < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_one_bit_of_the_cyclic_step_is_the_exact_minimum(seed):
    u, labels, codes = example(n=8, K=1, seed=seed)
    w = torch.randn(1, 4, dtype=torch.double)
    found = discrete_objective(cyclic_step(codes, w, u, labels, pull=0.6), w, u, labels, mu=0.5, nu=0.2, eta=0.3)
    least = min(
        float(discrete_objective(torch.tensor(c, dtype=torch.double)[:, None], w, u, labels, mu=0.5, nu=0.2, eta=0.3))
        for c in itertools.product((-1.0, 1.0), repeat=8)
    )
    assert float(found) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_cyclic_step_agrees_with_a_search_bit_by_bit(seed):
    u, labels, codes = example(n=6, K=4, seed=seed)
    w = torch.randn(4, 4, dtype=torch.double)
    slow = codes.clone()
    for k, i in itertools.product(range(4), range(6)):
        values = []
        for value in (-1.0, 1.0):
            slow[i, k] = value
            values.append(float(discrete_objective(slow, w, u, labels, mu=0.5, nu=0.2, eta=0.3)))
        slow[i, k] = -1.0 if values[0] < values[1] else 1.0
    assert torch.equal(cyclic_step(codes, w, u, labels, pull=0.6), slow)


@pytest.mark.parametrize("multi", [False, True])
def test_objective_never_increases(multi):
    u, labels, codes = example(n=200, K=8)
    labels = labels if multi else torch.eye(4, dtype=torch.double)[torch.arange(200) % 4]
    weights = {"mu": 1.0, "nu": 0.1, "eta": 0.1}
    w = classifier_step(codes, labels, ridge=0.1)
    last = float(discrete_objective(codes, w, u, labels, **weights))
    for _ in range(5):
        codes = cyclic_step(codes, w, u, labels, pull=0.1)
        now = float(discrete_objective(codes, w, u, labels, **weights))
        assert now <= last + 1e-9
        w = classifier_step(codes, labels, ridge=0.1)
        last = float(discrete_objective(codes, w, u, labels, **weights))
        assert last <= now + 1e-9


def test_network_is_pulled_toward_discrete_codes():
    labels = torch.eye(2).repeat(4, 1)
    objective = DSDH(DSDHSettings(eta=1.0), bits=3, labels=labels, seed=0)
    index = torch.arange(8)
    objective.state["codes"] = -torch.ones(8, 3)
    logits = torch.full((8, 3), 0.5, requires_grad=True)
    value = objective.loss(logits, labels, index, 0.0)
    u = relax(logits)
    expected = dsdh(
        u, labels, u, labels, -torch.ones(8, 3), eta=1.0, balance=objective.settings.balance, skip_self=True
    )
    torch.testing.assert_close(value, expected)
    assert float((u.detach() + 1).square().mean()) > 1  # the pull that the ports leave out
    before = objective.state["memory"].clone()
    torch.testing.assert_close(before, u.detach())
    objective.end_epoch(0)
    assert set(objective.state["codes"].unique().tolist()) <= {-1.0, 1.0}
    assert float(objective.state["classifier"].abs().sum()) > 0


def test_codes_not_set_yet_are_the_own_sign():
    objective = DSDH(DSDHSettings(), bits=3, labels=torch.eye(3), seed=0)
    logits = torch.tensor([[0.5, -0.5, 2.0]] * 3)
    u = relax(logits)
    expected = dsdh(
        u, torch.eye(3), u, torch.eye(3), sign(u), eta=objective.settings.eta,
        balance=objective.settings.balance, skip_self=True,
    )  # fmt: skip
    torch.testing.assert_close(objective.loss(logits, torch.eye(3), torch.arange(3), 0.0), expected)
