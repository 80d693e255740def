"""SDHA's loss against the published vector and a literal transcription."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.attacks.guides.relevant import CodeSet
from hamguard.attacks.losses.sdha import SdhaLoss, surrogate_distance
from tests.attacks.published import OUT


def test_vector_and_transcription() -> None:
    r = torch.tensor([[1.0, -1, -1, -1]])
    assert float(surrogate_distance(OUT, r, 5.0)) == pytest.approx(1.6256963, abs=1e-6)
    rng = np.random.default_rng(0)
    u, codes = rng.uniform(-1, 1, 6), rng.choice([-1.0, 1.0], (4, 6))
    total = 0.0
    for code in codes:
        distance = max(1.0, float((np.where(u < 0, -1, 1) != code).sum()))
        gate = 1 / (1 + np.exp(-5 * u * code))
        total += distance**-0.5 * float((0.5 * np.abs(u - code) * gate + (1 - gate)).sum())
    group = CodeSet(torch.from_numpy(codes).float(), torch.ones(1, 4))
    got = float(SdhaLoss()(torch.from_numpy(u).float()[None], group, -1))
    assert got == pytest.approx(-25 / 6 * total / 4, rel=1e-5)
