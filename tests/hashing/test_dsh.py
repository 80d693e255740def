"""DSH: equations against loops, and where a pair costs nothing any more."""

import pytest
import torch

from hamguard.hashing.dsh import dsh, pair_contrast
from tests.hashing.loops import agrees, quant


def contrast(a, b, s):
    dist = sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))
    return 0.5 * dist if s else 0.5 * max(2 * len(a) - dist, 0)


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_loss_agrees_with_loops(balance, own):
    def loss(*codes, **options):
        return dsh(*codes, alpha=0.2, margin=12.0, **options)

    assert agrees(loss, contrast, lambda u: 0.2 * quant(u, 1), balance=balance, own=own)


def test_far_pairs_of_other_classes_and_equal_ones_of_the_same_cost_nothing():
    u = torch.tensor([[1.0, 1, 1, 1], [-1, -1, 1, 1], [-1, -1, -1, 1]])
    far = pair_contrast(u[:1], u[1:], torch.zeros(1, 2), margin=8.0)
    assert far.tolist() == [[0.0, 0.0]] and float(pair_contrast(u[:1], u[:1], torch.zeros(1, 1), margin=8.0)) == 4
    assert float(pair_contrast(u[:1], u[:1], torch.ones(1, 1), margin=8.0)) == 0
