"""A small grid with every table, and what tests ask of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hamguard.core.context import Context
from hamguard.core.rows import Row
from hamguard.evaluation.study.grid_recipe import GridRecipe
from hamguard.evaluation.study.recipe import read_study
from hamguard.evaluation.study.run import StudyResult, run_study
from tests.cli.helpers import write_arrays

GRID = """
study = "grid"
title = "Tiny & quick"
queries = 10
curves = true
[data.toy]
source = "{source}"
[models.dpsh]
bits = [8, 12]
backbone = "conv2"
epochs = 2
batch_size = 16
[attacks.pgd]
eps = ["8/255", 0.2]
steps = 2
[attacks.mainstay]
eps = 0.2
steps = 2
[attacks.dhta]
eps = 0.2
steps = 2
defended = false
[defenses.saat]
epochs = 1
set = {{ steps = 1 }}
[audit]
eps = 0.1
steps = 1
queries = 4
checks = false
[transfer]
attacks = ["mainstay"]
joint = [["dpsh-8", "dpsh-12"]]
combine = ["sum", "sum-project"]
[protections.noise]
eps = 0.2
[protections.noise.parties]
method = "dpsh"
bits = 8
backbone = "conv2"
epochs = 1
[compare]
attacks = [["pgd", "mainstay"]]
"""
SHORT = """
study = "grid"
title = "Short"
queries = 10
[data.toy]
source = "{source}"
[models.dpsh]
bits = 8
backbone = "conv2"
epochs = 2
batch_size = 16
[attacks.pgd]
eps = 0.2
steps = 2
[attacks.mainstay]
eps = 0.2
steps = 2
"""


def write_recipe(folder: Path, text: str = GRID, name: str = "tiny", **more: str) -> Path:
    """A recipe on its own little data set, or on another source."""
    data = folder / "toy.npz"
    if "source" not in more and not data.is_file():
        write_arrays(data, n=160, classes=4, size=16)
    path = folder / f"{name}.toml"
    path.write_text(text.format(**{"source": f"arrays:{data}", **more}))
    return path


def changed(path: Path, *changes: tuple[str, str], name: str = "changed") -> Path:
    """The recipe with lines replaced, beside it."""
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    other = path.with_name(f"{name}.toml")
    other.write_text(text)
    return other


def run(recipe: Path | GridRecipe, store: Path) -> tuple[StudyResult, list[str]]:
    """A grid from beginning to end in this process, and what it told."""
    told: list[str] = []
    asked = recipe if isinstance(recipe, GridRecipe) else read_study(recipe)
    found = run_study(asked, store, context=Context(tell=told.append))
    return found, told


def plain(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows without what a clock decides."""
    return [{key: value for key, value in json.loads(row.json()).items() if key != "seconds"} for row in rows]


def worked(told: Iterable[str]) -> list[str]:
    """Cells that were not found finished."""
    return [text for text in told if not text.endswith(": kept")]
