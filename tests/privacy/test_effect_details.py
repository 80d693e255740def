"""Parts at full size: what each is chosen for, that they are cut and not scaled, and pictures that have few."""

from __future__ import annotations

import numpy as np

from hamguard.privacy.effect_details import PART, SCREEN, details


def scene(height: int = 600, width: int = 800) -> np.ndarray:
    """Gray ground, a patch of noise at the upper left, one of skin at the lower right, seeded."""
    draw = np.random.default_rng(0)
    picture = np.full((height, width, 3), 120, dtype=np.uint8)
    picture += draw.integers(0, 8, picture.shape, dtype=np.uint8)
    picture[:260, :260] = draw.integers(0, 256, (260, 260, 3), dtype=np.uint8)
    picture[-260:, -260:] = (220, 170, 140)
    picture[-260:, -260:] += draw.integers(0, 12, (260, 260, 3), dtype=np.uint8)
    picture[-200:, :200] = 119  # evenest of all
    picture[200:500, 290:500] //= 40  # nearly black: no ground on which a change can be seen
    return picture


def test_each_part_shows_what_it_says() -> None:
    clean = scene()
    copy = clean.copy()
    copy[260:440, 500:640, 1] ^= 16
    found = {one.what: one for one in details(clean, copy)}
    assert list(found) == ["even ground", "skin tones", "fine detail", "changed most"]
    assert all(one.original.shape == one.protected.shape == (PART, PART, 3) for one in found.values())
    even, skin, fine, most = (one.original.astype(int) for one in found.values())
    assert np.ptp(even) <= 8 and even.mean() > 110
    assert skin[..., 0].mean() - skin[..., 2].mean() > 60
    assert fine.std() > 60
    moved = {what: int(np.abs(one.protected.astype(int) - one.original).sum()) for what, one in found.items()}
    assert moved["changed most"] == max(moved.values()) > 0 and moved["even ground"] == 0
    assert np.array_equal(found["changed most"].original.shape, most.shape)


def test_a_large_picture_is_shown_as_on_a_screen() -> None:
    clean = np.repeat(np.repeat(scene(), 4, 0), 4, 1)  # 3,200 pixels wide
    found = details(clean, clean)
    assert 2 * SCREEN == clean.shape[1]
    fine = next(one for one in found if one.what == "fine detail").original.astype(int)
    assert np.abs(np.diff(fine[:, :, 0], axis=1)).mean() > 20, "two pixels for one, not four"


def test_small_and_plain_pictures_have_few_parts() -> None:
    half = details(scene()[:240, 200:520], scene()[:240, 200:520])
    assert len(half) > 1 and half[0].original.shape == (120, 120, 3)
    assert details(scene()[:40, :60], scene()[:40, :60]) == []
    narrow = details(scene()[:40, :160], scene()[:40, :160])
    assert narrow and narrow[0].original.shape == (40, 64, 3)
    black = np.zeros((400, 400, 3), dtype=np.uint8)
    assert "even ground" not in [one.what for one in details(black, black)]
