"""Distortion against values worked out by hand and the specification's figures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.images import distortion
from hamguard.images.distortion import measure_distortion


def test_full_budget_signs_have_the_published_figures() -> None:
    rng = np.random.default_rng(0)
    clean = rng.integers(20, 230, (3, 32, 32, 3)).astype(np.uint8)
    attacked = (clean.astype(int) + rng.choice([-8, 8], clean.shape)).astype(np.uint8)
    found = measure_distortion(clean, attacked)
    assert found.rmse == pytest.approx(3.1373e-2, rel=1e-4) and found.psnr == pytest.approx(30.07, abs=0.01)
    assert found.linf == pytest.approx(8 / 255) and (found.changed == 1).all()
    assert found.l2 == pytest.approx(8 / 255 * np.sqrt(32 * 32 * 3))
    assert ((found.ssim > 0) & (found.ssim < 1)).all()


def test_one_changed_value() -> None:
    clean = np.full((2, 16, 16), 100, np.uint8)
    attacked = clean.copy()
    attacked[1, 3, 4] = 110
    found = measure_distortion(clean, attacked)
    assert np.isinf(found.psnr[0]) and found.rmse[0] == 0 and found.ssim[0] == pytest.approx(1)
    assert found.rmse[1] == pytest.approx(10 / 255 / 16) and found.changed[1] == pytest.approx(1 / 256)


def test_small_pictures_have_no_ssim() -> None:
    clean = np.zeros((1, 8, 8), np.uint8)
    assert np.isnan(measure_distortion(clean, clean + 1).ssim).all()


def test_pictures_that_may_not_be_written_are_measured_without_a_word() -> None:
    clean = np.zeros((1, 16, 16), np.uint8)
    clean.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure_distortion(clean, clean).ssim[0] == pytest.approx(1)


def test_shapes_must_agree() -> None:
    with pytest.raises(RequestError, match="must have one shape"):
        measure_distortion(np.zeros((1, 8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8))


@pytest.mark.parametrize("shape", [(1, 70, 33), (2, 41, 60, 3), (1, 9, 90, 3), (1, 90, 9)])
def test_strips_of_a_large_picture_are_the_whole(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    clean = rng.integers(0, 256, shape).astype(np.uint8)
    attacked = np.clip(clean + rng.integers(-9, 10, shape), 0, 255).astype(np.uint8)
    whole = measure_distortion(clean, attacked)
    monkeypatch.setattr(distortion, "LARGE", 400)
    strips = measure_distortion(clean, attacked)
    for name in ("rmse", "linf", "l2", "changed", "psnr", "ssim"):
        assert getattr(strips, name) == pytest.approx(getattr(whole, name), rel=1e-5, nan_ok=True), name
    assert np.isinf(measure_distortion(clean, clean).psnr).all()
