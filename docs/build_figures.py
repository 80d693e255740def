"""Write the figures of docs/cross-modal.md from the row files in `results/`; a test compares them with what stands there.

uv run python docs/build_figures.py
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from hamguard.core.rows import Row, read_rows
from hamguard.report.cross_modal import cross_report
from hamguard.report.page import Grid

ROOT = Path(__file__).parent.parent
PAGE, STUDY, TRAINING = Path("docs/cross-modal.md"), Path("results/cmla-small.jsonl"), Path("results/cross_modal.jsonl")
BEGIN, END = "<!-- figures: made by docs/build_figures.py from rows in results/ -->", "<!-- end of figures -->"
TASKS = ("image->text", "text->image", "image->image", "text->text")


def table(grid: Grid) -> list[str]:
    """A table in Markdown."""
    lines = [f"| {' | '.join(grid.head)} |", "|" + "---|" * len(grid.head)]
    return [*lines, *(f"| {' | '.join(line)} |" for line in grid.lines)]


def training_table(rows: list[Row]) -> list[str]:
    """Mean and spread of each search over seeds, by data and method."""
    lines = []
    for dataset, method in dict.fromkeys((row.dataset, row.method) for row in rows if row.method):
        own = [row for row in rows if (row.dataset, row.method) == (dataset, method) and row.metric == "map"]
        floor = mean(row.value or 0.0 for row in rows if row.dataset == dataset and row.metric == "random_map")
        cells = []
        for task in TASKS:
            values = [row.value or 0.0 for row in own if row.task == task]
            cells.append(f"{mean(values):.3f} ({min(values):.3f}-{max(values):.3f})")
        seeds = len({row.seed for row in own})
        seconds = mean(row.seconds or 0.0 for row in own)
        lines.append([f"{dataset}, {method}", *cells, f"{floor:.3f}", f"{seeds}", f"{seconds:,.0f}"])
    return table(Grid(("data, method", *TASKS, "random codes", "seeds", "core-seconds"), lines))


def figures(root: Path = ROOT) -> str:
    """The part of the page that is made of rows."""
    report = cross_report(read_rows(root / STUDY), title="", models=["dcmh", "ssah"])
    lines = [BEGIN, "", "Mean (least to most) over seeds, 32 bits, all queries, full ranking:", ""]
    lines += training_table(read_rows(root / TRAINING))
    lines += ["", "The study `recipes/cmla-small.toml`, one seed:", "", report.subject, ""]
    lines += [f"* {sentence}" for sentence in report.sentences]
    for grid in report.grids:
        lines += ["", f"### {grid.title}", "", *table(grid)]
    return "\n".join([*lines, "", END])


def with_figures(text: str, found: str) -> str:
    """The page with its figures replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + found + after


if __name__ == "__main__":
    page = ROOT / PAGE
    page.write_text(with_figures(page.read_text(encoding="utf-8"), figures()), encoding="utf-8")
