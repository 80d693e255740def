"""The printed figures that are kept, and how one is found."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hamguard.core.errors import RequestError
from hamguard.evaluation.reproduce.published import figure, published


def test_all_tables_are_there_with_their_number_of_figures() -> None:
    counts: dict[tuple[str, str], int] = {}
    for one in published():
        key = (one.source.split(",")[0], one.table)
        counts[key] = counts.get(key, 0) + 1
    assert counts == {
        ("PPL", "Table 1"): 192, ("ProS-GAN", "Table 1"): 96, ("ProS-GAN", "Table 2"): 36, ("ProS-GAN", "Table 3"): 78,
        ("ProS-GAN", "Table 4"): 64, ("HAG", "MAP by iteration"): 56, ("HAG", "activation ablation"): 8,
        ("HAG", "transfer"): 54, ("CMLA", "clean MAP"): 64, ("CMLA", "attack MAP and D"): 96, ("SAAT", "Table I"): 108,
        ("SAAT", "Table II"): 96, ("cisip-FIRe", "docs/implementation.md"): 13,
    }  # fmt: skip


def test_percent_becomes_a_share_and_seconds_stay() -> None:
    assert figure("ProS-GAN", "Table 1", dataset="NUS-WIDE", method="DHTA", bits=32, metric="t-MAP") == 0.7565
    assert figure("ProS-GAN", "Table 2", dataset="NUS-WIDE", method="DHTA (2000", metric="seconds") == 5.601
    assert figure("PPL", "Table 1", dataset="CIFAR-10", method="ADSH", bits=8, train="C", metric="C->C") == 0.9221


def test_a_name_that_begins_another_is_itself() -> None:
    plain = figure("HAG", "activation ablation", dataset="FLICKR25K", method="HAG", bits=16)
    assert (
        plain == 0.1657 and figure("CMLA", "clean MAP", dataset="MIRF", method="DCMH", bits=32, metric="I->T") == 0.749
    )


def test_what_is_not_printed_is_none_and_what_is_not_one_is_an_error() -> None:
    assert figure("PPL", "Table 1", dataset="digits") is None
    with pytest.raises(RequestError, match="192 printed figures fit"):
        figure("PPL", "Table 1")


def test_what_the_pages_quote_is_what_is_kept() -> None:
    """docs/published.csv says some of the figures in the words of rows; both must agree."""
    quoted = csv.DictReader((Path(__file__).parents[3] / "docs" / "published.csv").read_text("utf-8").splitlines())
    kept: dict[str, list[float]] = {}
    for one in published():
        kept.setdefault(one.source.split(",")[0], []).append(one.value)
    count = 0
    for line in quoted:
        name, value = line["source"].split(" ")[0], float(line["value"])
        if name == "PPL":
            found = figure("PPL", line["table"], dataset=line["dataset"], method=line["method"].upper(),
                           bits=int(line["bits"]), train=line["train"], metric=line["task"])  # fmt: skip
            assert found == value, line
        else:
            assert value in kept[name], line
        count += 1
    assert count == 133
