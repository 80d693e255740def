"""What is written in a notebook cell is measured, trained and reported like what ships; and the door's example runs as printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamguard as hg
from hamguard.api.names import attacks_listed

CELL = '''
from dataclasses import dataclass

import torch
import hamguard as hg


@hg.register_guide("cell-guide")
@dataclass(frozen=True)
class Farthest:
    """The opposite of the own code."""

    name: str = "cell-guide"
    needs_labels: bool = False

    def __call__(self, own, labels, bank, index, seed):
        return -own


@hg.register_loss("cell-loss")
def shifted(u, target, direction):
    """The inner product, moved by one."""
    return 1 - direction * (u * target).mean(1)


@hg.register_attack("cell-attack", direction="away")
def cell_attack(*, steps: int = 3, threat: hg.Threat = hg.Linf(0.2)) -> hg.Attack:
    """Approach the opposite code."""
    return hg.Attack(guide=Farthest(), loss=shifted, search=hg.attacks.SignSteps(steps), threat=threat, toward=True)
'''

OBJECTIVE = '''
import hamguard as hg


class CellSettings(hg.Settings):
    weight: float = 1.0


@hg.register_objective("cell-hash")
class CellHash(hg.Objective):
    """Codes of equal labels agree."""

    name = "cell-hash"
    title = "A method of a cell"
    settings_type = CellSettings

    def loss(self, logits, labels, index, progress):
        u = logits.tanh()
        alike = (labels @ labels.T > 0).float() * 2 - 1
        return self.settings.weight * ((u @ u.T / u.shape[1] - alike) ** 2).mean()
'''


def cell(source: str) -> dict[str, Any]:
    """Run a cell as a notebook does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), names)
    return names


def patterns(count: int, classes: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images with a pattern for each class under noise, uint8, and the numbers of their classes."""
    rng = np.random.default_rng(0)
    numbers = np.arange(count) % classes
    marks = rng.integers(40, 216, (classes, *shape))
    return np.clip(marks[numbers] + rng.normal(0, 12, (count, *shape)), 0, 255).astype(np.uint8), numbers


@pytest.fixture
def kept() -> Iterator[None]:
    """Registries forget what a test registers."""
    from hamguard.attacks.guides.registry import GUIDES
    from hamguard.attacks.losses.registry import LOSSES
    from hamguard.attacks.methods.registry import ATTACKS
    from hamguard.hashing.registry import OBJECTIVES

    full = [one for one in (GUIDES, LOSSES, ATTACKS, OBJECTIVES) if one.names()]  # the files of a package are read once
    tables = [table for one in full for table in (one._entries, one._places, one._facts)]
    before = [dict(table) for table in tables]
    yield
    for table, held in zip(tables, before, strict=True):
        table.clear()
        table.update(held)


@pytest.mark.usefixtures("kept")
def test_an_attack_of_a_cell_is_measured_and_stands_in_the_report(tmp_path: Path) -> None:
    for _ in range(2):  # a cell may be run again
        made = cell(CELL)
    data, model = hg.data("digits"), hg.load("shipped:digits")
    rows = hg.attack(model, data, made["cell_attack"](steps=2), queries=8)
    by_name = hg.attack("shipped:digits", "digits", "cell-attack", budget=hg.Budget(hg.Linf(0.2), steps=2), queries=8)
    found = rows.where(attack="cell-attack", metric="map")
    assert found and [row.value for row in found] == [
        row.value for row in by_name.where(attack="cell-attack", metric="map")
    ]
    assert {row.model for row in rows} == {row.model for row in by_name} and rows.where(model="shipped:digits")
    named = hg.attack(model, data, hg.Attack(guide=made["Farthest"](), threat=hg.Linf(0.1)), name="mine", queries=8)
    assert named.where(attack="mine")
    mixed = hg.attack(model, data, "pgd", budget=hg.Budget(hg.Linf(0.1), steps=2), queries=8)
    page = hg.Rows([*rows, *named, *mixed]).report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "cell-attack" in page and "mine" in page and "<table" in rows._repr_html_()
    assert "cell-attack" in [one["method"] for one in attacks_listed()]


@pytest.mark.usefixtures("kept")
def test_an_objective_of_a_cell_is_trained_and_stands_in_the_report(tmp_path: Path) -> None:
    for _ in range(2):
        cell(OBJECTIVE)
    images, numbers = patterns(240, 3, (12, 12))
    data = hg.data(images, numbers, name="mine")
    more = {"epochs": 3, "batch_size": 16, "weight": 2.0}
    model = hg.train(data, "cell-hash", bits=8, backbone="conv8", out=tmp_path / "model", **more)
    assert model.card.method == "cell-hash" and model.card.settings == {"weight": 2.0}
    assert model.card.data["name"] == "mine" and model.card.data["source"] is None
    rows = hg.evaluate(model, data)
    assert {row.method for row in rows if row.hashes.get("model")} == {"cell-hash"}
    assert "cell-hash" in rows.report(tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(hg.HamguardError, match=r"data made in Python \(mine\), which are found under no name"):
        hg.evaluate(model)
    with pytest.raises(hg.HamguardError, match=r"data made in Python \(mine\)"):
        hg.evaluate(tmp_path / "model")


@pytest.mark.parametrize("which", ["digits", "arrays"])
def test_the_example_of_the_door_runs_as_printed(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if which == "digits":
        data = hg.data("digits")
    else:
        images, labels = patterns(2000, 4, (3, 16, 16))
        data = hg.data(images, labels, texts=None, split=None, name="mine")
    model = hg.train(data, "csq", bits=32, backbone="conv2", out="models/mine", epochs=1)
    victim = hg.wrap(plain(model), size=model.size)
    q, db = hg.encode(model, data.query), hg.encode(model, data.database)
    assert 0 < hg.metrics.mean_average_precision(q, db).value <= 1
    attack = hg.attacks.mainstay(steps=3, threat=hg.Linf(8 / 255))
    x, labels = data.query.images[:4], data.query.labels[:4]
    adv = attack(victim, x, labels, db)
    assert adv.x_adv.shape == x.shape and float((adv.x_adv - x).abs().max()) <= 8 / 255 + 1e-6
    rows = hg.attack(model, data, attack, queries=8)
    assert rows.table() and rows.report("page.html").is_file() and rows.where(model="models/mine", metric="map")
    worst = hg.audit(
        model, data, hg.Budget(hg.Linf(4 / 255), steps=1, queries=2), queries=4, substitute=False, checks=("none",)
    )
    assert worst.rows
    safe = hg.harden(model, data, "saat", threat=hg.Linf(8 / 255), out="models/safe", epochs=1, steps=1)
    assert safe.card.defense["method"] == "saat" and safe.bits == 32


def plain(model: Any) -> Any:
    """A model as somebody's own module."""
    from torch import Tensor, nn

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner.logits(x)

    own = Own()
    own.channels = model.channels  # type: ignore[assignment]
    return own
