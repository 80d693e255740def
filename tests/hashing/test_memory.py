"""What methods that learn from pairs share: means over pairs, and the memory that a batch is compared with."""

import pytest
import torch

from hamguard.codes.binary import relax
from hamguard.hashing.memory import pair_mean
from hamguard.hashing.registry import OBJECTIVES


def test_pair_mean_without_one_kind_or_without_pairs():
    term = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for similar in (torch.zeros(2, 2), torch.ones(2, 2)):
        value = pair_mean(term, similar, balance=True, skip_self=True)
        assert torch.isfinite(value) and float(value.detach()) > 0
    alone = pair_mean(term[:1, :1], torch.ones(1, 1), balance=True, skip_self=True)
    assert float(alone.detach()) == 0
    alone.backward()


@pytest.mark.parametrize("method", ["dpsh", "dph", "dsh", "hashnet", "dsdh"])
def test_bank_writes_the_batch_and_compares_with_everything(method):
    kind = OBJECTIVES[method]
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
