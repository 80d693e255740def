"""Views by their written form: sizes stay, each word does what it says, wrong words are refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hamguard.cli import options
from hamguard.core.errors import RequestError
from hamguard.images.named_views import VIEWS, parse_view
from hamguard.images.views import crop_image, fit_image, jpeg_image, resize_image


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3)])
def test_each_word(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    expected = {
        "jpeg:50": jpeg_image(image, 50),
        "resize:16": resize_image(resize_image(image, 16), (40, 60)),
        "resize:0.5": resize_image(resize_image(image, (20, 30)), (40, 60)),
        "crop:30": fit_image(np.ascontiguousarray(crop_image(image, 30)), (40, 60)),
        "crop:0.9": fit_image(np.ascontiguousarray(crop_image(image, (36, 54))), (40, 60)),
    }
    for word, wanted in expected.items():
        assert np.array_equal(parse_view(word)(image), wanted), word
    blurred = [parse_view(f"blur:{radius}")(image) for radius in ("0.5", "2")]
    assert image.std() > blurred[0].std() > blurred[1].std() and blurred[1].shape == image.shape
    with pytest.raises(RequestError, match="a crop of 50 x 50 does not fit"):
        parse_view("crop:50")(image)


def test_levels_of_few_bits() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    assert np.unique(parse_view("bits:1")(ramp)).tolist() == [0, 255]
    for depth in range(1, 8):
        seen = parse_view(f"bits:{depth}")(ramp).astype(int)
        assert len(np.unique(seen)) == 2**depth and np.abs(seen - ramp).max() <= 127.5 / (2**depth - 1) + 1
        assert np.array_equal(parse_view(f"bits:{depth}")(seen.astype(np.uint8)), seen)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("jpg:50", f"unknown view 'jpg'; allowed: {', '.join(VIEWS)}; did you mean jpeg?"),
        ("jpeg", "needs a number"), ("jpeg:", "needs a number"), ("resize:0", "needs a number"), ("blur:-1", "needs a number"),
        ("jpeg:101", "JPEG quality lies between 1 and 100"), ("jpeg:0.5", "parts of a side are written"),
        ("resize:1.5", "below 1"), ("crop:9999", "sides have at most 4,096 pixels"), ("bits:8", "between 1 and 7"),
        ("blur:65", "at most 64 pixels"), ("webp:101", "WebP quality lies between 1 and 100"), ("webp:0", "needs a number"),
        ("contrast:5", "a factor of contrast lies between 0.1 and 4"), ("contrast:0", "needs a number"),
        ("color:4.1", "a factor of color lies between 0 and 4"), ("color", "needs a number"), ("brightness:-1", "needs a number"),
        ("brightness:0.01", "a factor of brightness lies between 0.1 and 4"), ("screenshot:0.1", "between 0.25 and 2"),
        ("median:4", "the window of a median is odd, from 3 to 15 pixels"), ("median:1", "is odd, from 3"), ("median:17", "to 15"),
        ("thumbnail:0.5", "parts of a side are written"), ("thumbnail:5000", "at most 4,096 pixels"),
        ("colour:0.7", "did you mean color?"),
    ],
)  # fmt: skip
def test_wrong_words(word: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_view(word)
    assert message in str(caught.value)


def test_files_of_another_kind() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    for shown in (image, image[..., 0]):
        assert np.array_equal(parse_view("webp:100")(shown), shown)  # exact, gray stays gray
        out = io.BytesIO()
        Image.fromarray(shown).save(out, "WEBP", quality=80)
        wanted = Image.open(io.BytesIO(out.getvalue())).convert("L" if shown.ndim == 2 else "RGB")
        assert np.array_equal(parse_view("webp:80")(shown), np.asarray(wanted))
    with pytest.raises(RequestError, match="at most 16,383 pixels, got 16,384"):
        parse_view("webp:80")(np.zeros((1, 16384), np.uint8))


@pytest.mark.parametrize("gray", [False, True])
def test_tones_are_lines_through_what_the_picture_is(gray: bool) -> None:
    image = np.random.default_rng(2).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    image = image[..., 0] if gray else image
    luma = image.astype(float) if gray else image.astype(float) @ [0.299, 0.587, 0.114]
    zero = {
        "contrast": np.full(image.shape, np.rint(luma.mean())),
        "brightness": np.zeros(image.shape),
        "color": luma if gray else np.repeat(luma[..., None], 3, 2),
    }
    for kind, start in zero.items():
        for factor in (0.7, 1.0, 1.2):
            wanted = np.clip(start + factor * (image - start), 0, 255)
            seen = parse_view(f"{kind}:{factor}")(image)
            assert seen.shape == image.shape and np.abs(seen - wanted).max() <= 1.5, (kind, factor)
        assert np.array_equal(parse_view(f"{kind}:1")(image), image)
    if not gray:
        faded = parse_view("color:0")(image)
        assert (faded == faded[..., :1]).all()


def test_median_takes_away_single_pixels_only() -> None:
    image = np.full((9, 12), 60, np.uint8)
    image[:, 6:] = 200  # an edge stays
    spots = image.copy()
    spots[2, 2], spots[5, 9] = 255, 0
    assert np.array_equal(parse_view("median:3")(spots), image)


def test_thumbnail_is_the_small_file_of_a_site() -> None:
    image = np.random.default_rng(3).integers(0, 256, (40, 100, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(image).resize((50, 20), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85, subsampling="4:2:0")
    small = np.asarray(Image.open(io.BytesIO(out.getvalue())))
    assert np.array_equal(parse_view("thumbnail:50")(image), resize_image(small, (40, 100)))
    assert np.array_equal(parse_view("thumbnail:256")(image), jpeg_image(image, 85))  # never enlarged


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.25])
def test_screenshot_samples_between_the_pixels(factor: float) -> None:
    image = np.random.default_rng(4).integers(0, 256, (20, 28)).astype(np.uint8)
    height, width = round(20 * factor), round(28 * factor)

    def taps(count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = (np.arange(count) + 0.5) * size / count - 0.5 + 0.5  # half a pixel further
        first = np.floor(at).astype(int)
        return np.minimum(first, size - 1), np.minimum(first + 1, size - 1), at - first

    top, bottom, down = taps(height, 20)
    left, right, across = taps(width, 28)
    wide = image[:, left] * (1 - across) + image[:, right] * across  # (20, width)
    wanted = wide[top] * (1 - down)[:, None] + wide[bottom] * down[:, None]  # (height, width)
    seen = parse_view(f"screenshot:{factor}")(image)
    back = resize_image(np.rint(wanted).astype(np.uint8), (20, 28)).astype(int)
    assert seen.shape == image.shape and np.abs(seen - back).max() <= 3


@settings(max_examples=40, deadline=None)
@given(
    word=st.sampled_from(["webp:80", "contrast:0.8", "contrast:1.2", "color:0.7", "color:0", "brightness:1.1", "thumbnail:24",
                          "screenshot:0.75", "screenshot:1.3", "median:3", "median:15", "resize:0.5", "jpeg:50"]),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    color=st.booleans(), level=st.integers(0, 255), seed=st.integers(0, 99),
)  # fmt: skip
def test_sizes_stay_and_even_ground_stays_even(
    word: str, sides: tuple[int, int], color: bool, level: int, seed: int
) -> None:
    shape = (*sides, 3) if color else sides
    view = parse_view(word)
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    before = image.copy()
    seen = view(image)
    assert seen.shape == image.shape and seen.dtype == np.uint8
    assert np.array_equal(image, before) and np.array_equal(view(image), seen)  # untouched, and nothing is drawn
    even = view(np.full(shape, level, np.uint8)).astype(int)
    assert np.ptp(even) <= 1
    if not word.startswith("brightness"):
        assert np.abs(even - level).max() <= 2


def test_helps_and_page_name_every_view() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protect.md").read_text(encoding="utf-8")
    for kind in VIEWS:
        assert f"{kind}:" in options.VIEW_FORMS, kind
        assert f"`{kind}:" in page, kind
