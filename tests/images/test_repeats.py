"""How far noise repeats itself: waves, lattices in brightness or color, chance; and a gradient that takes repeats off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.core.seeds import torch_generator
from hamguard.images.repeats import repeats


def white(*shape: int, seed: int = 0) -> Tensor:
    """White noise."""
    return torch.randn(*shape, generator=torch_generator(seed), dtype=torch.float64)


def lattice(step: int, channels: int = 1, side: int = 128) -> Tensor:
    """The same tile of noise everywhere."""
    tiles = -(-side // step)
    return white(1, channels, step, step).tile(1, 1, tiles, tiles)[..., :side, :side]


def literal(change: np.ndarray) -> float:
    """Of one picture `(C, H, W)`, window by window and distance by distance, from the correlations themselves."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    taper = np.outer(hann, hann)
    down, right = np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128), indexing="ij")
    seen = 1 / (1 + (np.hypot(down, right) / 0.25) ** 4)
    distances = [(i, j) for i in range(-28, 29) for j in range(-28, 29) if 7 <= math.hypot(i, j) <= 28]
    wholes, peaks = [], []
    for top in range(0, change.shape[1] - 63, 32):
        for left in range(0, change.shape[2] - 63, 32):
            alike = np.zeros((128, 128))
            for color in change[:, top : top + 64, left : left + 64]:
                wide = np.zeros((128, 128))
                wide[:64, :64] = (color - color.mean()) * taper
                alike += np.fft.ifft2(seen * np.abs(np.fft.fft2(wide)) ** 2).real
            powers = []
            for i, j in distances:
                fading = np.outer(
                    *(np.dot(hann[: 64 - abs(d)], hann[abs(d) :]) / np.dot(hann, hann) * np.ones(1) for d in (i, j))
                )
                powers.append((alike[i, j] / alike[0, 0] / fading.item()) ** 4)
            wholes.append(alike[0, 0])
            peaks.append(np.mean(powers))
    return float(np.average(peaks, weights=wholes) ** 0.25)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(64, 100), st.integers(64, 100), st.integers(0, 99))
def test_values_are_those_of_the_literal_form(channels: int, height: int, width: int, seed: int) -> None:
    change = white(2, channels, height, width, seed=seed) + lattice(11, 1, 100)[:, :, :height, :width]
    change[:, :, : height // 2] *= 0.3  # windows of other power
    assert repeats(change).tolist() == pytest.approx([literal(one) for one in change.numpy()], rel=1e-6)


@pytest.mark.parametrize("step", [8, 11, 16, 20])
def test_lattices_repeat_themselves_and_chance_does_not(step: int) -> None:
    noise = white(4, 3, 128, 128, seed=1)
    assert float(repeats(noise).max()) < 0.05
    found = repeats(lattice(step)).item()
    assert found > 0.2 and found > repeats(lattice(step) + white(1, 1, 128, 128, seed=3)).item() > 0.1
    assert repeats(1e-3 * lattice(step)).item() == pytest.approx(found, rel=1e-3)  # whatever its size


def test_waves_repeat_themselves_most() -> None:
    """The mean of fourth powers of a cosine is 3/8."""
    y, x = torch.meshgrid(*2 * [torch.arange(128, dtype=torch.float64)], indexing="ij")
    for length in (4, 6, 9):
        wave = torch.sin(2 * math.pi * (0.6 * y + 0.8 * x) / length)[None, None]
        assert repeats(wave).item() == pytest.approx((3 / 8) ** 0.25, abs=0.01)


def test_color_hides_no_lattice() -> None:
    """One without any brightness counts as one of it."""
    gray, one = lattice(16).expand(-1, 3, -1, -1), lattice(16)
    colored = torch.cat([one, -one, torch.zeros_like(one)], 1)
    assert repeats(colored).item() == pytest.approx(repeats(gray).item())
    assert repeats(white(1, 3, 128, 128) + 2 * colored).item() > 0.15


def test_small_changes_and_none() -> None:
    assert repeats(torch.zeros(2, 3, 80, 80)).tolist() == pytest.approx([0, 0], abs=2e-3)
    assert 0 < repeats(lattice(8, side=20)).item() < 1
    nothing = torch.zeros(1, 1, 70, 70, requires_grad=True)
    repeats(nothing).sum().backward()  # type: ignore[no-untyped-call]
    assert nothing.grad is not None and bool(nothing.grad.isfinite().all())


def test_its_gradient_takes_repeats_off() -> None:
    change = (lattice(16, side=64) + 0.3 * white(1, 1, 64, 64, seed=2)).requires_grad_()
    optimizer = torch.optim.Adam([change], 0.05)
    before = repeats(change).item()
    for _ in range(40):
        optimizer.zero_grad()
        repeats(change).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert repeats(change).item() < before / 2
