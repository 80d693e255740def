"""A wrong kind of value is refused by its name, in the words of a notebook, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hamguard as hg
from hamguard.api.arguments import checked
from hamguard.core.checks import check_choice, check_range, received
from hamguard.core.errors import RequestError

ANY: Any = hg
"""The door without its types: what a person in a hurry calls."""
PIXELS, NUMBERS = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8), np.arange(24) % 3
DATA = hg.data(PIXELS, NUMBERS, name="mine")
BANK = hg.codes(np.ones((4, 8)), [0, 1, 2, 0])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))


MODEL = hg.wrap(net(), size=8, channels=1, name="mine")
ON_DATA: dict[str, Callable[..., Any]] = {
    "evaluate": ANY.evaluate,
    "attack": ANY.attack,
    "audit": ANY.audit,
    "measure": ANY.measure,
    "detect": ANY.detect,
    "purify": ANY.purify,
    "sanity": ANY.sanity,
    "harden": lambda model, data: ANY.harden(model, data, out="never"),
    "index": lambda model, data: ANY.index(model, data, out="never"),
    "transfer": lambda model, data: ANY.transfer([model, model], data),
}


@pytest.mark.parametrize("name", ON_DATA)
@pytest.mark.parametrize(
    ("model", "told"),
    [
        (net(), r"a bare nn.Module: wrap it with hg.wrap\("),
        (3, "got"),
        (nn.Flatten, "the class Flatten"),
        (torch.zeros(2), "Tensor"),
        ("no/such/folder", "no/such/folder"),
        (__file__, "test_arguments.py"),
    ],
)
def test_what_is_no_model_is_refused_by_every_function(name: str, model: Any, told: str) -> None:
    if name == "index" and not isinstance(model, (str, nn.Module)):
        told = "must be"  # codes
    with pytest.raises(RequestError, match=told):
        ON_DATA[name](model, DATA)


@pytest.mark.parametrize("name", ON_DATA)
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (3, "data must be .* got 3"),
        (PIXELS, r"hg.data\(images, labels\) makes data of them"),
        ((PIXELS, NUMBERS), r"hg.data\(images, labels\) makes data of them"),
        (DATA.query, "give the whole data"),
        ("digitz", "unknown data source 'digitz'"),
    ],
)
def test_what_is_no_data_is_refused_by_every_function(name: str, data: Any, told: str) -> None:
    model = "shipped:digits" if name == "index" else MODEL
    with pytest.raises(RequestError, match=told):
        ON_DATA[name](model, data)


WRONG: list[tuple[str, Callable[[], Any], str]] = [
    (
        "a threat for a budget",
        lambda: ANY.audit(MODEL, DATA, hg.Linf(4 / 255)),
        r"budget must be .*hg.Budget\(threat\)",
    ),
    ("a word for a number", lambda: ANY.attack(MODEL, DATA, queries="all"), "queries must be a whole number.*'all'"),
    ("a word for a list", lambda: ANY.evaluate(MODEL, DATA, metrics="map"), r"metrics must be a list.*\['map'\]"),
    ("a matcher for a list", lambda: ANY.verify("a", "b", matchers="shipped:digits"), "matchers must be a list"),
    ("a wrong thing in a list", lambda: ANY.evaluate(MODEL, DATA, metrics=["map", 3]), r"metrics\[1\] must be text"),
    ("a device for a context", lambda: ANY.encode(MODEL, DATA.query, context="cpu"), "context must be an hg.Context"),
    (
        "a word of others",
        lambda: ANY.attack(MODEL, DATA, modality="sound"),
        "unknown modality .sound.; allowed: image, text",
    ),
    ("another word of others", lambda: ANY.attack(MODEL, DATA, combine="x"), "unknown combine 'x'"),
    ("a split beside data", lambda: ANY.attack(MODEL, DATA, protocol="seeded"), "protocol belong to a named source"),
    ("no batch", lambda: ANY.encode(MODEL, DATA.query, batch_size=0), "batch_size must be at least 1, got 0"),
    ("less than no batch", lambda: ANY.evaluate(MODEL, DATA, batch_size=-1), "batch_size must be at least 1, got -1"),
    ("a context without a batch", lambda: hg.Context(batch_size=0), "batch_size of the context"),
    ("a seed that is none", lambda: ANY.Context(seed="a"), "seed of the context must be a whole number, got 'a'"),
    ("a size that is none", lambda: ANY.data("digits", size=(24, 24)), "size must be a whole number"),
    ("one color picture", lambda: hg.data(np.zeros((3, 8, 8)), [0, 1, 2]), r"one color picture needs a first axis"),
    ("a place that is none", lambda: ANY.load(None), "path must be text or a path, got None"),
    ("a module for a place", lambda: ANY.load(net()), "path must be text or a path, got a Sequential"),
    ("a device that is none", lambda: hg.load("shipped:digits", device="tpu"), "unknown device 'tpu'"),
    ("codes of several lengths", lambda: hg.codes([[1, -1], [1]]), r"codes must have shape \(N, K\)"),
    ("an item that is not there", lambda: BANK.select(np.array([9])), "a bank of 4 codes has no such items"),
    ("a list for a bank", lambda: ANY.CodeBank([[1]], 8, [[1]]), "packed codes must be a uint8 array"),
    ("an array for a bank", lambda: ANY.metrics.mean_average_precision(np.ones((2, 8)), BANK), "must be a CodeBank"),
    ("nothing for a bank", lambda: ANY.metrics.mean_average_precision(BANK, None), "must be a CodeBank.*NoneType"),
    ("a bank for a histogram", lambda: ANY.metrics.radius_precision(BANK, 2), "distance_histograms"),
    ("a word for a cut", lambda: ANY.metrics.mean_average_precision(BANK, BANK, at="all"), "at must be a number"),
    ("a number for rows", lambda: ANY.report(3, "page.html"), "rows must be .*got 3"),
    ("a factory for an attack", lambda: ANY.attack(MODEL, DATA, hg.attacks.hag), "call it: it is a factory"),
    ("images of no shape", lambda: ANY.search(MODEL, np.zeros(3), data=DATA), "images must be"),
    ("a name that is none", lambda: ANY.wrap(net(), size=8, channels=1, name=3), "name must be text, got 3"),
]


@pytest.mark.parametrize(("call", "told"), [(call, told) for _, call, told in WRONG], ids=[name for name, *_ in WRONG])
def test_each_wrong_value_is_told_by_its_name(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_arrays_stand_for_lists_and_numbers_of_numpy_for_numbers(tmp_path: Path) -> None:
    rows = hg.evaluate(MODEL, DATA, metrics=np.array(["map", "map@3"]), queries=np.int64(3))  # type: ignore[arg-type]
    assert {row.at for row in rows.where(metric="map")} == {None, 3}


def test_a_checked_function_keeps_its_name_and_its_signature() -> None:
    @checked
    def count(many: int, *, share: float = 0.5, **rest: Any) -> float:
        """How many."""
        return many * share

    assert (count.__name__, count.__doc__, count(4), count(2, share=1, other="x")) == ("count", "How many.", 2.0, 2)
    with pytest.raises(RequestError, match="many must be a whole number, got True"):
        count(True)
    with pytest.raises(TypeError, match=r"\w+\(\) "):
        count()  # type: ignore[call-arg]


def test_what_was_received_is_told_in_a_line() -> None:
    assert [received(one) for one in (None, "a", 3, np.ones((2, 3)), net(), nn.Linear)] == [
        "None",
        "'a'",
        "3",
        "a ndarray of shape (2, 3)",
        "a Sequential",
        "the class Linear",
    ]
    with pytest.raises(RequestError, match="share must be a number, got 'half'"):
        check_range("share", "half", 0, 1)  # type: ignore[type-var]
    with pytest.raises(RequestError, match="word must be one of a, b, got 3"):
        check_choice("word", 3, ["a", "b"])  # type: ignore[arg-type]
