"""SSIM with a gradient is torchmetrics' SSIM."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from hamguard.core.seeds import torch_generator
from hamguard.images import likeness
from hamguard.images.likeness import similarity


def printed(x: Tensor, other: Tensor) -> Tensor:
    alike = structural_similarity_index_measure(x, other, data_range=1.0, sigma=1.5, reduction="none")
    assert isinstance(alike, Tensor)
    return alike.reshape(len(x))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.integers(11, 40),
    st.integers(11, 40),
    st.floats(0, 0.3),
    st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_torchmetrics(
    count: int, channels: int, height: int, width: int, noise: float, seed: int
) -> None:
    draw = torch_generator(seed)
    x = torch.rand(count, channels, height, width, generator=draw, dtype=torch.float64)
    x[0, :, : height // 2] = 0.5  # an even ground, where deviations vanish
    other = (x + noise * torch.randn(x.shape, generator=draw, dtype=torch.float64)).clamp(0, 1)
    ours, theirs = other.clone().requires_grad_(), other.clone().requires_grad_()
    found, right = similarity(ours, x), printed(theirs, x)
    torch.testing.assert_close(found, right)
    if noise > 0:  # where both are the same the value is at its top, and the clamp's side decides
        (mine,), (other_grad,) = (
            torch.autograd.grad(value.sum(), at) for value, at in ((found, ours), (right, theirs))
        )
        torch.testing.assert_close(mine, other_grad, rtol=1e-6, atol=1e-9)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, other = torch.rand(2, 4, 3, 32, 48, generator=torch_generator(0)).unbind(0)
    whole = similarity(x, other)
    monkeypatch.setattr(likeness, "AT_ONCE", 1)
    assert torch.equal(similarity(x, other), whole)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(similarity(last, other), whole)


def test_the_same_is_one_and_its_negative_is_less() -> None:
    x = torch.rand(2, 3, 20, 20, generator=torch_generator(1))
    assert torch.allclose(similarity(x, x), torch.ones(2))
    assert (similarity(1 - x, x) < 0).all()
