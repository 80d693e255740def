"""The four searches of protections as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hamguard.report.plots import STYLES, Panel, Stroke, draw_panels
from hamguard.report.protection_table import SEARCHES


def draw_searches(path: Path, cells: Sequence[tuple[float, float, Mapping[str, float]]], title: str) -> None:
    """The four searches over eps, one panel for each share of training, or over the share with one protection.

    Args:
        path: the picture.
        cells: eps of the protection, share of protected training images, and MAP by search.
        title: of the data.

    Raises:
        RunError: the picture cannot be written.
    """
    bounds = {eps for eps, _, _ in cells}
    kinds = [None] if len(bounds) == 1 else sorted({share for _, share, _ in cells})
    panels = []
    for kind in kinds:
        strokes = []
        for number, task in enumerate(SEARCHES[:4]):
            places: dict[float, list[float]] = {}
            for eps, share, values in cells:
                if task in values and kind in (None, share):
                    places.setdefault(share if kind is None else eps, []).append(values[task])
            x = np.array(sorted(places))
            strokes.append(Stroke(task, x, np.array([np.mean(places[one]) for one in x]), number, STYLES[number % 4]))
        across = "share of protected training pictures" if kind is None else "eps, in pixel units"
        panels.append(Panel(strokes, across, "MAP" if kind is None else f"MAP, trained on {_domain(kind)}"))
    wide = ": query->database, C clean, A protected" if len(panels) > 1 else ""  # it would be cut above one panel
    draw_panels(panels, path, title=title + wide)


def _domain(share: float) -> str:
    return {0.0: "C", 1.0: "A"}.get(share, f"{share:g} A")
