"""`hg.data`: a name, or images; what belongs to the one is refused beside the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hamguard as hg
from hamguard.core.errors import DataMissingError, RequestError

PIXELS = np.zeros((24, 8, 8), np.uint8)
NUMBERS = np.arange(24) % 3


def test_a_name_or_images(tmp_path: Path) -> None:
    assert len(hg.data("digits", size=8).query) == 300
    mine = hg.data(PIXELS, NUMBERS, name="mine")
    assert isinstance(mine, hg.Data) and mine.dataset.name == "mine"
    np.savez(tmp_path / "set.npz", images=PIXELS, labels=NUMBERS)
    assert np.array_equal(hg.data(f"arrays:{tmp_path}/set.npz").dataset.labels, mine.dataset.labels)


def test_images_may_have_no_labels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16), np.uint8)
    mine = hg.data(images, name="mine")
    assert mine.dataset.labels.shape == (24, 0) and "pictures without labels" in mine.dataset.notes
    model = hg.train(mine, "lsh", out=tmp_path / "m", bits=8)
    assert model.bits == 8
    with pytest.raises(RequestError, match="mine has no labels; csq needs them"):
        hg.train(mine, "csq", out=tmp_path / "c")


@pytest.mark.parametrize(
    ("args", "given", "line"),
    [
        (("digits", NUMBERS), {}, "labels belong to images; 'digits' is a source"),
        (("digits",), {"texts": ["a"], "split": NUMBERS}, "texts, split belong to images"),
        ((PIXELS, NUMBERS), {"protocol": "seeded", "size": 8}, "protocol, size belong to a named source"),
        ((PIXELS, NUMBERS), {"drop_duplicates": True}, "belongs to a named source"),
        ((PIXELS,), {"class_names": ["a"]}, "class_names name labels"),
        (("digit",), {}, "unknown data source 'digit'.*did you mean digits"),
    ],
)
def test_what_belongs_to_the_other_is_refused(args: tuple[object, ...], given: dict[str, object], line: str) -> None:
    with pytest.raises(RequestError, match=line):
        hg.data(*args, **given)  # type: ignore[call-overload]


def test_a_set_that_is_not_here_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="put .* below"):
        hg.data("fashion-mnist", root=tmp_path)
