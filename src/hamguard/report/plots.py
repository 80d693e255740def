"""Plots made from numbers: precision-recall, precision@N, and panels of any curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.types import Array

STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Stroke:
    """One curve.

    Attributes:
        label: its name in the legend.
        x: places, `(n,)`.
        y: values in [0, 1], `(n,)`.
        color: number of its color.
        style: one of `STYLES`.
        marker: mark of each point, none by default.
    """

    label: str
    x: Array
    y: Array
    color: int = 0
    style: str = "-"
    marker: str = ""


@dataclass(frozen=True)
class Panel:
    """Curves over one axis.

    Attributes:
        strokes: the curves.
        across: name of the horizontal axis.
        up: name of the vertical axis.
        right: where the horizontal axis ends; None where the curves do.
        top: where the vertical axis ends.
        log: whether the vertical axis is logarithmic and ends where the curves do; what is 0 is not drawn.
        bars: instead of curves, by the name of a group one bar each with the ends of its interval, `(value, low, high)`.
    """

    strokes: Sequence[Stroke]
    across: str
    up: str
    right: float | None = None
    top: float = 1.02
    log: bool = False
    bars: Mapping[str, Mapping[str, tuple[float, float, float]]] = field(default_factory=dict)


def draw_curves(
    precision_recall: Mapping[str, tuple[Array, Array]],
    precision_at: Mapping[str, tuple[Array, Array]],
    path: Path | str,
    *,
    within_radius: Mapping[str, tuple[Array, Array]] | None = None,
    title: str = "",
) -> None:
    """Draw precision over recall, precision over N, and, where given, balls of each Hamming radius, side by side.

    Args:
        precision_recall: curve name to (recall, precision).
        precision_at: curve name to (N, precision).
        path: PNG, SVG or PDF to write.
        within_radius: curve name to (radius, precision or recall of the ball).
        title: line above.

    Raises:
        RequestError: the file type is unknown.
        RunError: the file cannot be written.
    """
    panels = [_panel(precision_recall, "recall", "precision"), _panel(precision_at, "N (items retrieved)", "precision")]
    if within_radius:
        panels.append(_panel(within_radius, "Hamming radius in bits", "mean over queries"))
    draw_panels([replace(panels[0], right=1.0), *panels[1:]], path, title=title)


def _panel(curves: Mapping[str, tuple[Array, Array]], across: str, up: str) -> Panel:
    strokes = [Stroke(label, x, y, number, STYLES[number % 4]) for number, (label, (x, y)) in enumerate(curves.items())]
    return Panel(strokes, across, up)


def draw_panels(panels: Sequence[Panel], path: Path | str, *, title: str = "", below: bool = False) -> None:
    """Draw panels of curves side by side, each from 0 to 1 upward, or over powers of ten.

    Args:
        panels: at least one.
        path: PNG, SVG or PDF to write.
        title: line above.
        below: whether legends stand below the curves, which long names need.

    Raises:
        RequestError: no panel, or the file type is unknown.
        RunError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RequestError(f"curves are written as .png, .svg or .pdf, got {path.name}")
    if not panels:
        raise RequestError("curves need at least one panel, got none")
    room = 0.19 * max(len(panel.strokes) for panel in panels) + 0.1 if below else 0.0  # inches that names take
    figure = Figure(figsize=(4.5 * len(panels), 3.8 + room), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    frames = figure.subplots(1, len(panels), squeeze=False)[0]
    place = {"loc": "upper center", "bbox_to_anchor": (0.45, -0.17)} if below else {}
    for axes, panel in zip(frames, panels, strict=True):
        for stroke in panel.strokes:
            axes.plot(
                stroke.x,
                stroke.y,
                color=f"C{stroke.color % 10}",
                linestyle=stroke.style,
                marker=stroke.marker or None,
                linewidth=1.6,
                label=stroke.label if not stroke.label.startswith("_") else f" {stroke.label}",
            )  # matplotlib hides a leading _
        _put_bars(axes, panel)
        axes.set_xlabel(panel.across)
        axes.set_ylabel(panel.up)
        if panel.log:
            axes.set_yscale("log", nonpositive="mask")
        else:
            axes.set_ylim(0, panel.top)
        if panel.right is not None:
            axes.set_xlim(0, panel.right)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if panel.strokes or panel.bars:
            for text in axes.legend(frameon=False, fontsize=7 if below else 8, **place).get_texts():
                text.set_parse_math(False)  # a name may hold a $
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())


def _put_bars(axes: Any, panel: Panel) -> None:
    """Bars of every group side by side, with their intervals."""
    names = list(dict.fromkeys(name for group in panel.bars.values() for name in group))
    width = 0.8 / max(1, len(panel.bars))
    for number, (label, group) in enumerate(panel.bars.items()):
        places = [place + width * (number + 0.5) - 0.4 for place, name in enumerate(names) if name in group]
        own = [group[name] for name in names if name in group]
        ends = [[max(0.0, value - low) for value, low, _ in own], [max(0.0, high - value) for value, _, high in own]]
        axes.bar(places, [bar[0] for bar in own], width, yerr=ends, color=f"C{number % 10}", capsize=2, label=label)
    if names:
        axes.set_xticks(range(len(names)), names, rotation=45 if max(map(len, names)) > 3 else 0, fontsize=7)
