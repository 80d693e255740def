"""Rows of protections: the four searches with clean and protected pictures as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hamguard.core.rows import Row, Rows
from hamguard.report.table import Table, note_lines

SEARCHES = ("C->C", "C->A", "A->C", "A->A", "C->learned", "A->learned")
LEARNED = "Note: learned codes are those that ADSH found for its training pictures; that database is the training part"


def protection_title(row: Row) -> str:
    """A protection with its size and what a file goes through after it."""
    facts = row.attack or {}
    views = f", then {', '.join(facts['views'])}" if facts.get("views") else ""
    return f"{facts['method']}, eps {facts['eps']:.4g}{views}"


def privacy_table(rows: Sequence[Row], what: str) -> Table:
    """One line a protection, hash model and kind of training.

    Args:
        rows: MAP of each search.
        what: whose MAP, for the title.
    """
    lines: dict[tuple[str, ...], dict[str | None, Row]] = {}
    for row in rows:
        key = (protection_title(row), *map(str, (row.method, row.backbone, row.bits, row.seed)), row.train or "")
        lines.setdefault((*key, str(row.model)), {})[row.task] = row
    columns = [task for task in SEARCHES if any(task in own for own in lines.values())]
    cells = [
        (*key[:-1], *(f"{own[task].value:.4f}" if task in own else "" for task in columns))
        for key, own in lines.items()
    ]
    notes = note_lines(note for row in rows for note in row.notes)
    if "C->learned" in columns:
        notes.append(LEARNED)
    head = ("protection", "method", "network", "bits", "seed", "trained on", *columns)
    return Table.of(f"MAP of {what}; query->database, C clean, A protected", head, cells, notes=notes)


def four_searches_table(rows: Sequence[Row]) -> Table | None:
    """The searches of protections in a grid, with intervals; None where it has none.

    Two protections of the same name and size are told apart by their protector.
    """
    searches: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in Rows(rows).where(metric="map"):
        if row.task and row.task[:3] in ("C->", "A->") and row.attack:
            name = f"{row.attack['method']} {row.attack.get('eps', 0):.3g}"
            key = (name, row.method or "", str(row.bits), row.train or "", str(row.seed))
            searches.setdefault((*key, str(row.attack.get("protector") or ""), str(row.model)), {})[row.task] = row
    if not searches:
        return None
    tasks = list(dict.fromkeys(task for own in searches.values() for task in own))
    alike = Counter(key[:-2] for key in searches)
    lines = []
    for (name, *facts, protector, _), own in searches.items():
        told = f"{name} ({protector})" if protector and alike[name, *facts] > 1 else name
        lines.append((told, *facts, *(half_width(own[task]) if task in own else "" for task in tasks)))
    title = "MAP of four searches, query->database, C clean, A protected"
    return Table.of(title, ("protection", "method", "bits", "trained on", "seed", *tasks), lines)


def half_width(row: Row | None) -> str:
    """A figure with half of its interval."""
    if row is None:
        return ""
    if row.value is None:
        return "none"
    return f"{row.value:.3f}" + (f" ±{(row.ci95[1] - row.ci95[0]) / 2:.3f}" if row.ci95 else "")
