"""Views by their written form: sizes stay, each word does what it says, wrong words are refused."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.images.named_views import parse_view
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
        ("jpg:50", "unknown view 'jpg'; allowed: jpeg, crop, resize, blur, bits; did you mean jpeg?"),
        ("jpeg", "needs a number"), ("jpeg:", "needs a number"), ("resize:0", "needs a number"), ("blur:-1", "needs a number"),
        ("jpeg:101", "JPEG quality lies between 1 and 100"), ("jpeg:0.5", "parts of a side are written"),
        ("resize:1.5", "below 1"), ("crop:9999", "sides have at most 4,096 pixels"), ("bits:8", "between 1 and 7"),
        ("blur:65", "at most 64 pixels"),
    ],
)  # fmt: skip
def test_wrong_words(word: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_view(word)
    assert message in str(caught.value)
