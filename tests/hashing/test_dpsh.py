"""DPSH: equations against loops and vectors, the published memory."""

import math

import pytest
import torch

from hamguard.codes.binary import relax
from hamguard.hashing.dpsh import DPSH, DPSHSettings, dpsh, pair_likelihood
from hamguard.hashing.registry import OBJECTIVES
from tests.hashing.loops import agrees, dot, example, quant


def likelihood(a, b, s):
    theta = dot(a, b) / 2
    return math.log(1 + math.exp(theta)) - s * theta


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_loss_agrees_with_loops(balance, own):
    def loss(*codes, **options):
        return dpsh(*codes, eta=0.7, **options)

    assert agrees(loss, likelihood, lambda u: 0.7 * quant(u, 2), balance=balance, own=own)


def test_printed_sum_over_pairs():
    u, labels, other, other_labels = example()
    slow = sum(likelihood(a, b, int(dot(y, z) > 0)) for a, y in zip(u, labels) for b, z in zip(other, other_labels))  # noqa: B905
    slow += 50 * sum((math.copysign(1, float(e)) - float(e)) ** 2 for row in u for e in row)
    fast = dpsh(u, labels, other, other_labels, eta=50, eta_over="pairs")
    assert float(fast) == pytest.approx(slow / 35, abs=1e-6)


def test_vectors_of_one_pair():
    u, v = torch.tensor([[0.5, -0.5, 1, 1]]), torch.tensor([[1, 1, -1, 0.5]])
    assert float(u @ v.T / 2) == pytest.approx(-0.25)
    assert float(pair_likelihood(u, v, torch.ones(1, 1))) == pytest.approx(0.8259394, abs=1e-6)
    assert float(pair_likelihood(u, v, torch.zeros(1, 1))) == pytest.approx(0.5759394, abs=1e-6)


def test_unlabeled_image_is_not_pushed_from_itself():
    logits = torch.tensor([[0.4, -0.3]], requires_grad=True)
    objective = DPSH(DPSHSettings(eta=0), bits=2, labels=torch.zeros(1, 3), seed=0)
    objective.loss(logits, torch.zeros(1, 3), torch.tensor([0]), 0.0).backward()
    assert float(logits.grad.abs().sum()) == 0


def test_printed_bank_starts_at_zero():
    kind = OBJECTIVES["dpsh"]
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
