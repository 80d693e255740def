"""How much texture there is around a place, which bounds noise where eyes find it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.core.seeds import torch_generator
from hamguard.models.contrast import EDGE, GRAIN, LEAST, REACH, SLOPE, WINDOW, contrast, room


def noise(height: int, width: int, size: float, seed: int = 0) -> torch.Tensor:
    """Gray with noise of that deviation, `(1, 3, H, W)`."""
    drawn = torch.randn(1, 1, height, width, generator=torch_generator(seed)).expand(-1, 3, -1, -1)
    return 0.5 + size * drawn


LEVEL = 1 / 255


def test_even_grounds_have_none_and_texture_has_much() -> None:
    sky = torch.linspace(0.2, 0.8, 200).expand(1, 3, 120, 200)  # a slope of nearly a level a pixel
    assert float(contrast(sky)[..., REACH:-REACH].max()) < 0.05 * LEVEL
    assert float(contrast(torch.full((1, 3, 40, 40), 0.3)).max()) < 0.05 * LEVEL
    texture = contrast(noise(80, 80, 8 * LEVEL))
    assert 3 * LEVEL < float(texture.min()) and float(texture.max()) < 8 * LEVEL


def test_a_sky_stays_even_up_to_the_edge_of_a_roof() -> None:
    x = torch.full((1, 3, 60, 80), 0.8)
    x[..., 40:] = noise(60, 40, 0.2)
    found = contrast(x)[0, 0]
    assert float(found[:, : 40 - WINDOW].max()) < 0.05 * LEVEL
    assert float(found[:, 40 + WINDOW :].min()) > 0.05


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.floats(-0.3, 0.3), st.integers(1, 40), st.integers(1, 40))
def test_brightness_and_mirrors_change_nothing(seed: int, shift: float, height: int, width: int) -> None:
    x = noise(height, width, 3 / 255, seed)
    found = contrast(x)
    assert found.shape == (1, 1, height, width) and float(found.min()) >= 0.9 * LEAST
    assert torch.allclose(contrast(x + shift), found, atol=1e-5)
    assert torch.allclose(contrast(x.flip(3)).flip(3), found, atol=1e-6)


def test_a_part_with_its_surroundings_gives_the_same() -> None:
    x = noise(90, 90, 3 / 255)
    whole, part = contrast(x), contrast(x[..., 20:70, 20:70])
    inside = slice(REACH, 50 - REACH)
    assert torch.allclose(part[..., inside, inside], whole[..., 20:70, 20:70][..., inside, inside], atol=1e-6)
    less = slice(REACH - 1, 51 - REACH)
    assert not torch.allclose(part[..., less, less], whole[..., 20:70, 20:70][..., less, less], atol=1e-6)


def test_the_literal_form_gives_the_same() -> None:
    """Windows one by one."""
    bright = noise(18, 21, 3 / 255, 5).double().mean(1)[0]
    H, W = bright.shape

    def everywhere(maps: torch.Tensor, side: int, made: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        out = torch.empty_like(maps)
        for i in range(H):
            rows = [min(max(i + d, 0), H - 1) for d in range(-(side // 2), side // 2 + 1)]
            for j in range(W):
                columns = [min(max(j + d, 0), W - 1) for d in range(-(side // 2), side // 2 + 1)]
                out[i, j] = made(maps[rows][:, columns])
        return out

    fine = bright - everywhere(bright, WINDOW, torch.mean)
    deviation = (everywhere(fine.square(), WINDOW, torch.mean) + LEAST**2).sqrt()
    expected = everywhere(everywhere(deviation, EDGE, torch.min), WINDOW, torch.mean)
    given = bright.expand(1, 3, -1, -1)
    assert torch.allclose(contrast(given)[0, 0], expected, atol=1e-12)


def test_slopes_are_finite_on_one_color() -> None:
    x = torch.full((1, 3, 30, 30), 0.5, requires_grad=True)
    contrast(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())


def test_room_is_the_bound_of_even_grounds_and_more_in_texture() -> None:
    flat, rough = torch.full((1, 3, 30, 30), 0.3), noise(40, 40, 3 * LEVEL)
    eps, even = 8 * LEVEL, 1.5 * LEVEL
    assert float(torch.as_tensor(room(flat, eps, even)).max()) == pytest.approx(even / eps, abs=0.01)
    assert torch.allclose(
        torch.as_tensor(room(rough, eps, even)),
        ((even + SLOPE * (contrast(rough) - GRAIN).clamp(min=0)) / eps).clamp(max=1),
    )
    assert float(torch.as_tensor(room(noise(40, 40, 0.1), eps, even)).min()) == 1
    assert room(flat, eps, eps) == room(flat, eps, 1.0) == 1.0
