"""`hg.measure`: the rows of the command, of one model or of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.api.conftest import timeless
from tests.cli.conftest import World
from tests.cli.helpers import Shell

import hamguard as hg
from hamguard.api.measure import MeasureResult
from hamguard.api.results import Rows
from hamguard.core.errors import RequestError
from hamguard.evaluation.measures.registry import Found, Picture

BUDGET = hg.Budget(hg.Linf(0.1), steps=2)
WORDS = (
    "--eps",
    "0.1",
    "--steps",
    "2",
    "--queries",
    "4",
    "--measure",
    "radius",
    "--measure",
    "clever",
    "--clever",
    "2x2",
)
FEW = {"clever": {"draws": "2x2"}}


def test_the_call_and_the_command_give_equal_rows(shell: Shell, world: World, tmp_path: Path) -> None:
    found = hg.measure(world.model, None, BUDGET, measures=("radius", "clever"), options=FEW, queries=4)
    assert timeless(found.rows) == timeless(shell.done("measure", world.model, *WORDS, "--json").rows)
    (lines,) = found.lines.values()
    assert lines["flip radius, 1 bit"].robust == "higher" and not found.ranks
    page = found._repr_html_()
    assert "flip radius, 1 bit" in page and "linf 0.1" in page
    hg.measure(world.model, None, BUDGET, measures=("success",), queries=2).draw(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()


def test_models_in_memory_are_called_as_their_owner_says(world: World) -> None:
    model, data = hg.load(world.model), hg.data(world.data)
    found = hg.measure({"mine": model, "again": model}, data, BUDGET, measures=("sensitivity",), queries=3)
    assert {row.model for row in found.rows} == {"mine", "again"} and list(found.lines) == ["mine", "again"]
    (table,) = found.tables()
    assert table.columns == ("measure", "more robust", "mine", "again")


def test_measures_stand_beside_an_audit(shell: Shell, world: World, tmp_path: Path) -> None:
    shell.done("audit", world.model, "--eps", "0.1", "--queries", "6", "--steps", "1", "--answers", "0", "--check", "none",
               "--no-substitute", "--out", tmp_path / "audit")  # fmt: skip
    found = hg.measure(world.model, None, BUDGET, measures=("radius",), audits=[tmp_path / "audit"], queries=6)
    assert found.ranks and all(str(row.metric).startswith("spearman") for row in found.ranks)
    assert len(found.tables()) == 2 and found.rows[-len(found.ranks) :] == found.ranks


def test_wrong_requests_cost_no_work(world: World) -> None:
    with pytest.raises(RequestError, match="unknown measure 'radios'.* did you mean radius"):
        hg.measure("nowhere", measures=("radios",))
    with pytest.raises(RequestError, match="CLEVER settings must be quick, published or"):
        hg.measure("nowhere", options={"clever": {"draws": "slow"}})
    with pytest.raises(RequestError, match="robustness measures take a linf budget, got l2"):
        hg.measure("nowhere", None, hg.Budget(hg.L2(1.0)))
    with pytest.raises(RequestError, match="given once for each model, in their order: 2 models, 1 folders"):
        hg.measure(["nowhere", "elsewhere"], audits=["audit"])


def test_pictures_of_a_measure_are_drawn(tmp_path: Path) -> None:
    one = Picture(np.zeros((16, 16), np.uint8), "clean")
    found = {"a": {"saliency": Found([], [], pictures=[[one, one]])}, "b": {"radius": Found([], [])}}
    done = MeasureResult("title", found, {"a": "a", "b": "b"}, Rows())
    done.sheet(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    bars = Found([], [], bars={"cat": (0.1, 0.05, 0.2), "dog": (0.2, 0.2, 0.2)})
    MeasureResult("title", {"a": {"class-bias": bars}}, {"a": "a"}, Rows()).draw(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RequestError, match="a sheet shows saliency maps: measure saliency"):
        MeasureResult("title", {"b": found["b"]}, {"b": "b"}, Rows()).sheet(tmp_path / "none.png")
