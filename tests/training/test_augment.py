"""Random views of training pictures."""

from __future__ import annotations

import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.training.augment import _color, _crop, augment, drop


@pytest.mark.parametrize("kind", ["flip", "shift", "shift-flip", "crop", "crop-flip-color", "crop-color"])
def test_two_processes_see_the_views_of_one(kind: str) -> None:
    x = torch.rand(10, 3, 16, 12)
    whole = augment(x, kind, torch_generator(0, "v"), slice(0, 10), 10)
    parts = [augment(x[p], kind, torch_generator(0, "v"), p, 10) for p in (slice(0, 5), slice(5, 10))]
    assert torch.equal(whole, torch.cat(parts)) and whole.shape == x.shape
    assert not torch.equal(whole, x) and 0 <= float(whole.min()) and float(whole.max()) <= 1


def test_a_crop_shows_a_part_of_at_least_half_the_area_at_the_size_of_the_whole() -> None:
    """On a ramp the values that a crop shows are where it lies: its first and last column, and rows, give its sides."""
    ramp = torch.linspace(0, 1, 64)
    x = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)]).expand(200, 3, 64, 64)
    seen = augment(x, "crop", torch_generator(1, "v"), slice(0, 200), 200)
    assert seen.shape == x.shape
    wide = seen[:, 0, 0, -1] - seen[:, 0, 0, 0]
    high = seen[:, 1, -1, 0] - seen[:, 1, 0, 0]
    area = wide * high
    assert 0.48 < float(area.min()) < 0.6 and 0.9 < float(area.max()) <= 1.05
    assert float((wide / high).min()) < 0.85 and float((wide / high).max()) > 1.15
    torch.testing.assert_close(seen.diff(dim=3)[:, 1], torch.zeros(200, 64, 63), atol=1e-5, rtol=0)


def test_a_whole_crop_is_the_picture() -> None:
    x = torch.rand(3, 1, 9, 12)
    torch.testing.assert_close(_crop(x, torch.tensor([[1.0], [0.5], [0.3], [0.9]]).expand(4, 3)), x)


def test_colors_change_and_some_pictures_become_gray() -> None:
    x = torch.rand(300, 3, 4, 4)
    seen = augment(x, "crop-color", torch_generator(2, "v"), slice(0, 300), 300)
    gray = (seen[:, 0] - seen[:, 1]).abs().amax((1, 2)) < 1e-6
    assert 0.1 < float(gray.float().mean()) < 0.3
    light = _color(x, torch.tensor([[0.0], [0.5], [0.5], [0.1], [0.9]]).expand(5, 300))
    torch.testing.assert_close(light, 0.6 * x)
    still = _color(x, torch.tensor([[0.0], [0.0], [0.0], [0.8], [0.9]]).expand(5, 300))
    torch.testing.assert_close(still, x)
    one = torch.rand(5, 1, 4, 4)
    torch.testing.assert_close(_color(one, torch.tensor([[0.5], [0.5], [0.0], [0.1], [0.1]]).expand(5, 5)), one)


def test_features_lose_half_of_their_numbers_and_keep_their_mean() -> None:
    x = torch.full((40, 500), 3.0)
    whole = drop(x, torch_generator(0, "v"), slice(0, 40), 40)
    assert set(whole.unique().tolist()) == {0.0, 6.0} and abs(float(whole.mean()) - 3) < 0.1
    parts = [drop(x[p], torch_generator(0, "v"), p, 40) for p in (slice(0, 15), slice(15, 40))]
    assert torch.equal(whole, torch.cat(parts)), "two processes see the views of one"
    with pytest.raises(RequestError, match="augment=drop makes views of features"):
        augment(torch.rand(2, 3, 8, 8), "drop", torch_generator(0, "v"), slice(0, 2), 2)
