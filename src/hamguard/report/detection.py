"""The picture of a detector: how the scores of clean and attacked queries lie about its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.types import Floats

ENDINGS = (".png", ".svg", ".pdf")
COLORS = ("#4477aa", "#ccbb44", "#cc6677")
BELOW, ABOVE = 24, 6  # bars on either side of the threshold


def draw_detection(
    groups: Sequence[tuple[str, Floats, float]], threshold: float, validation: int, path: Path | str, *, title: str = ""
) -> None:
    """Draw one histogram of scores for each group, one below the other, with the threshold through all of them.

    The axis is that of the tail, because all that matters lies there: the share of validation pictures above a score, on a
    logarithmic scale. A bar lies on one side of the threshold.

    Args:
        groups: name, scores `(n,)` in [0, 1], and share of alarms of each.
        threshold: a score above it is an alarm.
        validation: number of validation pictures that scores are ranks among.
        path: PNG, SVG or PDF to write.
        title: line above.

    Raises:
        RequestError: the file type is unknown.
        RunError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"the picture of a detector is written as {', '.join(ENDINGS)}, got {path.name}")
    half = 0.5 / validation  # half a rank, so that the highest score has a place
    edge, end = -math.log10(max(1 - threshold, half)), -math.log10(half) + 0.02
    bins = np.concatenate([np.linspace(0, edge, BELOW + 1), np.linspace(edge, end, ABOVE + 1)[1:]])
    figure = Figure(figsize=(8, 0.9 + 1.5 * len(groups)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    frames = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, (name, scores, alarms)) in enumerate(zip(frames, groups, strict=True)):
        places = np.clip(-np.log10(1 - scores + half), 0, end)
        axes.hist(places, bins=bins, weights=np.full(len(scores), 1 / len(scores)), color=COLORS[number % len(COLORS)])
        axes.axvspan(edge, end, color="0.5", alpha=0.12, linewidth=0)
        axes.axvline(edge, linestyle="--", color="0.25", linewidth=1.1)
        axes.set_title(f"{name}: {alarms:.1%} raise the alarm", fontsize=9, loc="left", parse_math=False)
        axes.set_ylabel("share", fontsize=8)
        axes.set_xlim(0, end)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    marks = [one for one in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if one <= validation]
    frames[-1].set_xticks([math.log10(one) for one in marks], ["all"] + [f"1 in {one:,}" for one in marks[1:]])
    frames[-1].set_xlabel(
        "score, as the share of clean validation pictures above it (gray: alarm; the end: above all of them)",
        fontsize=8,
    )
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())
