"""How far noise is made of stripes: one direction, several, none; and a gradient that turns waves apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.core.seeds import torch_generator
from hamguard.images.stripes import WINDOW, stripes


def wave(down: float, right: float, side: int = 96, start: float = 0.0) -> Tensor:
    """A wave `(1, 1, side, side)` of so many turns in 32 pixels."""
    y, x = torch.meshgrid(*2 * [torch.arange(side, dtype=torch.float64)], indexing="ij")
    return torch.sin(2 * math.pi * (down * y + right * x) / 32 + start)[None, None]


def literal(change: np.ndarray) -> float:
    """Of one picture `(C, H, W)`, window by window, all frequencies of its brightness."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(32) / 32)
    down, right = np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32), indexing="ij")
    right[:, 16], down[16, 17:] = 0.5, 0.5  # the fastest of all have no sign: that of their mirrors
    angle, seen = np.arctan2(down, right), 1 / (1 + (np.hypot(down, right) / 0.25) ** 4)
    bright = change.mean(0)
    wholes, shares = [], []
    for top in range(0, bright.shape[0] - 31, 16):
        for left in range(0, bright.shape[1] - 31, 16):
            window = bright[top : top + 32, left : left + 32]
            power = seen * np.abs(np.fft.fft2((window - window.mean()) * np.outer(hann, hann))) ** 2
            p = power / power.sum()
            wholes.append(power.sum())
            shares.append(sum(np.abs((p * np.exp(1j * n * angle)).sum()) ** 2 for n in (2, 4, 6)) / 2.46)
    return float(np.average(shares, weights=wholes))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(32, 70), st.integers(32, 70), st.integers(0, 99))
def test_values_are_those_of_the_literal_form(channels: int, height: int, width: int, seed: int) -> None:
    change = torch.randn(2, channels, height, width, generator=torch_generator(seed), dtype=torch.float64)
    change = change + 2 * wave(3, 5, 70)[:, :, :height, :width]
    change[:, :, : height // 2] *= 0.3  # windows of other power
    assert stripes(change).tolist() == pytest.approx([literal(one) for one in change.numpy()], rel=1e-9)


@pytest.mark.parametrize("turns", [(0, 6), (6, 0), (4, 4), (6, 2)])
def test_waves_of_one_direction_are_1_and_grids_less(turns: tuple[int, int]) -> None:
    down, right = turns
    assert stripes(wave(*turns)).item() == pytest.approx(1, abs=0.07)
    assert stripes(wave(*turns) + wave(1.7 * down, 1.7 * right) + wave(0.6 * down, 0.6 * right)).item() > 0.8
    assert stripes(wave(*turns)).item() == pytest.approx(stripes(1e-3 * wave(*turns)).item())  # whatever its size
    assert stripes(wave(*turns) + wave(right, -down)).item() == pytest.approx(1 / 3, abs=0.05)


def test_noise_without_a_direction_has_no_stripes() -> None:
    noise = torch.randn(2, 1, 96, 96, generator=torch_generator(0), dtype=torch.float64)
    assert float(stripes(noise).max()) < 0.03
    y, x = torch.meshgrid(*2 * [torch.fft.fftfreq(96, dtype=torch.float64) * 32], indexing="ij")
    ring = torch.exp(-((torch.hypot(x, y) - 6) ** 2))  # of one size, from all sides
    assert float(stripes(torch.fft.ifft2(torch.fft.fft2(noise) * ring).real).max()) < 0.15


def test_color_and_fine_grain_hide_no_stripes() -> None:
    lines = wave(4, 4).expand(-1, 3, -1, -1)
    colored = torch.cat([wave(4, -4), -wave(4, -4), torch.zeros_like(wave(4, 4))], 1)
    assert stripes(lines + 3 * colored).item() == pytest.approx(stripes(lines).item())
    assert stripes(lines + wave(14, -5)).item() > 0.75


def test_windows_side_by_side_tell_nearly_the_same() -> None:
    change = torch.randn(1, 3, 160, 160, generator=torch_generator(2)) + wave(3, 4, 160).float()
    assert stripes(change, WINDOW).item() == pytest.approx(stripes(change).item(), rel=0.1)


def test_small_changes_and_none() -> None:
    assert stripes(torch.zeros(2, 3, 64, 64)).tolist() == [0, 0]
    small = stripes(wave(8, 8, 20))
    assert 0 < small.item() < 1
    nothing = torch.zeros(1, 1, 40, 40, requires_grad=True)
    stripes(nothing).sum().backward()  # type: ignore[no-untyped-call]
    assert nothing.grad is not None and not nothing.grad.any()


def test_its_gradient_takes_stripes_off() -> None:
    noise = 0.3 * torch.randn(1, 1, 64, 64, generator=torch_generator(1), dtype=torch.float64)
    change = (wave(6, 6, 64) + noise).requires_grad_()
    optimizer = torch.optim.Adam([change], 0.05)
    before = stripes(change).item()
    for _ in range(40):
        optimizer.zero_grad()
        stripes(change).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert stripes(change).item() < before / 3
