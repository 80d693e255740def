"""What is said of a set of codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.core.seeds import torch_generator
from hamguard.training.statistics import code_statistics


def test_statistics_equal_their_definitions() -> None:
    z = torch.randn(60, 5, generator=torch_generator(1))
    z[:, 4] = 2.0  # a constant bit
    z[7] = z[3]
    b = np.where(z.numpy() >= 0, 1, -1)
    got = code_statistics(z)
    same = sum(np.array_equal(b[i], b[j]) for i in range(60) for j in range(i))
    assert got["collision_rate"] == pytest.approx(same / (60 * 59 / 2))
    assert got["distinct_codes"] == len({tuple(row) for row in b})
    assert got["bit_balance"] == pytest.approx(np.abs(b.mean(0)).mean())
    corr = np.corrcoef(b[:, :4].T)
    assert got["bit_correlation"] == pytest.approx(np.abs(corr - np.eye(4)).sum() / 20)
    assert got["quantization_error"] == pytest.approx(((np.abs(np.tanh(z.numpy())) - 1) ** 2).mean(), rel=1e-5)
