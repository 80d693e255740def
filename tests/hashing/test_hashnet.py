"""HashNet: equations against loops, the paper's weights, and the growing slope."""

import math

import pytest
import torch

from hamguard.hashing.hashnet import HashNet, HashNetSettings, continuation_beta, hashnet
from tests.hashing.loops import agrees, dot, example


def sigmoid_likelihood(a, b, s):
    inner = 0.3 * dot(a, b)
    return math.log(1 + math.exp(inner)) - s * inner


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_loss_agrees_with_loops(balance, own):
    def loss(*codes, **options):
        return hashnet(*codes, slope=0.3, **options)

    assert agrees(loss, sigmoid_likelihood, lambda u: 0.0, balance=balance, own=own, factor=2 if balance else 1)


def test_balance_is_the_papers_weights():
    u, labels, other, other_labels = example()
    similar = (labels @ other_labels.T) > 0
    total = 0.0
    for i in range(5):
        for j in range(7):
            weight = similar.numel() / (similar.sum() if similar[i, j] else (~similar).sum())
            total += float(weight) * sigmoid_likelihood(u[i], other[j], int(similar[i, j]))
    assert float(hashnet(u, labels, other, other_labels, slope=0.3)) == pytest.approx(total / similar.numel(), abs=1e-6)


def test_continuation_schedules():
    def beta(kind, **k):
        return continuation_beta(kind, **({"iteration": 0, "epoch": 0, "progress": 0.0} | k))

    assert beta("none", iteration=10**4, progress=0.9) == 1
    assert beta("scaled", progress=1.0) == pytest.approx(51**0.5)
    assert beta("iterations", iteration=199) == 1
    assert beta("iterations", iteration=399) == pytest.approx(2**0.5)
    assert beta("staircase", epoch=19) == 1
    assert beta("staircase", epoch=60) == 2


def test_it_counts_iterations_and_epochs():
    objective = HashNet(HashNetSettings(), bits=4, labels=torch.eye(3), seed=0)
    for step in range(3):
        objective.loss(torch.randn(3, 4), torch.eye(3), torch.arange(3), step / 3)
    objective.end_epoch(0)
    assert int(objective.state["iteration"]) == 3 and int(objective.state["epoch"]) == 1
