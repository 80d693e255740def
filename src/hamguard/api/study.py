"""Whole studies from a recipe: what is missing is run, then rows, images, tables and one page are there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hamguard.api.results import Rows
from hamguard.api.running import choose_device, running
from hamguard.api.sheets import draw_attack, draw_protection
from hamguard.core.checks import suggest
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.files import read_sealed, write_bytes
from hamguard.core.noted import general_notes
from hamguard.core.rows import Row
from hamguard.evaluation.study.cross_recipe import CrossRecipe, read_cross_recipe
from hamguard.evaluation.study.grid_recipe import GridRecipe, read_grid_recipe
from hamguard.evaluation.study.grid_run import GridResult, run_grid, write_result
from hamguard.evaluation.study.run import run_study
from hamguard.report.collect import collect
from hamguard.report.cross_modal import cross_report, draw_cross, write_cross_page
from hamguard.report.grid_table import grid_tables
from hamguard.report.pictures import Picture, write_pictures
from hamguard.report.rows_page import rows_report, write_rows_page
from hamguard.report.table import Table
from hamguard.trainers.words import read_recipe
from hamguard.training.distributed import join_processes, leave_processes

__all__ = ["StudyRows", "study"]

CELLS = "cells"  # beside the folder of a grid, so that grids share them
KINDS = ("grid", "cross-modal")


class StudyRows(Rows):
    """Rows of a study.

    Attributes:
        folder: where rows, images and page lie.
        sentences: what came out, in words.
        notes: what a reader must know.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        folder: Path,
        tables: Sequence[Table],
        sentences: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.folder, self.sentences, self.notes = folder, tuple(sentences), tuple(notes)
        self._tables = list(tables)
        super().__init__(rows)

    def _some(self, rows: Iterable[Row]) -> Rows:  # type: ignore[override]
        return Rows(rows)

    @property
    def page(self) -> Path:
        """The page that holds everything."""
        return self.folder / "report.html"

    def tables(self) -> list[Table]:
        """The tables of the study."""
        return self._tables


def study(
    recipe: Path | str,
    out: Path | str | None = None,
    *,
    cells: Path | str | None = None,
    workers: int = 0,
    root: Path | None = None,
    context: Context | None = None,
) -> StudyRows | None:
    """Run the grid or the study of a recipe, or what is left of it: `hg.study("recipes/grid-digits.toml")`.

    Args:
        recipe: a recipe file that begins with `study = "grid"` or `study = "cross-modal"`.
        out: folder of rows, images and page; by default `runs/` and the name of the recipe.
        cells: of a grid: folder of finished cells, shared by grids; by default `cells` beside `out`.
        workers: of a cross-modal study: models worked on at once; 0 for as many as there are cores.
        root: folder of the named data sets.
        context: device, and who is told which cell begins; seeds stand in the recipe.

    Returns:
        All rows; None in a process that does not lead.

    Raises:
        RequestError: a wrong recipe, or something does not fit together.
        RunError: a cell failed.
        StoppedError: a person stopped it; finished cells stay.
    """
    path, context = Path(recipe), running(context)
    kind = read_recipe(path).get("study")
    folder = Path(out) if out else Path("runs") / path.stem
    if kind == "grid":
        if workers:
            raise RequestError("--workers goes with cross-modal studies; several processes of a grid: torchrun")
        return _grid(read_grid_recipe(path), folder, Path(cells) if cells else None, root, context)
    if kind == "cross-modal":
        if cells:
            raise RequestError("--cells goes with grids; a cross-modal study keeps its cells in --out")
        return _cross(path, read_cross_recipe(path), folder, root, workers, context)
    raise RequestError(
        f"{path} is no study: its first line must be study = one of {', '.join(KINDS)}, got {kind!r}"
        f"{suggest(str(kind), KINDS)}; recipes of one model go to hamguard train"
    )


def _clocked(context: Context) -> Any:
    """Told which cell begins, with the seconds that went by."""
    begun = time.monotonic()
    return lambda text: context.tell(f"[{time.monotonic() - begun:5.0f} s] {text}")


def _grid(
    recipe: GridRecipe, folder: Path, cells: Path | None, root: Path | None, context: Context
) -> StudyRows | None:
    found = compute_grid(recipe, folder, cells=cells, root=root, context=context)
    if found is None:
        return None
    collected = collect([folder])
    write_rows_page(rows_report(collected, recipe.title), folder / "report.html")
    tables = grid_tables(found.rows, found.clean, found.attacked)
    return StudyRows(found.rows, folder, tables, notes=[*collected.remarks, *general_notes(found.rows)])


def compute_grid(
    recipe: GridRecipe, folder: Path, *, cells: Path | None = None, root: Path | None = None, context: Context
) -> GridResult | None:
    """Run a grid into a folder of rows and images; None in a process that does not lead.

    Raises:
        RequestError: something does not fit together.
        RunError: a cell failed.
        StoppedError: a person stopped it; finished cells stay.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; --out must be a folder")
    device, process_group = context.device, join_processes()
    if process_group.size > 1 and str(device).startswith("cuda"):
        device = choose_device(f"cuda:{process_group.rank}")
    told, store = _clocked(context), cells or folder.parent / CELLS
    try:
        found = run_grid(
            recipe,
            store,
            root=root,
            device=device,
            process_group=process_group,
            told=lambda text: told(text) if process_group.leads else None,
            drawn=draw_attack,
            shown=draw_protection,
        )
    except KeyboardInterrupt as stopped:
        raise StoppedError(
            f"stopped; {store} keeps the finished cells, and the same command goes on from there"
        ) from stopped
    finally:
        leave_processes()
    if not process_group.leads:
        return None
    write_result(found, folder)
    _keep_pictures(found.pictures, folder)
    return found


def _keep_pictures(pictures: Sequence[tuple[str, Path]], folder: Path) -> None:
    """Copy sheets beside the rows, with the list that a page shows them by."""
    kept = []
    for caption, place in pictures:
        copy = Path("pictures") / place.name
        write_bytes(folder / copy, place.read_bytes())
        kept.append(Picture(copy, caption, "sheets"))
    write_pictures(folder, kept)


def _cross(
    path: Path, recipe: CrossRecipe, folder: Path, root: Path | None, workers: int, context: Context
) -> StudyRows:
    rows = run_study(path, recipe, folder, root=root, workers=workers, told=_clocked(context))
    report = cross_report(rows, title=recipe.title, models=list(recipe.models))
    pictures = draw_cross(report, _curves(folder, recipe), folder)
    write_cross_page(report, pictures, folder / "report.html")
    return StudyRows(rows, folder, report.tables, report.sentences, report.notes)


def _curves(folder: Path, recipe: CrossRecipe) -> dict[str, dict[str, Any]]:
    """Curves that the cells kept: `MODEL clean`, `MODEL attacked image` and so on to precision-recall and precision@N."""
    found: dict[str, dict[str, Any]] = {}
    for name in recipe.models:
        wanted = {"clean": f"{name}-curves-*.json", "attacked image": f"{name}-image-*.json"}
        for what, pattern in (*wanted.items(), ("attacked text", f"{name}-text-*.json")):
            for path in sorted((folder / "cells").glob(pattern), key=lambda one: one.stat().st_mtime):
                found[f"{name} {what}"] = read_sealed(path, "curves")
    return found
