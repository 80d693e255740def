"""Whatever the door gives says in a few lines what it is, and shows itself as a table or a card in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.api.conftest import timeless
from torch import nn

import hamguard as hg
from hamguard.api.answers import Answers
from hamguard.core.html import Shown
from hamguard.models.comdefend import ComDefend
from hamguard.models.prosgan import Generator
from hamguard.models.protector import Protector
from hamguard.report.table import Table

DATA = hg.data(np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8), np.arange(24) % 3, name="mine")


def victim() -> hg.ForeignModel:
    torch.manual_seed(0)
    return hg.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 12)), size=8, channels=1, name="linear")


VICTIM = victim()
BANK = hg.encode(VICTIM, DATA.database)
FEW = hg.Budget(hg.Linf(4 / 255), steps=1, queries=2)
GIVEN: dict[str, tuple[Callable[[], Any], str]] = {
    "data": (lambda: DATA, "'mine'"),
    "part": (lambda: DATA.query, "query"),
    "model": (lambda: hg.load("shipped:digits"), "shipped:digits, method csq"),
    "card": (lambda: hg.load("shipped:digits").card, "method csq, backbone conv2, bits 32"),
    "wrapped": (lambda: VICTIM, "name linear, module Sequential, bits 12, images 1 x 8 x 8"),
    "bank": (lambda: BANK, "codes 20, bits 12, labels 3 classes"),
    "histograms": (lambda: hg.metrics.distance_histograms(BANK, BANK), "20 queries, 12 bits"),
    "protector": (lambda: Protector(3), "width small, channels 3"),
    "generator": (lambda: Generator(3, (32, 32), 8, torch.Generator()), "images 32 x 32"),
    "purifier": (lambda: ComDefend(channels=1), "channels 1"),
    "rows": (lambda: hg.evaluate(VICTIM, DATA), "map"),
    "adv": (lambda: hg.attacks.hag(steps=1)(VICTIM, DATA.query.images), "4 images of 1 x 8 x 8"),
    "answers": (lambda: hg.search(VICTIM, DATA.query, data=DATA), "4 queries"),
    "answer": (lambda: hg.search(VICTIM, DATA.query, data=DATA)[0], "10 items, nearest"),
    "audit": (lambda: hg.audit(VICTIM, DATA, FEW, substitute=False, checks=("none",)), "This search"),
    "detect": (lambda: hg.detect(VICTIM, DATA, FEW, false_alarms=0.5), "false alarms"),
    "purify": (lambda: hg.purify(VICTIM, DATA, ["bits:4"], FEW, draws=1), "linear: none, bits:4"),
    "measure": (lambda: hg.measure(VICTIM, DATA, FEW, measures=["success"]), "linear: success"),
}
BARE = {"data", "part", "histograms", "adv", "answer"}
"""What has no picture of its own in a notebook."""


@pytest.mark.parametrize("name", GIVEN)
def test_it_says_in_a_few_lines_what_it_is(name: str) -> None:
    make, told = GIVEN[name]
    value = make()
    assert told in repr(value) and len(repr(value)) < 400
    assert repr(value).count("\n") < 3 and "array(" not in repr(value) and str(value) == repr(value)
    if name not in BARE:
        html = value._repr_html_()
        assert html.startswith("<") and "object at 0x" not in html


def test_a_card_holds_names_as_text() -> None:
    model = victim()
    model.name = "<b>mine</b>"
    assert "<b>mine" not in model._repr_html_() and "&lt;b&gt;mine" in model._repr_html_()
    assert "notes" not in repr(model)  # nothing to say, nothing said


def test_a_printed_table_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print(Table.of("title", ("name", "MAP"), [("a", "0.5"), ("long", "0.25")], notes=["Note: small"]))  # noqa: T201
    assert capsys.readouterr().out == "title\nname   MAP\na      0.5\nlong  0.25\nNote: small\n"
    assert "MAP" in repr(hg.attack(VICTIM, DATA, hg.attacks.hag(steps=1)).table())


def test_the_same_cell_twice_gives_the_same_rows() -> None:
    def cell() -> tuple[list[Any], list[Any], list[tuple[str, ...]]]:
        model = victim()
        rows = hg.attack(model, DATA, hg.attacks.hag(steps=2), context=hg.Context(seed=1))
        found = hg.search(model, DATA.query, data=DATA)
        assert isinstance(found, Answers)
        return [(one.metric, one.value) for one in rows], timeless(hg.evaluate(model, DATA)), [one.ids for one in found]

    assert cell() == cell()


def test_what_says_nothing_of_itself_is_no_fact() -> None:
    with pytest.raises(NotImplementedError):
        repr(Shown())


def test_a_trained_model_shows_its_card(tmp_path: Path) -> None:
    model = hg.train("digits", "dpsh", bits=4, epochs=1, out=tmp_path / "model")
    assert f"place {tmp_path / 'model'}, method dpsh" in repr(model)
    assert "@" in model._repr_html_()  # what to cite
