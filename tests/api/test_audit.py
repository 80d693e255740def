"""`hg.audit`: the rows of the command, as a result that shows itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.api.conftest import timeless
from tests.cli.conftest import World
from tests.cli.helpers import Shell

import hamguard as hg
from hamguard.core.errors import RequestError

WORDS = ("--eps", "0.1", "--queries", "6", "--steps", "2", "--answers", "3", "--sample", "4", "--no-substitute")


def test_the_call_and_the_command_give_equal_rows(shell: Shell, world: World, tmp_path: Path) -> None:
    found = hg.audit(
        world.model, None, hg.Budget(hg.Linf(0.1), steps=2, queries=3), queries=6, sample=4, substitute=False,
        checks=("more-steps", "query-only"), out=tmp_path / "out",
    )  # fmt: skip
    rows = shell.done("audit", world.model, *WORDS, "--check", "more-steps", "--check", "query-only", "--json").rows
    assert timeless(found.rows) == timeless(rows)
    assert [check.name for check in found.checks] == ["more-steps", "query-only"]
    assert (tmp_path / "out" / "audit.json").is_file() and (tmp_path / "out" / "audit.png").is_file()
    page = found._repr_html_()
    assert "Verdict: " in page and "least that a code finds" in page and "more-steps" in page
    assert len(found.verdict.sentences) == 3 and len(found.rows.where(metric="check")) == 2


def test_a_model_in_memory_on_data_of_ones_own(world: World) -> None:
    model, data = hg.load(world.model), hg.data(world.data)
    found = hg.audit(
        model, data, hg.Budget(hg.L2(1.0), steps=1), answers=False, substitute=False, checks=("none",), queries=4
    )
    worst = found.rows.where(metric="map", attack="audit").first()
    assert worst is not None and worst.n == 4 and worst.threat == {"norm": "l2", "eps": 1.0, "grid": "8 bit"}
    assert not found.checks and found.table().rows[-1][0].text == "least that a code finds"


def test_wrong_requests(world: World) -> None:
    with pytest.raises(RequestError, match="unknown check 'transfers'.* did you mean transfer"):
        hg.audit(world.model, checks=("transfers",))
    with pytest.raises(RequestError, match="an audit chooses its starts itself, got a budget of 2 restarts"):
        hg.audit(world.model, None, hg.Budget(hg.Linf(0.1), restarts=2))
    with pytest.raises(RequestError, match="sample must be at least 2, got 1"):
        hg.audit(world.model, sample=1)
