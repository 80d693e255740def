"""Retrieval sheets: a query and what the search answers, as one picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill, wrap

from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.shown import shown
from hamguard.core.types import Array

MOST_ROWS, MOST_ANSWERS = 100, 50  # beyond this nobody looks, and the renderer ends at 65,536 pixels
LETTERS = 18  # of the line below, an inch
GOOD, BAD, PLAIN = "#2a9d5c", "#c8443c", "#8a8f98"


@dataclass(frozen=True)
class SheetItem:
    """One answer.

    Attributes:
        picture: `(H, W)` or `(H, W, 3)` uint8; None where the query is words, which then stand in its place.
        title: what stands above it, e.g. its distance.
        caption: what stands below it, e.g. its label.
        relevant: whether it shares a label with the query; None where that is unknown.
    """

    picture: Array | None
    title: str = ""
    caption: str = ""
    relevant: bool | None = None

    @classmethod
    def at(cls, distance: int, picture: Array | None, caption: str, relevant: bool | None) -> SheetItem:
        """An answer that lies so many bits from its query."""
        return cls(picture, f"{distance} bit" if distance == 1 else f"{distance} bits", caption, relevant)


@dataclass(frozen=True)
class SheetRow:
    """A query with its answers, best first, and a second picture beside the query where there is one."""

    query: SheetItem
    answers: Sequence[SheetItem]
    beside: SheetItem | None = None


def draw_sheet(rows: Sequence[SheetRow], path: Path | str, *, title: str = "", footer: str = "") -> None:
    """Draw one line a query: the query, a gap, its answers framed green (relevant) or red (not).

    The frame is not the only sign: a tick or a cross stands in the title, for people who do not tell the colors apart.

    Args:
        rows: queries, at least one.
        path: PNG or SVG file to write.
        title: line above the sheet.
        footer: small line below it.

    Raises:
        RequestError: there is nothing to draw, or too much, or the file type is unknown.
        RunError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if not rows:
        raise RequestError("a sheet needs at least one query")
    if len(rows) > MOST_ROWS or any(len(row.answers) > MOST_ANSWERS for row in rows):
        most = max(len(row.answers) for row in rows)
        raise RequestError(
            f"a sheet holds at most {MOST_ROWS} queries of {MOST_ANSWERS} answers, got {len(rows)} of {most}"
        )
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RequestError(f"a sheet is written as .png, .svg or .pdf, got {path.name}")
    asked = 2 if any(row.beside for row in rows) else 1  # pictures left of the gap
    width = max(len(row.answers) for row in rows) + asked
    head, wide = 0.55 if title else 0.15, 1.22 * width + 0.5  # inches
    below = wrap(shown(footer), int(LETTERS * wide))
    foot = 0.35 + 0.13 * max(0, len(below) - 1)
    figure = Figure(figsize=(wide, 1.52 * len(rows) + head + foot), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    height = figure.get_size_inches()[1]
    ratios = [*[1.0] * asked, 0.18, *[1.0] * (width - asked)]  # query, gap, answers
    grid = figure.add_gridspec(
        len(rows), width + 1, width_ratios=ratios, left=0.015, right=0.985,
        top=1 - head / height, bottom=foot / height, wspace=0.08, hspace=0.42,
    )  # fmt: skip
    for line, row in enumerate(rows):
        _cell(figure.add_subplot(grid[line, 0]), row.query, "#24282f")
        if row.beside:
            _cell(figure.add_subplot(grid[line, 1]), row.beside, "#24282f")
        for place, found in enumerate(row.answers):
            color = PLAIN if found.relevant is None else GOOD if found.relevant else BAD
            _cell(figure.add_subplot(grid[line, place + asked + 1]), found, color)
    if title:
        figure.text(0.015, 1 - 0.14 / height, shown(title), fontsize=11, fontweight="bold", va="top", ha="left",
                    parse_math=False)  # fmt: skip
    if footer:
        figure.text(
            0.015, 0.1 / height, "\n".join(below), fontsize=7, color="#5a6068", va="bottom", ha="left", parse_math=False
        )
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # letters that the font lacks are drawn as boxes
        figure.savefig(temporary, format=path.suffix[1:].lower())


def _cell(axes: object, found: SheetItem, color: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    if found.picture is None:
        words = fill(shown(found.caption), 14, max_lines=7, placeholder="…")  # seven lines fill a cell
        axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, transform=axes.transAxes, parse_math=False,
                  clip_on=True)  # fmt: skip
    else:
        gray = found.picture.ndim == 2
        axes.imshow(
            found.picture,
            cmap="gray" if gray else None,
            vmin=0 if gray else None,
            vmax=255 if gray else None,
            interpolation="nearest" if max(found.picture.shape[:2]) < 64 else "antialiased",
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(color)
        spine.set_linewidth(2.2)
    mark = "" if found.relevant is None else "✓ " if found.relevant else "✗ "
    axes.set_title(mark + shown(found.title), fontsize=7, color=color, pad=3, parse_math=False)  # a name may hold a $
    below = _short(shown(found.caption)) if found.picture is not None else ""
    axes.set_xlabel(below, fontsize=6.5, color="#3b4048", labelpad=2, parse_math=False)


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
