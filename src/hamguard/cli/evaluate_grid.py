"""`hamguard evaluate RECIPE.toml` for grids: run what is missing, then rows, pictures, tables and one page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import choose_device, print_table, say, tell

if TYPE_CHECKING:
    from hamguard.core.rows import Row
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
    from hamguard.cli.attack_table import print_json_rows
    from hamguard.evaluation.study.grid_recipe import read_grid_recipe

    recipe = read_grid_recipe(path)
    folder = out or Path("runs") / path.stem
    begun = time.monotonic()
    found = compute_grid(recipe, folder, cells=cells, data_root=data_root, device=device, quiet=as_json)
    if found is None:
        return  # another process speaks
    if as_json:
        print_json_rows(found.rows)
        return
    print_grid(found)
    page = write_page(folder, recipe.title)
    for remark in page.remarks:
        tell(f"Note: {remark}")
    for note in dict.fromkeys(note for row in found.rows for note in row.notes if "paired bootstrap" not in note):
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
    from hamguard.cli.attack_sheet import draw_attack, draw_protection
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


def print_grid(found: GridResult) -> None:
    """Main figures: a line a model, a column an attack; then the searches of protections, then comparisons."""
    from hamguard.report.wording import metric_head

    attacks = list(dict.fromkeys(attack for _, attack in found.attacked))
    if found.clean:
        score = metric_head(next(iter(found.clean.values())))
        head = ("model", f"clean {score}", *(_column(found, attack) for attack in attacks))
        lines = []
        for model, clean in found.clean.items():
            cells = [found.attacked.get((model, attack)) for attack in attacks]
            lines.append((model, _figure(clean), *(_figure(row) if row else "" for row in cells)))
        print_table(f"{score}, 95% interval over queries; t-{score} where an attack approaches a target", head, lines)
    searches: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in found.rows:
        if row.task and row.task[:3] in ("C->", "A->") and row.attack and row.metric == "map":
            key = (
                f"{row.attack['method']} {row.attack.get('eps', 0):.3g}",
                row.method or "",
                str(row.bits),
                row.train or "",
                str(row.seed),
            )
            searches.setdefault(key, {})[row.task] = row
    if searches:
        tasks = list(dict.fromkeys(task for rows in searches.values() for task in rows))
        print_table(
            "MAP of four searches, query->database, C clean, A protected",
            ("protection", "method", "bits", "trained on", "seed", *tasks),
            [
                (*key, *(_figure(rows[task]) if task in rows else "" for task in tasks))
                for key, rows in searches.items()
            ],
        )
    gaps = [row for row in found.rows if (row.metric or "").endswith("-difference") and row.attack]
    if gaps:
        print_table(
            "Differences over the same queries, 95% interval of the paired bootstrap",
            ("model", "attack", "eps", "against", "difference", "sure"),
            [_gap(row) for row in gaps],
        )


def _column(found: GridResult, attack: str) -> str:
    row = next(row for (_, name), row in found.attacked.items() if name == attack)
    from hamguard.report.wording import metric_head

    return f"{attack} ({metric_head(row)})" if (row.metric or "").startswith("t-") else attack


def _figure(row: Row) -> str:
    if row.value is None:
        return "none"
    half = f" ±{(row.ci95[1] - row.ci95[0]) / 2:.3f}" if row.ci95 else ""
    return f"{row.value:.3f}{half}"


def _gap(row: Row) -> tuple[str, ...]:
    attack, threat = row.attack or {}, row.threat or {}
    low, high = row.ci95 or (0.0, 0.0)
    eps = "soft" if threat.get("eps") is None else f"{threat['eps']:.3g}"
    sure = "yes" if low > 0 or high < 0 else "no"
    return (
        row.model or "",
        str(attack.get("method")),
        eps,
        str(attack.get("versus")),
        f"{row.value or 0:+.3f} [{low:+.3f}, {high:+.3f}]",
        sure,
    )
