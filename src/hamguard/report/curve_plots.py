"""Curves drawn from rows: scores over eps, steps or pictures asked, and precision over recall and over N."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from hamguard.core.rows import Row, eps_words
from hamguard.report.attack_lines import CONTROLS
from hamguard.report.cells import Plot
from hamguard.report.collect import OUTCOMES, Entry, brief, by
from hamguard.report.plots import STYLES, Panel, Stroke
from hamguard.report.sections_more import curve_name
from hamguard.report.sections_search import data_of, name_of
from hamguard.report.wording import attack_words, goes_toward, is_number, is_score

FACTORS = {"eps": "eps", "steps": "gradients", "asked": "pictures asked"}
LEAST = 3  # points of a curve
MOST = 8  # curves of a panel that can be told apart


def effort_plots(entries: Sequence[Entry]) -> list[Plot]:
    """Scores of rows that differ only in eps, in steps, or in pictures asked."""
    panels: dict[str, list[tuple[str, Panel]]] = {}
    for factor, axis in FACTORS.items():
        groups: dict[bytes, list[Entry]] = defaultdict(list)
        for entry in entries:
            if _place(entry.row, factor) is not None:
                groups[_rest(entry.row, factor)].append(entry)
        curves = [members for members in groups.values() if len({_place(e.row, factor) for e in members}) >= LEAST]
        for members in by_place(curves):
            for first in range(0, len(members), MOST):
                panel = _panel(members[first : first + MOST], factor)
                row = members[first][0].row
                panels.setdefault(data_of(row), []).append((f"{panel.up} over {axis}", panel))
    plots = []
    for data, found in panels.items():
        for first in range(0, len(found), 2):
            pair = found[first : first + 2]
            caption = (
                f"{data}: {'; '.join(dict.fromkeys(words for words, _ in pair))}; rows that differ in nothing else"
            )
            plots.append(Plot(caption, [panel for _, panel in pair]))
    return plots


def by_place(curves: Sequence[list[Entry]]) -> list[list[list[Entry]]]:
    """Curves that share an axis."""
    groups: dict[tuple[object, ...], list[list[Entry]]] = defaultdict(list)
    for members in curves:
        row = members[0].row
        groups[row.dataset, row.split, row.metric, row.task, (row.threat or {}).get("norm")].append(members)
    return list(groups.values())


def _place(row: Row, factor: str) -> float | None:
    """Where a row stands on the axis of a factor; None where it is no score of an attack, or has no place."""
    facts, threat = row.attack or {}, row.threat or {}
    if not (is_score(row) or (row.metric or "").endswith("-after-answers")) or row.value is None or not row.attack:
        return None
    if facts.get("method") in CONTROLS or (factor == "steps" and not threat.get("steps")):
        return None
    found = facts.get("asked") if factor == "asked" else threat.get(factor)
    return float(found) if is_number(found) else None  # type: ignore[arg-type]


def _rest(row: Row, factor: str) -> bytes:
    """Everything but the factor and what it decides."""
    facts: dict[str, Any] = {k: v for k, v in (row.attack or {}).items() if k not in (*OUTCOMES, "values", factor)}
    threat = {k: v for k, v in (row.threat or {}).items() if k != factor}
    if factor == "steps":
        facts["method"] = _without_steps(row)
    hashes = {k: v for k, v in row.hashes.items() if not k.endswith("_codes")}
    whole = [row.dataset, row.split, row.model, row.defense, row.task, row.metric, row.n, row.seed, row.notes]
    return brief([whole, facts, threat, hashes])


def _without_steps(row: Row) -> str:
    return re.sub(rf" \({(row.threat or {}).get('steps')}\)$", "", str((row.attack or {}).get("method", "")))


def _panel(curves: Sequence[Sequence[Entry]], factor: str) -> Panel:
    several = len({members[0].row.model for members in curves}) > 1
    strokes = []
    for place, members in enumerate(curves):
        row = members[0].row
        points = sorted((_place(e.row, factor), e.row.value) for e in members)
        scale = 255.0 if factor == "eps" and (row.threat or {}).get("norm") == "linf" else 1.0
        words = attack_words(
            Row(model=row.model, attack={**(row.attack or {}), "method": _without_steps(row), "asked": None})
        )
        label = f"{row.model}: {words}" if several else words
        if goes_toward(row) and row.metric == "map":
            label += ", toward a target"
        if factor != "eps" and row.threat:
            label += f", {eps_words(row.threat)}"
        x, y = [(a or 0.0) * scale for a, _ in points], [b for _, b in points]
        strokes.append(Stroke(_short(label), np.array(x), np.array(y, float), place, STYLES[place % 4], "o"))
    row = curves[0][0].row
    linf = factor == "eps" and (row.threat or {}).get("norm") == "linf"
    score = (row.metric or "").replace("map", "MAP").replace("-after-answers", "")
    up = score if row.task in (None, "query->database") else f"{score}, {row.task}"
    return Panel(strokes, "eps, of 255" if linf else FACTORS[factor], up)


def precision_plots(entries: Sequence[Entry]) -> list[Plot]:
    """Precision over recall and over N, from rows that hold the points of curves."""
    plots = []
    wanted = [
        e
        for e in entries
        if e.row.metric in ("curve-precision", "curve-precision-at-recall") and e.row.value is not None
    ]
    for members in by(wanted, lambda e: (e.row.dataset, e.row.split, e.row.model, e.row.task)).values():
        row = members[0].row
        names = list(dict.fromkeys(curve_name(e.row) for e in members))
        points = by(members, lambda e: (e.row.metric, curve_name(e.row)))
        for first in range(0, len(names), MOST):
            panels = []
            for metric, across in (("curve-precision-at-recall", "recall"), ("curve-precision", "N (items retrieved)")):
                strokes = [
                    _precision(name, place, [e.row for e in points.get((metric, name), ())])
                    for place, name in enumerate(names[first : first + MOST])
                ]
                drawn = [stroke for stroke in strokes if len(stroke.x)]
                if drawn:
                    panels.append(Panel(drawn, across, "precision", 1.0 if across == "recall" else None))
            caption = (
                f"{name_of(row)} on {data_of(row)}, {row.task}: precision over recall and over the first N answers"
            )
            plots.append(Plot(caption, panels))
    return plots


def _precision(name: str, place: int, rows: Sequence[Row]) -> Stroke:
    points = sorted({(row.at or 0, row.value or 0.0) for row in rows})
    scale = 0.01 if rows and rows[0].metric == "curve-precision-at-recall" else 1.0
    x, y = np.array([a * scale for a, _ in points]), np.array([b for _, b in points])
    return Stroke(_short(name), x, y, place, STYLES[place % 4])


def _short(text: str, most: int = 62) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
