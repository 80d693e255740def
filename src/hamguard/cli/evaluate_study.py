"""`hamguard evaluate RECIPE.toml`: a whole study, resumed where it was stopped, with tables, pictures and one page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.cli.common import print_json_rows, say, tell
from hamguard.core.errors import RequestError
from hamguard.core.files import read_sealed

if TYPE_CHECKING:
    from hamguard.evaluation.study.cross_recipe import CrossRecipe


KINDS = ("grid", "cross-modal")


def evaluate_recipe(
    path: Path,
    out: Path | None,
    *,
    cells: Path | None,
    data_root: Path | None,
    workers: int,
    device: str,
    as_json: bool,
    refused: Sequence[str],
) -> None:
    """Run the study or the grid of a recipe; arguments are those of `hamguard evaluate`.

    Raises:
        RequestError: options that a recipe decides, or a wrong recipe.
    """
    from hamguard.cli.evaluate_grid import evaluate_grid
    from hamguard.core.checks import suggest
    from hamguard.trainers.words import read_recipe

    if refused:
        raise RequestError(f"{', '.join(refused)}: the recipe decides this; edit {path}")
    kind = read_recipe(path).get("study")
    if kind not in KINDS:
        raise RequestError(
            f"{path} is no study: its first line must be study = one of {', '.join(KINDS)}, got {kind!r}"
            f"{suggest(str(kind), KINDS)}; recipes of one model go to hamguard train"
        )
    if kind == "grid":
        if workers:
            raise RequestError("--workers goes with cross-modal studies; several processes of a grid: torchrun")
        evaluate_grid(path, out, cells=cells, data_root=data_root, device=device, as_json=as_json)
        return
    if cells:
        raise RequestError("--cells goes with grids; a cross-modal study keeps its cells in --out")
    evaluate_study(path, out, data_root=data_root, workers=workers, as_json=as_json)


def evaluate_study(path: Path, out: Path | None, *, data_root: Path | None, workers: int, as_json: bool) -> None:
    """Run a cross-modal study, print its tables, and write rows, pictures and page.

    Raises:
        RequestError: a wrong recipe.
    """
    from hamguard.evaluation.study.cross_recipe import read_cross_recipe
    from hamguard.evaluation.study.run import run_study
    from hamguard.report.cross_modal import cross_report, draw_cross, write_cross_page
    from hamguard.report.printers import to_terminal

    recipe = read_cross_recipe(path)
    folder = out or Path("runs") / path.stem
    begun = time.monotonic()

    def told(text: str) -> None:
        if not as_json:
            say(f"[{time.monotonic() - begun:5.0f} s] {text}")

    rows = run_study(path, recipe, folder, root=data_root, workers=workers, told=told)
    report = cross_report(rows, title=recipe.title, models=list(recipe.models))
    pictures = draw_cross(report, _curves(folder, recipe), folder)
    write_cross_page(report, pictures, folder / "report.html")
    if as_json:
        print_json_rows(rows)
        return
    for table in report.tables:
        to_terminal(table)
        tell("")
    for sentence in report.sentences:
        tell(f"* {sentence}")
    for note in report.notes:
        tell(f"Note: {note}")
    tell(f"{folder / 'report.html'}  rows: {folder / 'rows.jsonl'}  ({time.monotonic() - begun:,.0f} s)")


def _curves(folder: Path, recipe: CrossRecipe) -> dict[str, dict[str, Any]]:
    """Curves that the cells kept: `MODEL clean`, `MODEL attacked image` and so on to precision-recall and precision@N."""
    found: dict[str, dict[str, Any]] = {}
    for name in recipe.models:
        wanted = {"clean": f"{name}-curves-*.json", "attacked image": f"{name}-image-*.json"}
        for what, pattern in (*wanted.items(), ("attacked text", f"{name}-text-*.json")):
            for path in sorted((folder / "cells").glob(pattern), key=lambda one: one.stat().st_mtime):
                found[f"{name} {what}"] = read_sealed(path, "curves")
    return found
