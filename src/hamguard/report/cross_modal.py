"""A cross-modal study as sentences, tables, plots and one page; built from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.core.noted import general_notes
from hamguard.core.rows import Row
from hamguard.report.citing import bibtex_for, used_names
from hamguard.report.cross_tables import (
    ACROSS,
    WITHIN,
    Figures,
    clean_table,
    cmla_table,
    defended_steps,
    defense_table,
    guided_table,
    radius,
    tradeoff_points,
    tradeoff_table,
    transfer_table,
    way_down,
    words_table,
)
from hamguard.report.folding import fitted
from hamguard.report.page import picture_uri, render_page
from hamguard.report.plots import STYLES, Panel, Stroke, draw_panels
from hamguard.report.table import Table

STAYS = 0.1  # a search that keeps nine tenths of its way above random codes is said to stay
TRADE_CAPTION = (
    "Trade-off: each point is a weight of the intra term, from 0 (left, below) on. The claim of the paper is the upper left "
    "corner, where the search across is broken and the one within stays; the cross is the clean model."
)


@dataclass(frozen=True)
class CrossReport:
    """Everything but pictures.

    Attributes:
        title: of the study.
        subject: data, queries, what the figures are.
        sentences: what came out, each with its figures.
        tables: tables.
        notes: what a reader must know.
        rows: the rows, to be asked.
        models: names of the models without a defense.
        bibtex: what is to be cited for the methods in the rows, and hamguard's own.
    """

    title: str
    subject: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    rows: Figures
    models: Sequence[str]
    bibtex: Sequence[str]


def cross_report(rows: Sequence[Row], *, title: str, models: Sequence[str]) -> CrossReport:
    """Sentences and tables of a study.

    Args:
        rows: its rows.
        title: line above.
        models: the models without a defense, in the order of the recipe.
    """
    asked = Figures(rows)
    tables: list[Table | None] = [clean_table(asked)]
    for side in ("image", "text"):
        for eps, one_sided in asked.budgets(side):
            names = [
                name for name in models if asked.figure(name, ACROSS[side], method="cmla", eps=eps, one_sided=one_sided)
            ]
            tables.append(cmla_table(asked, side, eps, one_sided, names))
    tables += [
        table(asked, models) for table in (words_table, tradeoff_table, guided_table, defense_table, transfer_table)
    ]
    bits = ", ".join(f"{one}" for one in sorted({row.bits for row in rows if row.bits}))
    data = ", ".join(dict.fromkeys(str(row.dataset) for row in rows))
    subject = (
        f"{data}, {rows[0].n:,} queries, codes of {bits} bits. MAP over the full ranking, expected over ties; "
        "pictures are scored as 8-bit files hold them; D is the root mean squared change of an item."
    )
    notes = general_notes(rows)
    return CrossReport(
        title,
        subject,
        _sentences(asked, models),
        [table for table in tables if table],
        notes,
        asked,
        models,
        bibtex_for(used_names(rows)),
    )


def _sentences(rows: Figures, models: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in models:
        for side in ("image", "text"):
            for eps, one_sided in rows.budgets(side):
                found += _attack_sentence(rows, name, side, eps, one_sided)
    for name in models:
        for side in ("image", "text"):
            found += _claim_sentence(rows, name, side)
        found += _agreement_sentence(rows, name)
    for name in models:
        found += _defense_sentences(rows, name, models)
    return found


def _attack_sentence(rows: Figures, name: str, side: str, eps: float, one_sided: bool) -> list[str]:
    steps = rows.steps(side, name, one_sided)
    if not steps:
        return []
    last: dict[str, Any] = {"method": "cmla", "eps": eps, "one_sided": one_sided, "steps": max(steps)}
    way = way_down(rows, name, side, **last)
    clean, attacked = rows.value(name, ACROSS[side]), rows.value(name, ACROSS[side], **last)
    early, late = (rows.value(name, side, "D", **{**last, "steps": mark}) for mark in (min(steps), max(steps)))
    if way is None or clean is None or attacked is None or early is None or late is None:
        return []
    d = f"D {early:.4f} after {min(steps)}"
    if len(steps) > 1:
        d = f"D {'falls' if late < early else 'does not fall'}, {early:.4f} after {min(steps)} and {late:.4f} after {max(steps)}"
    form = "published form" if one_sided else "our form"
    asked = f"{name}, {side}s at {radius(side, eps)}, {form}, {max(steps)} gradients"
    return [f"{asked}: {ACROSS[side]} MAP {clean:.3f} to {attacked:.3f}, {way:.0%} of the way to random codes; {d}."]


def _claim_sentence(rows: Figures, name: str, side: str) -> list[str]:
    """Whether the search within the own modality stays while the one across breaks."""
    points = tradeoff_points(rows, name, side)
    across, within = (rows.value(name, task, tradeoff=True) for task in (ACROSS[side], WITHIN[side]))
    if not points or across is None or within is None:
        return []
    floor_across, floor_within = (rows.floor(task, name, tradeoff=True) for task in (ACROSS[side], WITHIN[side]))
    falls = [
        (weight, (across - a) / max(1e-9, across - floor_across), (within - w) / max(1e-9, within - floor_within))
        for weight, a, w in points
    ]
    kept = [fall for fall in falls if fall[2] <= STAYS]
    listed = ", ".join(f"{weight:g}: {a:.0%} and {w:.0%}" for weight, a, w in falls)
    if kept:
        best = max(kept, key=lambda fall: fall[1])
        said = f"While {WITHIN[side]} keeps {1 - STAYS:.0%}, {ACROSS[side]} falls by at most {best[1]:.0%} (weight {best[0]:g})"
    else:
        said = f"No weight lets {WITHIN[side]} keep {1 - STAYS:.0%}"
    return [
        f"{name}, attacked {side}s. {said}. What falls across and within, of the way to random codes, by weight: {listed}."
    ]


def _agreement_sentence(rows: Figures, name: str) -> list[str]:
    """Why the two searches fall together, or do not."""
    share = rows.value(name, "pairs", "agreement")
    if share is None:
        return []
    return [
        f"{name}: the codes of a picture and of its text agree in {share:.0%} of the bits (50% by chance), and both searches "
        "compare with codes of that one space: what leaves the codes of one modality leaves the agreeing ones of the other."
    ]


def _defense_sentences(rows: Figures, name: str, models: Sequence[str]) -> list[str]:
    steps = defended_steps(rows, models)
    if steps is None:
        return []
    found = []
    for side in ("image", "text"):
        for eps, one_sided in rows.budgets(side):
            if one_sided:
                continue
            at: dict[str, Any] = {"method": "cmla", "steps": steps, "eps": eps}
            figures = {
                kind: rows.value(name if kind == "none" else f"{name}-{kind}", ACROSS[side], **at)
                for kind in ("none", "control", "static", "minmax")
            }
            have = {kind: value for kind, value in figures.items() if value is not None}
            if len(have) < 2:
                continue
            order = " < ".join(f"{kind} {value:.3f}" for kind, value in sorted(have.items(), key=lambda pair: pair[1]))
            text = f"{name} under CMLA on {side}s at {radius(side, eps)}, made for each model: {order}."
            if "static" in have and "control" in have:
                text += f" Static training is {have['static'] - have['control']:+.3f} from the control."
            found.append(text)
    return found


def draw_cross(report: CrossReport, curves: Mapping[str, Mapping[str, Any]], folder: Path) -> list[tuple[str, Path]]:
    """Draw what people look at: curves of clean and attacked searches, D and MAP over steps, and the trade-off.

    Args:
        report: of the study.
        curves: name to precision-recall and precision@N curves of each search.
        folder: where to write.

    Returns:
        Caption and file of each picture.
    """
    made: list[tuple[str, Path]] = []
    for name in report.models:
        own = {key.removeprefix(f"{name} "): value for key, value in curves.items() if key.startswith(f"{name} ")}
        if own:
            path = folder / f"curves-{name}.png"
            draw_panels(
                [_curve_panel(own, kind) for kind in ("precision_recall", "precision_at")],
                path,
                title=f"{name}: searches across",
            )
            made.append((f"{name}: precision over recall, and over the first N answers, clean and under CMLA", path))
    steps = [_steps_panel(report, side) for side in ("image", "text")]
    if any(panel.strokes for panel in steps):
        draw_panels(
            [panel for panel in steps if panel.strokes], folder / "steps.png", title="CMLA by number of gradients"
        )
        made.append(("MAP across modalities (solid) and within (dashed) by number of gradients", folder / "steps.png"))
    trade = [_trade_panel(report, name) for name in report.models]
    if any(panel.strokes for panel in trade):
        draw_panels(trade, folder / "tradeoff.png", title="Can the own search stay while the other breaks?")
        made.append((TRADE_CAPTION, folder / "tradeoff.png"))
    return made


def _curve_panel(own: Mapping[str, Mapping[str, Any]], kind: str) -> Panel:
    strokes = []
    for number, (what, task) in enumerate(
        [
            ("clean", "image->text"),
            ("attacked image", "image->text"),
            ("clean", "text->image"),
            ("attacked text", "text->image"),
        ]
    ):
        if what in own:
            x, y = own[what][kind][task]
            strokes.append(Stroke(f"{task}, {what}", np.array(x), np.array(y), number // 2, STYLES[number % 2]))
    across = "recall" if kind == "precision_recall" else "N (items retrieved)"
    return Panel(strokes, across, "precision", 1.0 if kind == "precision_recall" else None)


def _steps_panel(report: CrossReport, side: str) -> Panel:
    strokes, rows = [], report.rows
    budgets = [eps for eps, one_sided in rows.budgets(side) if not one_sided]
    eps = max(budgets, default=0.0)
    for number, name in enumerate(report.models):
        marks = rows.steps(side, name)
        for style, tasks in (("-", ACROSS), ("--", WITHIN)):
            values = [rows.value(name, tasks[side])]
            values += [rows.value(name, tasks[side], method="cmla", steps=mark, eps=eps) for mark in marks]
            if marks and None not in values:
                strokes.append(
                    Stroke(f"{name} {tasks[side]}", np.array([0, *marks]), np.array(values, float), number, style)
                )
    return Panel(strokes, f"gradients, {side}s at {radius(side, eps)}", "MAP")


def _trade_panel(report: CrossReport, name: str) -> Panel:
    strokes, rows = [], report.rows
    for number, side in enumerate(("image", "text")):
        points = tradeoff_points(rows, name, side)
        if points:
            x, y = [a for _, a, _ in points], [w for _, _, w in points]
            strokes.append(Stroke(f"{side}s attacked", np.array(x), np.array(y), number, "-", "o"))
            clean = [rows.value(name, task, tradeoff=True) for task in (ACROSS[side], WITHIN[side])]
            if None not in clean:
                strokes.append(
                    Stroke(f"{side}s clean", np.array(clean[:1], float), np.array(clean[1:], float), number, "-", "X")
                )
    return Panel(strokes, f"{name}: MAP across modalities", "MAP within the own modality", 1.0)


def write_cross_page(report: CrossReport, pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Write the page of a study; it asks for nothing from outside itself.

    Raises:
        RunError: the file cannot be written.
    """
    drawn = [(caption, picture_uri(place)) for caption, place in pictures]
    render_page("cross.html", path, fit=fitted, report=report, pictures=drawn)
