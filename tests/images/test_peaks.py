"""How far noise is made of few waves: one, several, none; and a gradient that spreads a wave."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.core.seeds import torch_generator
from hamguard.images.peaks import peaks


def wave(down: float, right: float, side: int = 96, start: float = 0.0) -> Tensor:
    """A wave `(1, 1, side, side)` of so many turns in 32 pixels."""
    y, x = torch.meshgrid(*2 * [torch.arange(side, dtype=torch.float64)], indexing="ij")
    return torch.sin(2 * math.pi * (down * y + right * x) / 32 + start)[None, None]


def literal(change: np.ndarray) -> float:
    """Of one picture `(C, H, W)`, window by window, all frequencies."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(32) / 32)
    wholes, shares = [], []
    for top in range(0, change.shape[1] - 31, 16):
        for left in range(0, change.shape[2] - 31, 16):
            power = np.zeros((32, 32))
            for window in change[:, top : top + 32, left : left + 32]:
                power += np.abs(np.fft.fft2((window - window.mean()) * np.outer(hann, hann))) ** 2
            wholes.append(power.sum())
            shares.append(8 * ((power / power.sum()) ** 2).sum())
    return float(np.average(shares, weights=wholes))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(32, 70), st.integers(32, 70), st.integers(0, 99))
def test_values_are_those_of_the_literal_form(channels: int, height: int, width: int, seed: int) -> None:
    change = torch.randn(2, channels, height, width, generator=torch_generator(seed), dtype=torch.float64)
    change = change + 2 * wave(3, 5, 70)[:, :, :height, :width]
    change[:, :, : height // 2] *= 0.3  # windows of other power
    assert peaks(change).tolist() == pytest.approx([literal(one) for one in change.numpy()], rel=1e-9)


@pytest.mark.parametrize("turns", [(0, 4), (4, 0), (4, 4), (6, 2)])
def test_one_wave_is_1_and_n_equal_ones_are_1_part_of_n(turns: tuple[int, int]) -> None:
    assert peaks(wave(*turns)).item() == pytest.approx(1)
    assert peaks(wave(*turns) + wave(8, 8) + wave(2, 13)).item() == pytest.approx(1 / 3, abs=0.01)
    assert peaks(wave(*turns)).item() == pytest.approx(peaks(1e-3 * wave(*turns)).item())  # whatever its size
    assert peaks(wave(turns[0] + 0.4, turns[1] + 0.3)).item() > 0.8  # between two frequencies, too


def test_noise_without_a_pattern_has_no_peaks() -> None:
    noise = torch.randn(2, 1, 96, 96, generator=torch_generator(0))
    assert float(peaks(noise).max()) < 0.02
    # the same frequencies from all sides are not one wave
    turned = sum(wave(6 * math.sin(a), 6 * math.cos(a), start=7 * a) for a in torch.arange(0, 3.14, 0.1).tolist())
    assert isinstance(turned, Tensor) and peaks(turned).item() < 0.4


def test_small_changes_and_none() -> None:
    assert peaks(torch.zeros(2, 3, 64, 64)).tolist() == [0, 0]
    small = peaks(wave(8, 8, 20))
    assert 0 < small.item() < 1
    nothing = torch.zeros(1, 1, 40, 40, requires_grad=True)
    peaks(nothing).sum().backward()  # type: ignore[no-untyped-call]
    assert nothing.grad is not None and not nothing.grad.any()


def test_its_gradient_spreads_a_wave() -> None:
    noise = 0.3 * torch.randn(1, 1, 64, 64, generator=torch_generator(1), dtype=torch.float64)
    change = (wave(6, 6, 64) + noise).requires_grad_()
    optimizer = torch.optim.Adam([change], 0.05)
    before = peaks(change).item()
    for _ in range(30):
        optimizer.zero_grad()
        peaks(change).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert peaks(change).item() < before / 3
