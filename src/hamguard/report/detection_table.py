"""Rows of a detector under attack as one table: what it finds, and what gets through broken."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.core.rows import Row, Rows, eps_text
from hamguard.report.table import Table, note_lines

COLUMNS = ("attack", "knows the detector", "detected", "MAP", "evaded and broken")
WORST = "worst of all aware"
UNLABELED = "map-of-first-answers"
"""Metric where there are no labels: what a clean query finds first counts as relevant."""


def detection_table(rows: Sequence[Row], name: str = "") -> Table:
    """Clean pictures, the attack that does not know the detector, those that do, and the worst of all for each query.

    Args:
        rows: of one detector.
        name: of the model; that of the rows where not given.
    """
    found = Rows(rows)
    clean = found.where(metric="false-alarms").one()
    lines = [("clean", "", _share(clean), _mean(found, None), "")]
    attacked = found.where(metric="detected")
    for row in attacked:
        aware = (row.attack or {}).get("adaptive")
        broken = next(one for one in found.where(metric="evaded-and-broken") if one.attack == row.attack)
        cells = ("yes" if aware else "no", _share(row), _mean(found, row), _share(broken))
        lines.append((attack_name(row), *cells))
    threat = attacked[-1].threat or {}
    title = f"{name or clean.model}: detector under attack ({eps_text(threat)}, {threat['steps']} gradients)"
    notes = note_lines(note for row in found for note in row.notes)
    if found.where(metric=UNLABELED):
        notes.append("Note: no labels; what a clean query finds first counts as relevant, and MAP is measured by that")
    worst = attacked[-1]
    broken = next(one for one in found.where(metric="evaded-and-broken") if one.attack == worst.attack)
    notes.append(
        f"Against an attacker who knows it, this detector finds {_share(worst)} of attacked queries and lets "
        f"{_share(broken)} through that are broken; it is worth that and no more."
    )
    return Table.of(title, COLUMNS, lines, notes=notes)


def alarm_words(rows: Sequence[Row]) -> str:
    """False alarms on clean queries, and what the detector was calibrated for."""
    clean = Rows(rows).where(metric="false-alarms").one()
    facts, ends = clean.defense or {}, clean.ci95 or (0.0, 0.0)
    return (
        f"false alarms: {_share(clean)} of {clean.n:,} clean queries (95%: {ends[0]:.1%} to {ends[1]:.1%}); calibrated for "
        f"{facts['rate']:.1%} on {facts['validation']:,} validation pictures"
    )


def attack_name(row: Row) -> str:
    """An attack on a detector by its method, or by what it aims at and how it weighs the criteria."""
    facts = row.attack or {}
    if facts.get("tried"):
        return WORST
    values = facts.get("values") or {}
    return f"{values['goal']}, weight {values['weight']:g}" if "goal" in values else str(facts["method"])


def _share(row: Row) -> str:
    return f"{row.value:.1%}"


def _mean(rows: Rows, of: Row | None) -> str:
    attack = of.attack if of else None
    row = next(row for row in rows.where(metric=("map", UNLABELED)) if row.attack == attack)
    return f"{row.value:.4f}"
