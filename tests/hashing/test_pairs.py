"""DPSH, DPH, DSH, HashNet: equations against loops, vectors, and what a batch is compared with."""

import math

import pytest
import torch

from hamguard.codes.binary import relax
from hamguard.hashing.dph import dph, pair_square
from hamguard.hashing.dpsh import DPSH, DPSHSettings, dpsh, pair_likelihood
from hamguard.hashing.dsh import dsh
from hamguard.hashing.hashnet import HashNet, HashNetSettings, continuation_beta, hashnet
from hamguard.hashing.memory import pair_mean
from hamguard.hashing.objective import objective_type


def example(B=5, N=7, K=6, C=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    u, other = (torch.tanh(torch.randn(n, K, generator=g, dtype=torch.double)) for n in (B, N))
    labels, other_labels = ((torch.rand(n, C, generator=g) < 0.3).double() for n in (B, N))
    return u, labels, other, other_labels


def dot(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def slow_mean(value, u, labels, other, other_labels, *, balance, skip_self):
    kinds = {0: [], 1: []}
    for i in range(len(u)):
        for j in range(len(other)):
            if skip_self and i == j:
                continue
            s = int(dot(labels[i], other_labels[j]) > 0)
            kinds[s].append(value(u[i], other[j], s))
    if balance:
        return 0.5 * sum(kinds[0]) / len(kinds[0]) + 0.5 * sum(kinds[1]) / len(kinds[1])
    return sum(kinds[0] + kinds[1]) / len(kinds[0] + kinds[1])


def likelihood(a, b, s):
    theta = dot(a, b) / 2
    return math.log(1 + math.exp(theta)) - s * theta


def square(a, b, s):
    return (dot(a, b) / len(a) - (1 if s else -1)) ** 2


def contrast(a, b, s):
    dist = sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))
    return 0.5 * dist if s else 0.5 * max(2 * len(a) - dist, 0)


def sigmoid_likelihood(a, b, s):
    inner = 0.3 * dot(a, b)
    return math.log(1 + math.exp(inner)) - s * inner


def quant(u, power):
    return sum(abs(abs(float(e)) - 1) ** power for row in u for e in row) / u.numel()


CASES = {
    "dpsh": (lambda *a, **k: dpsh(*a, eta=0.7, **k), likelihood, lambda u: 0.7 * quant(u, 2), 1),
    "dph": (lambda *a, **k: dph(*a, eta=0.3, **k), square, lambda u: 0.3 * quant(u, 2), 1),
    "dsh": (lambda *a, **k: dsh(*a, alpha=0.2, margin=12.0, **k), contrast, lambda u: 0.2 * quant(u, 1), 1),
    "hashnet": (lambda *a, **k: hashnet(*a, slope=0.3, **k), sigmoid_likelihood, lambda u: 0.0, 2),
}


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("method", sorted(CASES))
def test_loss_agrees_with_loops(method, balance, own):
    loss, value, extra, double = CASES[method]
    u, labels, other, other_labels = example()
    if own:
        other, other_labels = u, labels
    slow = slow_mean(value, u, labels, other, other_labels, balance=balance, skip_self=own)
    fast = loss(u, labels, other, other_labels, balance=balance, skip_self=own)
    assert float(fast) == pytest.approx((double if balance else 1) * slow + extra(u), abs=1e-6)


def test_hashnet_balance_is_the_papers_weights():
    u, labels, other, other_labels = example()
    similar = (labels @ other_labels.T) > 0
    total = 0.0
    for i in range(5):
        for j in range(7):
            weight = similar.numel() / (similar.sum() if similar[i, j] else (~similar).sum())
            total += float(weight) * sigmoid_likelihood(u[i], other[j], int(similar[i, j]))
    assert float(hashnet(u, labels, other, other_labels, slope=0.3)) == pytest.approx(total / similar.numel(), abs=1e-6)


def test_dpsh_printed_sum_over_pairs():
    u, labels, other, other_labels = example()
    slow = sum(likelihood(a, b, int(dot(y, z) > 0)) for a, y in zip(u, labels) for b, z in zip(other, other_labels))  # noqa: B905
    slow += 50 * sum((math.copysign(1, float(e)) - float(e)) ** 2 for row in u for e in row)
    fast = dpsh(u, labels, other, other_labels, eta=50, eta_over="pairs")
    assert float(fast) == pytest.approx(slow / 35, abs=1e-6)


