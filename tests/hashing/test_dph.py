"""DPH: equations against loops and vectors."""

import pytest
import torch

from hamguard.hashing.dph import dph, pair_square
from tests.hashing.loops import agrees, dot, quant


def square(a, b, s):
    return (dot(a, b) / len(a) - (1 if s else -1)) ** 2


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_loss_agrees_with_loops(balance, own):
    def loss(*codes, **options):
        return dph(*codes, eta=0.3, **options)

    assert agrees(loss, square, lambda u: 0.3 * quant(u, 2), balance=balance, own=own)


def test_vectors_of_one_pair():
    u, v = torch.tensor([[0.5, -0.5, 1, 1]]), torch.tensor([[1, 1, -1, 0.5]])
    assert float(pair_square(u, v, torch.ones(1, 1))) == pytest.approx(1.265625, abs=1e-6)
    assert float(pair_square(u, v, torch.zeros(1, 1))) == pytest.approx(0.765625, abs=1e-6)
