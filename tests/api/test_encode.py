"""Images to codes, and codes from elsewhere, scored by the metrics of the door."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hamguard as hg
from hamguard.core.errors import RequestError

RNG = np.random.default_rng(0)
SIGNS = RNG.choice([-1, 1], (30, 12))
NUMBERS = np.arange(30) % 3


@pytest.fixture(scope="module")
def data() -> hg.Data:
    return hg.data("digits")


def test_a_part_of_data_is_encoded_with_its_labels(data: hg.Data) -> None:
    model = hg.load("shipped:digits")
    query, database = hg.encode(model, data.query.first(40)), hg.encode("shipped:digits", data.database)
    assert (len(query), query.bits, query.labels.shape) == (40, model.bits, (40, 10))
    assert query.model_hash == model.digest and query.split_hash == data.split.digest
    assert hg.metrics.mean_average_precision(query, database).value > 0.8
    again = hg.encode(model, data.query.first(40).images, data.query.first(40).labels)
    assert np.array_equal(again.packed, query.packed) and np.array_equal(again.labels, query.labels)


def test_the_whole_is_no_part(data: hg.Data) -> None:
    with pytest.raises(RequestError, match="data.query, data.database"):
        hg.encode("shipped:digits", data)
    with pytest.raises(RequestError, match="a part of data has its own"):
        hg.encode("shipped:digits", data.query, data.query.labels)


@pytest.mark.parametrize(
    ("array", "bits"),
    [
        (SIGNS, None),
        (SIGNS > 0, None),
        ((SIGNS > 0).astype(np.uint8), None),
        (torch.from_numpy(SIGNS).half(), None),
        (SIGNS.tolist(), None),
        (np.packbits(SIGNS > 0, axis=1, bitorder="little"), 12),
        (torch.from_numpy(np.packbits(SIGNS > 0, axis=1, bitorder="little")), 12),
        (np.packbits(SIGNS > 0, axis=1), 12),
    ],
    ids=["signs", "truths", "bits", "tensor", "list", "packed", "packed tensor", "highest first"],
)
def test_codes_of_any_form_are_the_same(array: object, bits: int | None) -> None:
    bank = hg.codes(array, NUMBERS, bits=bits)
    assert bank.bits == 12 and np.array_equal(bank.codes.numpy(), SIGNS)


@pytest.mark.parametrize("labels", [NUMBERS, np.eye(3)[NUMBERS], torch.eye(3)[NUMBERS], NUMBERS.tolist()])
def test_labels_of_any_form_are_the_same(labels: object) -> None:
    assert np.array_equal(hg.codes(SIGNS, labels).labels, np.eye(3)[NUMBERS])


def test_codes_without_labels_have_ids() -> None:
    bank = hg.codes(SIGNS, ids=[f"n{i}" for i in range(30)])
    assert bank.labels.shape == (30, 0) and bank.ids[3] == "n3"
    assert hg.codes(SIGNS, NUMBERS, classes=9).labels.shape == (30, 9)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"array": SIGNS * 0.5}, r"codes must consist of \{-1, \+1\}"),
        ({"array": np.packbits(SIGNS > 0, axis=1)}, "packed bits need the number of bits beside them"),
        ({"array": np.packbits(SIGNS > 0, axis=1), "bits": 99}, "packed codes of 99 bits must be uint8"),
        ({"labels": np.full((30, 2), 0.4)}, "soft labels must be decided first"),
        ({"labels": NUMBERS[:9]}, "30 codes need as many labels, got 9"),
        ({"labels": NUMBERS - 1}, "whole numbers from 0, got -1"),
        ({"ids": ["a"]}, r"ids must be \(30,\)"),
    ],
)
def test_what_is_no_code_or_no_label_is_named(given: dict[str, object], line: str) -> None:
    with pytest.raises(RequestError, match=line):
        hg.codes(**{"array": SIGNS, "labels": NUMBERS, **given})  # type: ignore[arg-type]
