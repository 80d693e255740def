"""The batch norm between head and code: normalizes while it learns, and is folded without a change of the function."""

import torch

from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from hamguard.models.head_norm import NormedHead, add_head_norm, fold_head_norm


def learned(steps: int = 4) -> tuple[HashModel, torch.Tensor]:
    """A small model with a norm that has seen a few batches and moved its weights."""
    model = HashModel("conv2", 6, channels=1, size=(16, 16), generator=torch_generator(1))
    add_head_norm(model)
    x = torch.rand(32, 1, 16, 16, generator=torch_generator(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (model.train().logits(x) - torch.arange(6.0)).square().mean().backward()
        optimizer.step()
    return model, x


def test_a_fresh_norm_changes_nothing_at_rest_and_keeps_the_weights() -> None:
    model = HashModel("conv2", 6, channels=1, size=(16, 16), generator=torch_generator(1)).eval()
    x = torch.rand(32, 1, 16, 16, generator=torch_generator(2))
    before, weight = model.logits(x), model.head.weight
    add_head_norm(model)
    assert model.head.weight is weight
    assert torch.allclose(model.eval().logits(x), before, atol=1e-4)


def test_each_bit_is_normalized_while_it_learns() -> None:
    model, x = learned(0)
    z = model.train().logits(x)
    assert torch.allclose(z.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(z.var(0, unbiased=False), torch.ones(6), atol=0.1), (
        "but for the norm's 1e-5 beside a small variance"
    )


def test_the_folded_head_is_the_same_function_and_an_ordinary_one() -> None:
    model, x = learned()
    names = set(HashModel("conv2", 6, channels=1, size=(16, 16)).state_dict())
    before = model.eval().logits(x)
    assert isinstance(model.head, NormedHead) and set(model.state_dict()) > names
    fold_head_norm(model)
    assert type(model.head) is torch.nn.Linear and set(model.state_dict()) == names
    assert torch.allclose(model.logits(x), before, atol=1e-5) and not model.head.training
    digest = model.digest
    fold_head_norm(model)
    assert model.digest == digest, "a model without a norm stays as it is"
