"""Consistency: codes of clean and attacked pictures are drawn together."""

from __future__ import annotations

import pytest
import torch

from tests.defenses.conftest import Place
from tests.defenses.steps import (
    label_free_step,
)


def test_the_loss_is_the_distance_of_the_codes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found, z, z1, clean = label_free_step(place, monkeypatch, "consistency", "lam=3")
    torch.testing.assert_close(found, clean + 3 * (z.tanh() - z1.tanh()).square().mean())
