"""`hamguard evaluate RECIPE.toml` for grids: run what is missing, then rows, pictures, tables and one page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import choose_device, print_json_rows, say, tell
from hamguard.core.noted import general_notes

if TYPE_CHECKING:
    from hamguard.evaluation.study.grid_recipe import GridRecipe
    from hamguard.evaluation.study.grid_run import GridResult
    from hamguard.report.collect import Collected

CELLS = "cells"  # beside the folder of a grid, so that grids share them


def evaluate_grid(
    path: Path, out: Path | None, *, cells: Path | None, data_root: Path | None, device: str, as_json: bool
) -> None:
    """Run a grid, print its tables, and write rows, pictures and page; arguments are those of `hamguard evaluate`.

    Raises:
        RequestError: a wrong recipe.
    """
    from hamguard.evaluation.study.grid_recipe import read_grid_recipe
    from hamguard.report.grid_table import grid_tables
    from hamguard.report.printers import to_terminal

    recipe = read_grid_recipe(path)
    folder = out or Path("runs") / path.stem
    begun = time.monotonic()
    found = compute_grid(recipe, folder, cells=cells, data_root=data_root, device=device, quiet=as_json)
    if found is None:
        return  # another process speaks
    if as_json:
        print_json_rows(found.rows)
        return
    to_terminal(*grid_tables(found.rows, found.clean, found.attacked))
    page = write_page(folder, recipe.title)
    for remark in page.remarks:
        tell(f"Note: {remark}")
    for note in general_notes(found.rows):
        tell(f"Note: {note}")
    tell(f"{folder / 'report.html'}  rows: {folder / 'rows.jsonl'}  ({time.monotonic() - begun:,.0f} s)")


def compute_grid(
    recipe: GridRecipe, folder: Path, *, cells: Path | None, data_root: Path | None, device: str, quiet: bool = False
) -> GridResult | None:
    """Run a grid into a folder of rows and pictures; None in a process that does not lead.

    Raises:
        RequestError: something does not fit together.
        RunError: a cell failed.
        StoppedError: a person stopped it; finished cells stay.
    """
    from hamguard.api.sheets import draw_attack, draw_protection
    from hamguard.core.errors import RequestError, StoppedError
    from hamguard.evaluation.study.grid_run import run_grid, write_result
    from hamguard.training.distributed import join_processes, leave_processes

    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; --out must be a folder")
    chosen = choose_device(device)
    process_group = join_processes()
    if process_group.size > 1 and chosen.type == "cuda":
        chosen = choose_device(f"cuda:{process_group.rank}")
    begun = time.monotonic()

    def told(text: str) -> None:
        if process_group.leads and not quiet:
            say(f"[{time.monotonic() - begun:5.0f} s] {text}")

    store = cells or folder.parent / CELLS
    try:
        found = run_grid(
            recipe,
            store,
            root=data_root,
            device=chosen,
            process_group=process_group,
            told=told,
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
    keep_pictures(found.pictures, folder)
    return found


def keep_pictures(pictures: Sequence[tuple[str, Path]], folder: Path) -> None:
    """Copy sheets beside the rows, with the list that a page shows them by."""
    from hamguard.core.files import write_bytes
    from hamguard.report.pictures import Picture, write_pictures

    kept = []
    for caption, place in pictures:
        copy = Path("pictures") / place.name
        write_bytes(folder / copy, place.read_bytes())
        kept.append(Picture(copy, caption, "sheets"))
    write_pictures(folder, kept)


def write_page(folder: Path, title: str) -> Collected:
    """Write `report.html` of a folder's rows.

    Raises:
        RunError: the file cannot be written.
    """
    from hamguard.report.collect import collect
    from hamguard.report.rows_page import rows_report, write_rows_page

    collected = collect([folder])
    write_rows_page(rows_report(collected, title), folder / "report.html")
    return collected
