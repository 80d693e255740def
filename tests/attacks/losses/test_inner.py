"""Inner product, cosine, margin and logarithm against vectors by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.attacks.losses.inner import cosine, inner_product, logarithm, margin
from tests.attacks.published import CODE, OUT


@pytest.mark.parametrize(("direction", "expected"), [(-1, 0.05), (1, -0.05)])
def test_published_vector_of_the_inner_product(direction: int, expected: float) -> None:
    # q = [.7, -.2, -.7, .4]; the specification's plain away loss is mean q = 0.05
    assert float(inner_product(OUT, CODE, direction)) == pytest.approx(expected, abs=1e-6)


def test_logarithm_is_never_flat() -> None:
    z = torch.tensor([[0.1, -0.3, 1e6, -1e-9]], requires_grad=True)
    target = torch.tensor([[1.0, 1, -1, 1]])
    value = logarithm(z, target, -1)
    expected = (np.log(2) - np.log(4) - np.log1p(1e7) - np.log1p(1e-8)) / 4
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert logarithm(z, target, 1).item() == pytest.approx(-expected, rel=1e-5)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert (slope.sign() == target).all() and slope.abs()[0, 3] > slope.abs()[0, 0] > slope.abs()[0, 2] > 0


def test_cosine_and_margin() -> None:
    assert float(cosine(CODE, CODE, 1)) == pytest.approx(-1) and float(cosine(CODE, CODE, -1)) == pytest.approx(1)
    z = torch.tensor([[3.0, -0.5]])
    assert float(margin(z, torch.tensor([[1.0, 1]]), 1)) == pytest.approx(0.75)
