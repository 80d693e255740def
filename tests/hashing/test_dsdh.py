"""DSDH: closed forms, discrete steps against exhaustive search, and the pull of the network toward B."""

import itertools
import math

import pytest
import torch

from hamguard.codes.binary import relax, sign
from hamguard.hashing.dsdh import DSDH, DSDHSettings, classifier_step, cyclic_step, discrete_objective, dsdh
from tests.hashing import loops


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


def test_printed_weights_are_those_of_the_sums():
    """The network's part of J in the preset, as it is printed, divided by the pairs: a batch of 5 against a bank of 7."""
    u, labels, other, other_labels = loops.example()
    codes = sign(u.flip(0))
    slow = 0.0
    for i, j in itertools.product(range(5), range(7)):
        theta = loops.dot(u[i], other[j]) / 2
        slow += math.log(1 + math.exp(theta)) - (theta if loops.dot(labels[i], other_labels[j]) > 0 else 0.0)
    slow += 55 * sum((float(codes[i, k]) - float(u[i, k])) ** 2 for i in range(5) for k in range(6))
    fast = dsdh(u, labels, other, other_labels, codes, eta=55, eta_over="pairs")
    assert float(fast) == pytest.approx(slow / 35, rel=1e-9)


def test_the_paper_preset_learns_from_the_printed_sums():
    labels = torch.eye(2).repeat(4, 1)
    objective = DSDH(DSDHSettings(**DSDH.presets["paper"]), bits=3, labels=labels, seed=0)
    logits = torch.linspace(-1, 1, 6).view(2, 3)
    objective.state["codes"] = -torch.ones(8, 3)
    value = objective.loss(logits, labels[:2], torch.arange(2), 0.0)
    bank = objective.state["memory"]
    free = dsdh(relax(logits), labels[:2], bank, objective.state["memory_labels"], -torch.ones(2, 3), eta=0)
    pull = 55 * float((relax(logits) + 1).square().sum()) / (2 * 8)
    assert float(value - free) == pytest.approx(pull, rel=1e-5)


def test_a_setting_at_its_default_leaves_the_hash_of_older_jobs():
    assert "eta_over" not in DSDHSettings().model_dump()
    made = DSDHSettings(**DSDH.presets["paper"])
    assert made.model_dump()["eta_over"] == "pairs"
    assert DSDHSettings(**made.model_dump()) == made
