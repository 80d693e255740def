"""`hamguard sanity`: an honest model passes, one that hides its gradients is named, rows are marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hamguard.core.rows import Row, read_rows
from hamguard.evaluation.audit.checks.check import Check
from hamguard.evaluation.audit.sanity import Sane, marked
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_pictures

SMALL = ("--eps", "0.1", "--sample", "12", "--steps", "8", "--answers", "10")
NAMES = ["falls-with-eps", "more-steps", "transfer", "query-only", "slopes", "targeted", "controls"]

MODULE = """
import torch
from hamguard.models.store import load_folder

class Hidden(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inside, self.kind = load_folder({folder!r})[0].requires_grad_(False), kind
        self.size, self.channels = self.inside.size, self.inside.channels

    def forward(self, x):
        if self.kind == "steps":
            x = (x * 8).round() / 8
        z = self.inside.logits(x)
        return torch.tanh(1e4 * z) if self.kind == "tanh" else 1e4 * z if self.kind == "scale" else z

def scale(): return Hidden("scale")
def tanh(): return Hidden("tanh")
def steps(): return Hidden("steps")
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hidden(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"hidden_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(folder=str(world.model)))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_an_honest_model_passes_all_seven(shell: Shell, world: World, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    said = shell("sanity", world.model, *SMALL, "--out", out)
    assert said.code == 0, said.out
    for name in NAMES:
        assert f"passed   {name}" in said.out
    assert "All 7 checks passed on 12 queries." in said.out
    rows = read_rows(out)
    found = [row for row in rows if row.metric == "check"]
    assert [(row.attack or {})["check"] for row in found] == NAMES
    assert all((row.attack or {})["passed"] is True and row.notes for row in found)
    maps = {(row.attack or {})["what"]: row.value for row in rows if row.metric == "map"}
    assert {"noise", "random codes", "query-only, 10 pictures asked"} <= set(maps)
    assert sum("slope" in what for what in maps) == 4 and sum("raw logits" in what for what in maps) == 1
    again = shell.done("sanity", world.model, *SMALL, "--json").rows
    assert [row["value"] for row in again] == [row.value for row in rows], "same seed, same numbers"


@pytest.mark.parametrize(("kind", "named"), [("scale", "slopes"), ("tanh", "transfer"), ("steps", "transfer")])
def test_hidden_gradients_are_caught(
    shell: Shell, world: World, hidden: str, kind: str, named: str, tmp_path: Path
) -> None:
    """The outputs are so large that no more than one in a thousand bits is left with a gradient, whatever the weights."""
    out = tmp_path / "rows.jsonl"
    said = shell("sanity", f"{hidden}:{kind}", "--data", world.data, "--start", world.model, *SMALL, "--out", out)
    assert said.code == 1, said.err
    assert f"FAILED   {named}" in said.out and "Do not quote this defense" in said.out
    attacks = [row.attack or {} for row in read_rows(out) if row.metric == "check"]
    assert named in [attack["check"] for attack in attacks if attack["passed"] is False]


def test_without_labels_there_is_nothing_to_score(shell: Shell, world: World, tmp_path: Path) -> None:
    bare = write_pictures(tmp_path / "bare", n=80)
    answer = shell("sanity", world.model, "--data", f"folder:{bare}", *SMALL, "--json")
    metrics = {row["metric"] for row in answer.rows}
    assert metrics == {"check", "found"}  # of originals, as there are no labels


def test_attacked_rows_are_marked_with_what_failed() -> None:
    rows = [Row(metric="map", value=0.9), Row(metric="map", value=0.5, attack={"method": "mainstay"})]
    good, bad = Check("slopes", True, 0.0, "fine"), Check("transfer", False, 0.4, "no")
    assert marked(rows, Sane((good,), [])) == rows
    assert marked(rows, Sane((good, bad), [])) == [
        rows[0], replace(rows[1], notes=("sanity of the defense fails: transfer",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--eps", "8"), "8 / 255"),
        (("--threat", "l7"), "threat"),
        (("--sample", "1"), "sample"),
        (("--start", "nowhere"), "nowhere"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], message: str, shell: Shell, world: World) -> None:
    assert message in shell.fails(2, "sanity", world.model, *words)