def test_vectors_of_one_pair():
    u, v = torch.tensor([[0.5, -0.5, 1, 1]]), torch.tensor([[1, 1, -1, 0.5]])
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    assert float(u @ v.T / 2) == pytest.approx(-0.25)
    assert float(pair_likelihood(u, v, one)) == pytest.approx(0.8259394, abs=1e-6)
    assert float(pair_likelihood(u, v, zero)) == pytest.approx(0.5759394, abs=1e-6)
    assert float(pair_square(u, v, one)) == pytest.approx(1.265625, abs=1e-6)
    assert float(pair_square(u, v, zero)) == pytest.approx(0.765625, abs=1e-6)


def test_pair_mean_without_one_kind_or_without_pairs():
    term = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for similar in (torch.zeros(2, 2), torch.ones(2, 2)):
        value = pair_mean(term, similar, balance=True, skip_self=True)
        assert torch.isfinite(value) and float(value.detach()) > 0
    alone = pair_mean(term[:1, :1], torch.ones(1, 1), balance=True, skip_self=True)
    assert float(alone.detach()) == 0
    alone.backward()


def test_unlabeled_image_is_not_pushed_from_itself():
    logits = torch.tensor([[0.4, -0.3]], requires_grad=True)
    objective = DPSH(DPSHSettings(eta=0), bits=2, labels=torch.zeros(1, 3), seed=0)
    objective.loss(logits, torch.zeros(1, 3), torch.tensor([0]), 0.0).backward()
    assert float(logits.grad.abs().sum()) == 0


@pytest.mark.parametrize("method", ["dpsh", "dph", "dsh", "hashnet", "dsdh"])
def test_bank_writes_the_batch_and_compares_with_everything(method):
    kind = objective_type(method)
    labels = torch.eye(3).repeat(4, 1)
    settings = {"relaxation": "tanh"} if method == "dsh" else {}
    objective = kind(kind.settings_type(pairs="bank", fill=True, **settings), bits=4, labels=labels, seed=0)
    assert objective.needs_start
    first = torch.randn(12, 4)
    objective.start(first)
    torch.testing.assert_close(objective.state["memory"], relax(first))
    index = torch.tensor([1, 5])
    logits = torch.randn(2, 4, requires_grad=True)
    objective.loss(logits, labels[index], index, 0.0).backward()
    expected = relax(first)
    expected[index] = relax(logits.detach())
    torch.testing.assert_close(objective.state["memory"], expected)
    assert not objective.state["memory"].requires_grad and torch.isfinite(logits.grad).all()


def test_printed_bank_starts_at_zero():
    kind = objective_type("dpsh")
    labels = torch.eye(3).repeat(4, 1)
    objective = kind(kind.settings_type(**kind.presets["code"]), bits=4, labels=labels, seed=0)
    assert not objective.needs_start
    index = torch.tensor([0, 1])
    logits = torch.randn(2, 4)
    u = relax(logits)
    bank, bank_labels = torch.zeros(12, 4), torch.zeros(12, 3)
    bank[index], bank_labels[index] = u, labels[index]
    expected = dpsh(u, labels[index], bank, bank_labels, eta=50, eta_over="pairs")
    torch.testing.assert_close(objective.loss(logits, labels[index], index, 0.0), expected)


def test_continuation_schedules():
    def beta(kind, **k):
        return continuation_beta(kind, **({"iteration": 0, "epoch": 0, "progress": 0.0} | k))

    assert beta("none", iteration=10**4, progress=0.9) == 1
    assert beta("scaled", progress=1.0) == pytest.approx(51**0.5)
    assert beta("iterations", iteration=199) == 1
    assert beta("iterations", iteration=399) == pytest.approx(2**0.5)
    assert beta("staircase", epoch=19) == 1
    assert beta("staircase", epoch=60) == 2


def test_hashnet_counts_iterations_and_epochs():
    objective = HashNet(HashNetSettings(), bits=4, labels=torch.eye(3), seed=0)
    for step in range(3):
        objective.loss(torch.randn(3, 4), torch.eye(3), torch.arange(3), step / 3)
    objective.end_epoch(0)
    assert int(objective.state["iteration"]) == 3 and int(objective.state["epoch"]) == 1
