"""Whole studies from a recipe: what is missing is run, then rows, images, tables and one page are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.api.running import choose_device, running
from hamguard.api.sheets import draw_attack, draw_protection
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.files import write_bytes
from hamguard.core.noted import general_notes
from hamguard.core.rows import Row, write_rows
from hamguard.core.types import Floats
from hamguard.evaluation.per_query import Kept
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.recipe import StudyRecipe, read_study
from hamguard.evaluation.study.run import StudyResult, run_study
from hamguard.report.collect import collect
from hamguard.report.cross_modal import cross_report, draw_cross, write_cross_page
from hamguard.report.grid_table import grid_tables
from hamguard.report.pictures import Picture, read_pictures, write_pictures
from hamguard.report.rows_page import rows_report, write_rows_page
from hamguard.report.table import Table
from hamguard.training.distributed import join_processes, leave_processes

__all__ = ["StudyRows", "study"]

CELLS = "cells"  # beside the folder of a grid, so that grids share them
ROWS, PAGE = "rows.jsonl", "report.html"


class StudyRows(Rows):
    """Rows of a study.

    Attributes:
        folder: where rows, images and page lie.
        sentences: what came out, in words.
        notes: what a reader must know.
        cells: rows of each attack, by model and attack.
        kept: folder with the figures of the queries behind the means.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        folder: Path,
        tables: Sequence[Table],
        sentences: Sequence[str] = (),
        notes: Sequence[str] = (),
        cells: Mapping[tuple[str, str], Sequence[Row]] | None = None,
        kept: Path | None = None,
    ) -> None:
        self.folder, self.sentences, self.notes = folder, tuple(sentences), tuple(notes)
        self.cells = dict(cells or {})
        self._tables, self._kept = list(tables), None if kept is None else Kept(kept)
        super().__init__(rows)

    def _some(self, rows: Iterable[Row]) -> Rows:  # type: ignore[override]
        return Rows(rows)

    @property
    def page(self) -> Path:
        """The page that holds everything."""
        return self.folder / PAGE

    def tables(self) -> list[Table]:
        """The tables of the study."""
        return self._tables

    def pictures(self, folder: Path) -> list[Picture]:
        """The sheets of the study, which lie in its own folder."""
        return read_pictures(self.folder)

    def per_query(self, row: Row) -> Floats | None:
        """What each query had of a row that is a mean over queries, `(Q,)`, NaN where one is not in the mean.

        Args:
            row: of this study.

        Returns:
            The values, in the order of the queries; None where a row is no such mean.
        """
        return self._kept.of(row) if self._kept else None


@checked
def study(
    recipe: Path | str | Mapping[str, Any],
    out: Path | str | None = None,
    *,
    cells: Path | str | None = None,
    workers: int = 0,
    root: Path | str | None = None,
    context: Context | None = None,
) -> StudyRows | None:
    """Run the grid or the study of a recipe, or what is left of it: `hg.study("recipes/grid-digits.toml")`.

    Every cell is known by the content of what was asked, is worked out once, and is found again after a kill; cells that other
    grids left in the same folder are taken over.

    Args:
        recipe: a recipe file that begins with `study = "grid"` or `study = "cross-modal"`, or its content.
        out: folder of rows, images and page; by default `runs/` and the name of the recipe file.
        cells: folder of finished cells, shared by studies; by default `cells` beside `out`, of a cross-modal study inside it.
        workers: of a cross-modal study: models worked on at once; 0 for as many as there are cores.
        root: folder of the named data sets.
        context: device, and who is told which cell begins; seeds stand in the recipe.

    Returns:
        All rows; None in a process that does not lead.

    Raises:
        RequestError: a wrong recipe, data that are not here, or options that do not go with the kind of study.
        RunError: a cell failed, or the folder cannot be written.
        StoppedError: a person stopped it; finished cells stay.
    """
    context, asked = running(context), read_study(recipe)
    if workers and not asked.parallel:
        raise RequestError("`workers` goes with cross-modal studies; several processes of a grid: torchrun")
    if out is None and isinstance(recipe, Mapping):
        raise RequestError("a recipe that is no file needs an out folder")
    folder = Path(out) if out else Path("runs") / Path(str(recipe)).stem
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; `out` must be a folder")
    store = Path(cells) if cells else (folder if asked.parallel else folder.parent) / CELLS
    group, device = join_processes(), context.device
    if group.size > 1 and str(device).startswith("cuda"):
        device = choose_device(f"cuda:{group.rank}")
    tell = _clocked(context) if group.leads else _silent
    try:
        found = run_study(
            asked,
            store,
            root=Path(root) if root else None,
            workers=workers,
            drawn=draw_attack,
            shown=draw_protection,
            context=context.but(device=device, process_group=group, tell=tell),
        )
    finally:
        leave_processes()
    return _reported(asked, found, folder, store) if group.leads else None


def _clocked(context: Context) -> Callable[[str], None]:
    """Told which cell begins, with the seconds that went by."""
    begun = time.monotonic()
    return lambda text: context.tell(f"[{time.monotonic() - begun:5.0f} s] {text}")


def _silent(text: str) -> None:
    """Another process speaks."""


def _reported(recipe: StudyRecipe, found: StudyResult, folder: Path, store: Path) -> StudyRows:
    """Rows, images, tables and page of a finished study."""
    write_rows(folder / ROWS, found.rows)
    kept = Cells(store).kept.folder
    if recipe.parallel:
        report = cross_report(found.rows, title=recipe.title, models=found.models)
        _keep_pictures(found.pictures, folder)
        write_cross_page(report, [*draw_cross(report, found.curves, folder), *found.pictures], folder / PAGE)
        return StudyRows(found.rows, folder, report.tables, report.sentences, report.notes, found.cells, kept)
    _keep_pictures(found.pictures, folder)
    collected = collect([folder])
    write_rows_page(rows_report(collected, recipe.title), folder / PAGE)
    tables = grid_tables(found.rows, found.clean, found.attacked)
    notes = [*collected.remarks, *general_notes(found.rows)]
    return StudyRows(found.rows, folder, tables, notes=notes, cells=found.cells, kept=kept)


def _keep_pictures(pictures: Sequence[tuple[str, Path]], folder: Path) -> None:
    """Copy sheets beside the rows, with the list that a page shows them by."""
    kept = []
    for caption, place in pictures:
        copy = Path("pictures") / place.name
        write_bytes(folder / copy, place.read_bytes())
        kept.append(Picture(copy, caption, "sheets"))
    write_pictures(folder, kept)
