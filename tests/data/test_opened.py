"""Data as one value: opened by name, or made from arrays, tensors and lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.data.opened import Data, data_facts

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 8, 9, 3), dtype=np.uint8)
NUMBERS = np.arange(24) % 3


def test_data_open_are_those_of_the_source() -> None:
    data = Data.open("digits", size=8, split_seed=3)
    assert len(data) == 1797 and data.split.seed == 3 and data.dataset.images.size == (8, 8)
    assert data_facts(data.dataset, data.split)["source"] == "digits"
    assert data.query.images.shape == (len(data.query), 1, 8, 8) and data.query.labels.shape == (len(data.query), 10)


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255,
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2).double().div(255).requires_grad_(),
        PIXELS.astype(np.float32) / 255,
        list(PIXELS),
        list(torch.from_numpy(PIXELS)),
    ],
    ids=["array", "tensor", "channels first", "float", "double with gradient", "float array", "list", "tensors"],
)
def test_pictures_of_any_form_are_the_same(images: object) -> None:
    data = Data.of(images, NUMBERS, name="mine")
    assert np.array_equal(data.dataset.images.array, PIXELS)
    assert data.dataset.notes == () and data.dataset.digest == Data.of(PIXELS, NUMBERS, name="mine").dataset.digest


@pytest.mark.parametrize("shape", [(24, 8, 9), (24, 8, 9, 1), (24, 1, 8, 9)])
def test_gray_pictures_have_one_channel(shape: tuple[int, ...]) -> None:
    data = Data.of(np.zeros(shape, np.uint8), NUMBERS)
    assert data.dataset.images.channels == 1 and data.database.images.shape[1:] == (1, 8, 9)


def test_values_between_levels_are_rounded_with_a_note() -> None:
    data = Data.of(np.full((24, 8, 8), 0.5), NUMBERS)
    assert set(data.dataset.images.array.reshape(-1)) == {128}
    assert "rounded to 8 bits" in data.dataset.notes[0]


@pytest.mark.parametrize(
    "labels",
    [NUMBERS, torch.from_numpy(NUMBERS), NUMBERS.tolist(), np.eye(3)[NUMBERS], np.eye(3, dtype=bool)[NUMBERS]],
    ids=["numbers", "tensor", "list", "marks", "truths"],
)
def test_labels_of_any_form_are_the_same(labels: object) -> None:
    assert np.array_equal(Data.of(PIXELS, labels).dataset.labels.argmax(1), NUMBERS)


def test_names_of_classes_are_kept() -> None:
    assert Data.of(PIXELS, [["cat", "dog", "ant"][n] for n in NUMBERS]).dataset.class_names == ("ant", "cat", "dog")
    assert Data.of(PIXELS, NUMBERS, class_names=["x", "y", "z"]).dataset.class_names == ("x", "y", "z")


def test_data_made_in_python_are_never_looked_for() -> None:
    data = Data.of(PIXELS, NUMBERS, name="digits")
    facts = data_facts(data.dataset, data.split)
    assert facts["name"] == "digits" and facts["source"] is None and facts["split_seed"] is None


def test_what_is_written_into_the_array_later_changes_nothing() -> None:
    mine = PIXELS.copy()
    data = Data.of(mine, NUMBERS)
    mine[:] = 0
    assert np.array_equal(data.dataset.images.array, PIXELS)


def test_the_split_is_drawn_by_its_seed() -> None:
    data, again, other = (Data.of(PIXELS, NUMBERS, split_seed=seed) for seed in (1, 1, 2))
    assert data.split.digest == again.split.digest != other.split.digest
    assert (len(data.query), len(data.database)) == (4, 20) and data.split.protocol == "seeded"
    assert len(data.train) + len(data.validation) == len(data.database)


def test_the_split_is_taken_as_given() -> None:
    parts = np.array([2] * 4 + [1] * 2 + [0] * 8 + [3] * 10)
    data = Data.of(PIXELS, NUMBERS, split=parts)
    assert sorted(data.split.query) == [0, 1, 2, 3] and data.split.train.tolist() == list(range(6, 14))
    rows = Data.of(
        PIXELS, NUMBERS, split={"query": range(4), "database": torch.arange(4, 24), "train": np.arange(6, 14)}
    )
    assert sorted(rows.split.query) == [0, 1, 2, 3] and rows.split.train.tolist() == list(range(6, 14))
    assert len(rows.validation) == 2 and not set(rows.split.validation) & set(rows.split.train)
    assert Data.of(PIXELS, NUMBERS, split=rows.split).split.digest == rows.split.digest


def test_parts_say_what_they_are() -> None:
    data = Data.of(PIXELS, NUMBERS, texts=[f"text {i}" for i in range(24)], name="mine")
    part = data.query.first(2)
    assert (part.role, len(part)) == ("query", 2) and repr(part) == "2 query pictures of mine"
    assert part.texts == tuple(f"text {i}" for i in part.ids) and data.part("query").texts[:2] == part.texts
    assert torch.equal(part.labels.argmax(1), torch.from_numpy(NUMBERS[part.part.index]))
    assert 0 <= float(part.images.min()) and float(part.images.max()) <= 1
    with pytest.raises(RequestError, match="unknown role 'test'"):
        data.part("test")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (PIXELS / 128, r"images must lie in \[0, 1\], got values from 0 to 1.99219; divide pixels by 255"),
        (PIXELS / 255 - 0.5, r"got values from -0.5 to 0.5; give pixels before a mean"),
        (np.full((24, 8, 8), np.nan), "got NaN or infinite"),
        (PIXELS.astype(np.int64), r"got int64; images.astype\(numpy.uint8\)"),
        (PIXELS > 9, "got bool"),
        (PIXELS[0, ..., 0], r"got \(8, 9\); one picture alone needs a first axis"),
        (np.zeros((24, 5, 8, 9)), r"1 or 3 channels, got \(24, 5, 8, 9\)"),
        (np.zeros((24, 3, 8, 3)), "either axis could be that of the channels"),
        (np.zeros((0, 8, 8)), "there is no picture"),
        ([PIXELS[0], PIXELS[0, :4]], "one size"),
        (PIXELS[:20], r"labels must be \(20, C\) or \(20,\), got \(24,\)"),
    ],
)
def test_range_for_a_range_fault_and_shape_for_a_shape_fault(images: object, line: str) -> None:
    with pytest.raises(RequestError, match=line):
        Data.of(images, NUMBERS)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"labels": np.full((24, 3), 0.4)}, "soft labels must be decided first"),
        ({"labels": -NUMBERS}, "whole numbers from 0, got -2"),
        ({"texts": ["one"]}, "24 pictures, 1 texts"),
        ({"texts": "one"}, "list of strings, one a picture, got str"),
        ({"texts": [1] * 24}, "got int"),
        ({"name": " "}, "short line of text"),
        ({"name": "a\nb"}, "short line of text"),
        ({"split": np.zeros(24, int)}, "must hold queries"),
        ({"split": np.full(24, 7)}, "numbers from 7 to 7"),
        ({"split": np.zeros(3, int)}, r"24 of them\), got int64 \(3,\)"),
        ({"split": {"query": [0]}}, "rows of query and database, got query"),
        ({"split": {"test": [0]}}, "unknown role 'test'"),
        ({"split": {"query": [0], "database": [99]}}, "rows of the database split must be 0 to 23, got 99 to 99"),
        ({"split": {"query": [0.5], "database": [9]}}, "whole numbers"),
        ({"split": Data.of(PIXELS[:20], NUMBERS[:20]).split}, "drawn from other pictures"),
        ({"class_names": ["a"]}, "class numbers go up to 2"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, object], line: str) -> None:
    with pytest.raises(RequestError, match=line):
        Data.of(**{"images": PIXELS, "labels": NUMBERS, **given})  # type: ignore[arg-type]
