"""Grids in real processes: SIGKILL and the same command again; two processes against one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.core.rows import read_rows
from tests.cli.helpers import write_arrays
from tests.evaluation.study.grid_recipes import SHORT, plain, worked, write_recipe
from tests.training.processes import Death, Fellows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

MORE = """
[attacks.dhta]
eps = 0.2
steps = 2
[audit]
eps = 0.1
steps = 1
queries = 4
checks = false
[transfer]
attacks = "mainstay"
"""


def told(log: Path) -> list[str]:
    """Cells and trainings that a run spoke of."""
    return [line.partition("s] ")[2] for line in log.read_text().splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `short.toml` and what came of it when nobody stopped it."""
    folder = tmp_path_factory.mktemp("grids")
    recipe = write_recipe(folder, SHORT + MORE.partition("[transfer]")[0], "short")
    Fellows(["evaluate", str(recipe), "--out", str(folder / "whole" / "x")], 1, folder / "whole.log").finish()
    return folder


def test_sigkill_and_the_same_command_again(place: Path) -> None:
    out, log = place / "killed" / "x", place / "killed.log"
    command, cells = ["evaluate", str(place / "short.toml"), "--out", str(out)], out.parent / "cells"
    Fellows(command, 1, log, Death("hamguard.evaluation.study.cells", "write_rows", 2, "dpsh-")).die()
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("*.jsonl")}
    assert len(list(cells.glob("dpsh-*.jsonl"))) == 2 <= len(kept) < 5 and not (out / "rows.jsonl").exists()
    before = told(log)
    Fellows(command, 1, log).finish()
    again = told(log)[len(before) :]
    assert len(again) == 5 and len(worked(again)) == 5 - len(kept) and again[0] == "dpsh-clean: kept"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert plain(read_rows(out / "rows.jsonl")) == plain(read_rows(place / "whole" / "x" / "rows.jsonl"))


def test_two_processes_give_the_rows_of_one(place: Path) -> None:
    """With a model that is loaded; one that two processes train differs from that of one by rounding."""
    data = write_arrays(place / "more.npz", n=480, classes=4, size=16)  # 80 queries are two batches
    (folder,) = (place / "whole" / "cells" / "models").glob("dpsh-*")
    trained = SHORT[SHORT.index("[models.dpsh]") : SHORT.index("[attacks.pgd]")]
    text = SHORT.replace(trained, f'[models.one]\nload = "{folder}"\n[models.two]\nload = "{folder}"\n')
    text = text.replace("queries = 10", "queries = 80\ncurves = true") + MORE
    recipe = write_recipe(place, text, "loaded", source=f"arrays:{data}")
    found = {}
    for size in (1, 2):
        out, log = place / f"size{size}" / "x", place / f"size{size}.log"
        Fellows(["evaluate", str(recipe), "--out", str(out)], size, log).finish()
        found[size] = plain(read_rows(out / "rows.jsonl"))
        cells = out.parent / "cells"
        assert len(told(log)) == len(set(told(log))) == len(list(cells.glob("*.jsonl"))) == 11
        assert log.read_text().count("report.html") == 1, "one process speaks"
        assert not [path for path in place.rglob(".*") if path.is_file()], "no temporary file stays"
        assert not list((cells / "work").glob("*"))
    assert found[1] == found[2] and {row["n"] for row in found[1]} >= {80, 4}
