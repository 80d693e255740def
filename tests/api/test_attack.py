"""`hg.attack`, `hg.evaluate`, `hg.transfer`: values, names and lists; the rows are those of the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.helpers import Shell
from torch import Tensor, nn

import hamguard as hg
from hamguard.attacks.search.signs import SignSteps
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row

SMALL: dict[str, Any] = {"queries": 6}
QUICK = hg.Budget(hg.Linf(0.2), steps=2)


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows as a command prints them, equal ones once, without times."""
    lines = dict.fromkeys(row.json() for row in rows)
    return [untimed(json.loads(line)) for line in lines]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "seconds": None}


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_attack_is_measured_like_the_command(shell: Shell) -> None:
    words = ("--queries", 6, "--json", "--batch-size", 64)
    printed = shell.done(
        "attack", "shipped:digits", "--method", "hag", "--method", "mainstay", "--eps", "0.2", "--steps", 2, *words
    ).rows
    named = hg.attack("shipped:digits", attack=["hag", "mainstay"], budget=QUICK, **SMALL)
    assert plain(named) == [untimed(row) for row in printed]
    value = hg.attack("shipped:digits", attack=hg.attacks.mainstay(steps=2, threat=hg.Linf(0.2)), metrics=[], **SMALL)
    assert plain(value) == plain(named.attacks[1].rows)


def test_a_search_is_scored_like_by_the_command_and_so_are_codes(shell: Shell, tmp_path: Path) -> None:
    words = ("--queries", 20, "--metric", "map", "--metric", "map@10", "--norm", "min", "--json")
    printed = shell.done("evaluate", "shipped:digits", *words).rows
    how: dict[str, Any] = {"metrics": ("map", "map@10"), "norm": "min"}
    rows = hg.evaluate("shipped:digits", queries=20, **how)
    assert [untimed(json.loads(row.json())) for row in rows] == [untimed(row) for row in printed]
    assert "20 queries, 1,497 database items, 32 bits" in str(rows.tables()[0].title)
    model, data = hg.load("shipped:digits"), hg.data("digits")
    query, database = hg.encode(model, data.query.first(20)), hg.encode(model, data.database)
    codes = hg.evaluate(query_codes=query, database_codes=database, **how)
    assert [row.value for row in codes] == [row.value for row in rows]
    rows.curves(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    copies = hg.evaluate("shipped:digits", views=["jpeg:50"], queries=3)
    assert copies.one("found").n == 3 and copies.sheet(tmp_path / "copies.png").stat().st_size > 1000


def test_transfer_is_measured_like_by_the_command(shell: Shell) -> None:
    models = ("shipped:digits", "shipped:digits-hard")
    words = ("--method", "hag", "--eps", "0.2", "--steps", 2, "--queries", 6, "--json")
    printed = shell.done("transfer", *models, *words).rows
    rows = hg.transfer(models, attack="hag", budget=QUICK, **SMALL)
    assert plain(rows) == [untimed(row) for row in printed] and len(rows.tables()) == 2
    with pytest.raises(RequestError, match="transfer needs two models or more, got 1"):
        hg.transfer(models[:1])
    with pytest.raises(RequestError, match="cmla moves texts; images alone are made on one model"):
        hg.transfer(models, attack=hg.attacks.cmla_text())


def test_transfer_between_models_of_ones_own() -> None:
    torch.manual_seed(0)
    nets = {f"net {place}": nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 8)) for place in range(2)}
    models = {name: hg.wrap(net, size=28, channels=1) for name, net in nets.items()}
    data = hg.data(torch.rand(40, 1, 28, 28), torch.arange(40) % 4, name="mine")
    rows = hg.transfer(models, data, hg.attacks.hag(steps=2, threat=hg.Linf(0.2)), **SMALL)
    made_on = {(row.attack["made_on"][0], row.model) for row in rows if row.attack and "made_on" in row.attack}
    assert made_on >= {(source, scored) for source in nets for scored in nets if source != scored}
    assert {row.dataset for row in rows} == {"mine"}


class Net(nn.Module):
    """A module of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1) - 0.5)


def test_ones_own_module_and_attack_in_three_lines(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(80, 1, 8, 8), torch.arange(80) % 4
    model = hg.wrap(Net().eval().requires_grad_(False), size=(8, 8), channels=1)

    def nearer(u: Tensor, target: Tensor, direction: int) -> Tensor:
        return -direction * (u * target).mean(1)

    mine = hg.Attack(loss=nearer, search=SignSteps(steps=3), threat=hg.Linf(0.1))
    rows = hg.attack(model, hg.data(images, labels, name="mine"), mine, name="nearer", queries=5)
    attacked = rows.where(attack="nearer", metric="map").one()
    assert attacked.dataset == "mine" and attacked.threat is not None and attacked.threat["eps"] == 0.1
    assert attacked.attack is not None and attacked.attack["values"]["loss"] == "nearer"
    assert not isinstance(rows.where(metric="map"), type(rows)), "a part of the rows is rows, not an attack"
    rows.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "nearer: queries before and after" in page.split('class="words"')[0], "model and data are at hand: it draws"
    rows.save(tmp_path / "rows.jsonl")
    assert [row.value for row in hg.read_rows(tmp_path / "rows.jsonl")] == [row.value for row in rows]
    rows.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("attack", "more", "message"),
    [
        ("hgg", {}, "unknown attack 'hgg'.*did you mean hag"),
        ([], {}, "an empty list was given"),
        (3, {}, "an attack is an hg.Attack, a registered name, or a list of them, got 3"),
        (hg.attacks.mainstay, {}, "call it: it is a factory"),
        ("hag", {"name": "mine"}, "name is for one attack that was made in Python"),
        (hg.attacks.mainstay(), {"budget": QUICK}, "an attack made in Python has its own"),
        ("hag", {"ties": "best?"}, "unknown ties"),
        ("hag", {"metrics": ("mop",)}, "unknown metric 'mop'"),
        ("prosgan", {}, "prosgan needs a trained generator"),
        (["hag", "pgd"], {"save_images": "x"}, "save_images takes one attack, got 2"),
        ("cmla", {"modality": "text", "targets": "other"}, "an attack on texts is one attack without targets"),
        (
            "hag",
            {"modality": "text"},
            r"texts are attacked by cmla_text\(...\) and cmla_words\(...\), and hag moves pixels",
        ),
        (hg.attacks.cmla(), {"modality": "text"}, "and cmla moves pixels"),
        (hg.attacks.cmla_words(), {"modality": "image"}, "this attack moves texts; leave out modality='image'"),
        ([hg.attacks.cmla_text(), "hag"], {}, "an attack on texts is one attack without targets"),
        ("cmla-words", {"modality": "text", "budget": QUICK}, "cmla-words has no budget of a norm"),
        (hg.attacks.cmla_text(), {}, "shipped:digits has no text side"),
    ],
)
def test_what_does_not_go_is_said_before_any_work(attack: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        hg.attack("shipped:digits", attack=attack, **more)


def test_words_of_an_evaluation() -> None:
    with pytest.raises(RequestError, match="give either a `model`, or both"):
        hg.evaluate()
    bank = hg.codes(torch.ones(3, 8), torch.arange(3))
    with pytest.raises(RequestError, match="give both codes as files, or both as banks"):
        hg.evaluate(query_codes=bank, database_codes="x.npz")
    with pytest.raises(RequestError, match="go with a `model`"):
        hg.evaluate(query_codes=bank, database_codes=bank, protocol="p")
    with pytest.raises(RequestError, match="a sheet shows changed copies"):
        hg.evaluate(query_codes=bank, database_codes=bank).sheet("x.png")
