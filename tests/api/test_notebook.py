"""What is written in a notebook cell is measured, trained and reported like what ships; and the door's example runs as printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def cell(source: str) -> dict[str, Any]:
    """Run a cell as a notebook does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), names)
    return names


@pytest.fixture
def kept() -> Iterator[None]:
    """Registries forget what a test registers."""
    from hamguard.attacks.guides.registry import GUIDES
    from hamguard.attacks.losses.registry import LOSSES
    from hamguard.attacks.methods.registry import ATTACKS
    from hamguard.hashing.registry import OBJECTIVES

    tables = [
        table for one in (GUIDES, LOSSES, ATTACKS, OBJECTIVES) for table in (one._entries, one._places, one._facts)
    ]
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
    rows = hg.attack(model, data, made["cell_attack"](steps=2), queries=12)
    by_name = hg.attack("shipped:digits", "digits", "cell-attack", budget=hg.Budget(hg.Linf(0.2), steps=2), queries=12)
    found = rows.where(attack="cell-attack", metric="map")
    assert found and [row.value for row in found] == [
        row.value for row in by_name.where(attack="cell-attack", metric="map")
    ]
    assert {row.model for row in rows} == {row.model for row in by_name} and rows.where(model="shipped:digits")
    named = hg.attack(model, data, hg.Attack(guide=made["Farthest"](), threat=hg.Linf(0.1)), name="mine", queries=12)
    assert named.where(attack="mine")
    mixed = hg.attack(model, data, "pgd", budget=hg.Budget(hg.Linf(0.1), steps=2), queries=12)
    page = hg.Rows([*rows, *named, *mixed]).report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "cell-attack" in page and "mine" in page and "<table" in rows._repr_html_()
    assert "cell-attack" in [one["method"] for one in attacks_listed()]
