"""Plots made from numbers: precision-recall and precision@N."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.types import Array


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RequestError(f"curves are written as .png, .svg or .pdf, got {path.name}")
    panels = [(precision_recall, "recall", "precision"), (precision_at, "N (items retrieved)", "precision")]
    if within_radius:
        panels.append((within_radius, "Hamming radius in bits", "mean over queries"))
    figure = Figure(figsize=(4.5 * len(panels), 3.8), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    frames = figure.subplots(1, len(panels))
    for axes, (curves, name, value) in zip(frames, panels, strict=True):
        for number, (label, (x, y)) in enumerate(curves.items()):
            axes.plot(
                x,
                y,
                linestyle=("-", "--", ":", "-.")[number % 4],
                linewidth=1.6,
                label=label if not label.startswith("_") else f" {label}",
            )  # matplotlib hides a leading _
        axes.set_xlabel(name)
        axes.set_ylabel(value)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if curves:
            for text in axes.legend(frameon=False, fontsize=8).get_texts():
                text.set_parse_math(False)  # a name may hold a $
    frames[0].set_xlim(0, 1.0)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())
