"""The picture of an audit: how the score falls from stage to stage, and with what a search is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hamguard.core.errors import RequestError
from hamguard.core.files import replacing

ENDINGS = (".png", ".svg", ".pdf")


def draw_audit(
    stages: Sequence[tuple[str, int, float]],
    curve: tuple[Sequence[int], Sequence[float]],
    floor: float,
    chance: float,
    path: Path | str,
    *,
    score: str = "MAP",
    title: str = "",
) -> None:
    """Draw the worst score after each stage, and beside it the score against pictures asked.

    Args:
        stages: name, queries attacked, worst score of all queries afterwards; the clean one first.
        curve: pictures asked and score of the sample; empty where no search was asked.
        floor: least that a code of a guide finds.
        chance: score of random codes.
        path: PNG, SVG or PDF to write.
        score: its name.
        title: line above.

    Raises:
        RequestError: the file type is unknown.
        RunError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"the picture of an audit is written as {', '.join(ENDINGS)}, got {path.name}")
    asked, maps = curve
    figure = Figure(figsize=(13 if asked else 8, 1.6 + 0.34 * max(len(stages), 6)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    frames = figure.subplots(1, 2, width_ratios=(1.4, 1), squeeze=False)[0] if asked else [figure.subplots()]
    axes = frames[0]
    places = range(len(stages))
    values = [value for _, _, value in stages]
    axes.barh(places, values, color=["#4477aa", *["#cc6677"] * (len(stages) - 1)], height=0.62)
    for place, (_, count, value) in zip(places, stages, strict=True):
        axes.text(
            value + 0.008, place, f"{value:.3f}" + (f"  ({count:,} queries)" if place else ""), va="center", fontsize=8
        )
    names = [name if len(name) <= 44 else f"{name[:43]}…" for name, _, _ in stages]
    axes.set_yticks(list(places), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(
        f"worst {score} so far, all queries (in brackets: queries that still held and were attacked)", fontsize=8
    )
    for value, style, name in ((floor, ":", "least that a code finds"), (chance, "--", "random codes")):
        axes.axvline(value, linestyle=style, color="0.35", linewidth=1, label=f"{name}, {value:.3f}")
    axes.set_xlim(0, max(*values, chance) * 1.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    if asked:
        axes = frames[1]
        axes.plot(asked, maps, marker="o", color="#cc6677", linewidth=1.6, markersize=4)
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xticks(list(asked), [f"{one:,}" for one in asked], fontsize=8)
        axes.minorticks_off()
        axes.axhline(chance, linestyle="--", color="0.35", linewidth=1)
        axes.set_ylim(0, max(*maps, chance) * 1.08)
        axes.set_xlabel("pictures asked for each query, answers only", fontsize=8)
        axes.set_ylabel(f"{score} of the sample", fontsize=8)
        axes.grid(alpha=0.25)
    for axes in frames:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())
