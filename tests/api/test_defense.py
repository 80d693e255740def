"""`hg.sanity`, `hg.detect` and `hg.purify`: the rows of the commands, as results that show themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.api.conftest import timeless
from tests.cli.conftest import World
from tests.cli.helpers import Shell

import hamguard as hg
from hamguard.core.errors import RequestError


def test_sanity_gives_the_rows_of_the_command(shell: Shell, world: World) -> None:
    budget = hg.Budget(hg.Linf(0.1), steps=2, queries=3)
    found = hg.sanity(world.model, None, budget, sample=4, start=world.model)
    words = ("--eps", "0.1", "--sample", "4", "--steps", "2", "--answers", "3", "--start", world.model, "--json")
    assert timeless(found.rows) == timeless(shell("sanity", world.model, *words).rows)
    assert len(found.checks) == 7 and len(found.lines) == 9 and "sanity of the defense" in found._repr_html_()
    assert ("Do not quote this defense" in found.lines[-1]) == bool(found.failed)


def test_detect_gives_the_rows_of_the_command(shell: Shell, world: World, tmp_path: Path) -> None:
    found = hg.detect(
        world.model,
        None,
        hg.Budget(hg.Linf(0.1), steps=1),
        false_alarms=0.1,
        neighbors=5,
        queries=4,
        out=tmp_path / "d",
    )
    words = ("--eps", "0.1", "--steps", "1", "--false-alarms", "0.1", "--neighbors", "5", "--queries", "4", "--json")
    assert timeless(found.rows) == timeless(shell.done("detect", world.model, *words).rows)
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"detector.json", "rows.jsonl", "detector.png"}
    assert found.alarms.startswith("false alarms: ") and "evaded and broken" in found._repr_html_()


def test_purify_gives_the_rows_of_the_command(shell: Shell, world: World) -> None:
    found = hg.purify(world.model, None, ["jpeg:75"], hg.Budget(hg.Linf(0.1), steps=1), queries=3)
    words = ("--with", "jpeg:75", "--eps", "0.1", "--steps", "1", "--queries", "3", "--json")
    assert timeless(found.rows) == timeless(shell.done("purify", world.model, *words).rows)
    assert [line.purifier for line in found.lines] == ["none", "jpeg:75"] and "jpeg:75" in found._repr_html_()


def test_wrong_requests_cost_no_work(world: World, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="neighbors must be at least 2, got 1"):
        hg.detect("nowhere", neighbors=1)
    (tmp_path / "file").write_text("dear")
    with pytest.raises(RequestError, match="is a file; `out` must be a folder"):
        hg.detect("nowhere", out=tmp_path / "file")
    with pytest.raises(RequestError, match="jpg"):
        hg.purify("nowhere", None, ["jpg:75"])
    with pytest.raises(RequestError, match="sample must be at least 2, got 1"):
        hg.sanity(world.model, sample=1)
