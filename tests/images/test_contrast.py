"""How much texture there is around a place, which bounds noise where eyes find it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.core.seeds import torch_generator
from hamguard.images.contrast import FULL, REACH, WINDOW, contrast, room


def noise(height: int, width: int, size: float, seed: int = 0) -> torch.Tensor:
    """Gray with noise of that deviation, `(1, 3, H, W)`."""
    drawn = torch.randn(1, 1, height, width, generator=torch_generator(seed)).expand(-1, 3, -1, -1)
    return 0.5 + size * drawn


def test_even_grounds_have_none_and_texture_has_all() -> None:
    sky = torch.linspace(0.4, 0.6, 200).expand(1, 3, 120, 200)  # a slope of a quarter of a level a pixel
    assert float(contrast(sky).max()) < 0.2
    assert float(contrast(torch.full((1, 3, 40, 40), 0.3)).max()) < 0.01
    assert float(contrast(noise(80, 80, 3 * FULL)).min()) == 1


def test_a_sky_stays_even_up_to_the_edge_of_a_roof() -> None:
    x = torch.full((1, 3, 60, 80), 0.8)
    x[..., 40:] = noise(60, 40, 0.2)
    found = contrast(x)[0, 0]
    half = WINDOW // 2
    assert float(found[:, : 40 - half].max()) < 0.01, "the windows over the edge belong to the roof"
    assert float(found[:, 40 + half + 1 :].min()) > 0.9


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.floats(-0.3, 0.3), st.integers(1, 40), st.integers(1, 40))
def test_brightness_and_mirrors_change_nothing(seed: int, shift: float, height: int, width: int) -> None:
    x = noise(height, width, 3 / 255, seed)
    found = contrast(x)
    assert found.shape == (1, 1, height, width) and 0 <= float(found.min()) and float(found.max()) <= 1
    assert torch.allclose(contrast(x + shift), found, atol=2e-2)
    assert torch.allclose(contrast(x.flip(3)).flip(3), found, atol=1e-3)


def test_a_part_with_its_surroundings_gives_the_same() -> None:
    x = noise(90, 90, 3 / 255)
    whole, part = contrast(x), contrast(x[..., 20:70, 20:70])
    inside = slice(REACH, 50 - REACH)
    assert torch.allclose(part[..., inside, inside], whole[..., 20:70, 20:70][..., inside, inside], atol=1e-4)
    less = slice(REACH - 1, 51 - REACH)
    assert not torch.allclose(part[..., less, less], whole[..., 20:70, 20:70][..., less, less], atol=1e-4)


def test_the_literal_form_gives_the_same() -> None:
    """Deviations of windows one by one, least ones, means."""
    x, half = noise(24, 27, 3 / 255, 5).double(), WINDOW // 2
    bright = x.mean(1)[0]
    H, W = bright.shape

    def around(maps: torch.Tensor, i: int, j: int) -> torch.Tensor:
        rows = [min(max(i + d, 0), H - 1) for d in range(-half, half + 1)]
        columns = [min(max(j + d, 0), W - 1) for d in range(-half, half + 1)]
        return maps[rows][:, columns]

    def everywhere(maps: torch.Tensor, of: str) -> torch.Tensor:
        made = {"std": lambda part: part.std(unbiased=False), "min": torch.min, "mean": torch.mean}[of]
        return torch.tensor(
            [[float(made(around(maps, i, j))) for j in range(W)] for i in range(H)], dtype=torch.float64
        )

    expected = (everywhere(everywhere(everywhere(bright, "std"), "min"), "mean") / FULL).clamp(max=1)
    assert torch.allclose(contrast(x)[0, 0], expected, atol=1e-3)


def test_slopes_are_finite_on_one_color() -> None:
    x = torch.full((1, 3, 30, 30), 0.5, requires_grad=True)
    contrast(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())


@pytest.mark.parametrize("even", [0.1, 0.5])
def test_room_goes_from_its_part_to_all(even: float) -> None:
    flat, rough = torch.full((1, 3, 30, 30), 0.3), noise(40, 40, 3 * FULL)
    assert float(torch.as_tensor(room(flat, even)).max()) == pytest.approx(even, abs=0.01)
    assert float(torch.as_tensor(room(rough, even)).min()) == 1
    assert room(flat, 1.0) == 1.0
