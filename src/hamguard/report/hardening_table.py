"""Rows of a model before and after a defense as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hamguard.core.rows import Row, Rows
from hamguard.report.plain_table import compared_table
from hamguard.report.table import Table

ASKED = (
    ("clean MAP", "map", None, None),
    ("MAP under noise", "map", "noise", False),
    ("MAP under mainstay", "map", "mainstay", False),
    ("worst MAP of the audit", "map", "audit", None),
    ("originals found", "found", None, None),
    ("originals found under noise", "found", "noise", False),
    ("originals found under hag", "found", "hag", False),
    ("t-MAP of the clean picture", "t-map", None, None),
    ("t-MAP under mainstay toward", "t-map", "mainstay", True),
    ("bits moved by mainstay", "bits-moved", "mainstay", False),
    ("bits moved by hag", "bits-moved", "hag", False),
)
"""Name, metric, attack, and whether it goes toward a target."""
SEARCHES = ("image->text", "text->image", "image->image", "text->text")


def hardening_table(before: Sequence[Row], after: Sequence[Row], what: str) -> Table | None:
    """Figures that both models have; None where there is none.

    Args:
        before: rows of the start model.
        after: of the hardened one, in the same order.
        what: budget and queries, for the title.
    """
    audited = next((row.n for row in after if (row.attack or {}).get("held") is not None), None)
    lines = []
    for name, metric, method, toward in ASKED:
        pair = [_value(Rows(rows).where(metric=metric, attack=method), toward) for rows in (before, after)]
        if pair[0] is not None and pair[1] is not None:
            lines.append((f"{name}, {audited} queries" if method == "audit" else name, pair[0], pair[1]))
    if not lines:
        return None
    queries = max(row.n or 0 for row in before)
    title = f"before and after ({queries:,} queries, {what}, database encoded again)"
    return compared_table(lines, title)


def _value(rows: Rows, toward: bool | None) -> float | None:
    return next((row.value for row in rows if (row.attack or {}).get("toward") in (toward, None)), None)


def cross_hardening_table(rows: Sequence[Row], before: str, after: str, steps: int) -> Table:
    """The same of a pair of nets: its four searches, clean and under CMLA with and without the intra term.

    Args:
        rows: of both models.
        before: name of the start model.
        after: of the hardened one.
        steps: gradients of the attack.
    """
    count = max(row.n or 0 for row in rows)
    title = f"MAP before and after ({count:,} queries, {steps} gradients, database encoded again)"
    return compared_table(list(_cross_lines(Rows(rows).where(metric="map"), before, after)), title)


def _cross_lines(rows: Rows, before: str, after: str) -> Iterator[tuple[str, float, float]]:
    kinds = ((None, "clean"), (1.0, "CMLA"), (0.0, "CMLA without its intra term"))
    for task in SEARCHES:
        for intra, what in kinds:
            fits = Rows(row for row in rows.where(task=task) if (row.attack or {}).get("intra") == intra)
            start, end = (fits.where(model=name).first() for name in (before, after))
            assert start and end, f"no row for {task}, {what}"
            yield f"{task}, {what}", start.value or 0.0, end.value or 0.0
