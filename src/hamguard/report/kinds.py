"""Rows as tables that commands print: of attacks, transfer, audits, detectors, purifiers, protections, engines; else plain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from hamguard.core.rows import Row
from hamguard.report.attack_table import attack_groups, attack_tables
from hamguard.report.audit_table import audit_table
from hamguard.report.detection_table import detection_table
from hamguard.report.engine_table import PROTOCOL, engine_tables
from hamguard.report.plain_table import plain_table
from hamguard.report.protection_table import SEARCHES, privacy_table
from hamguard.report.purification_table import purification_table
from hamguard.report.table import Table
from hamguard.report.transfer_table import SCORE, transfer_tables

MAKERS: dict[str, Callable[[Sequence[Row]], list[Table]]] = {
    "transfer": transfer_tables,
    "audit": lambda rows: [audit_table(rows)],
    "detection": lambda rows: [detection_table(rows)],
    "purification": lambda rows: [purification_table(rows)],
    "protection": lambda rows: [privacy_table(rows, rows[0].dataset or "unnamed data")],
    "engine": engine_tables,
    "attack": lambda rows: attack_tables(attack_groups(rows)),
}
"""Kinds of rows, and what makes their tables; a kind before `attack` holds rows of attacks, too."""


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """The tables of one kind of rows; rows of no kind, of several, or of a part of a run stand in one plain table.

    Args:
        rows: at least one.
    """
    kinds = {kind for row in rows if (kind := kind_of(row))}
    if len(kinds - {"attack"}) > 1:
        return [plain_table(rows)]
    kind = next(iter(kinds - {"attack"} or kinds), "")
    if not kind or not _is_whole(kind, rows):
        return [plain_table(rows)]
    return MAKERS[kind](rows) or [plain_table(rows)]


def kind_of(row: Row) -> str:
    """The kind of run that a row is a mark of; nothing for what stands in several, such as clean rows and noise."""
    facts, defense = row.attack or {}, row.defense or {}
    if row.metric == SCORE or row.protocol == PROTOCOL:
        return "transfer" if row.metric == SCORE else "engine"
    if facts.get("method") == "audit" or (row.metric or "").endswith("-of-those-attacked"):
        return "audit"
    if defense.get("method") in ("detect", "purify"):
        return "detection" if defense["method"] == "detect" else "purification"
    if row.task in SEARCHES:
        return "protection"
    attacked = {"method", "toward", "labels"} <= set(facts) and row.threat and facts["method"] != "noise"
    return "attack" if attacked else ""


def _is_whole(kind: str, rows: Sequence[Row]) -> bool:
    """Whether rows are all of one run of a kind, as far as its table needs them."""
    if kind == "audit":
        return len({(row.model, str(row.defense)) for row in rows if kind_of(row) == kind}) == 1
    if kind == "detection":
        counts = Counter("map" if (row.metric or "").startswith("map") else row.metric for row in rows)
        found = counts["detected"]
        return counts["false-alarms"] == 1 and 0 < found == counts["evaded-and-broken"] == counts["map"] - 1
    if kind == "purification":
        return len({row.model for row in rows if row.model != "random codes"}) == 1 and "worst_of" in (
            rows[-1].attack or {}
        )
    if kind == "protection":
        return all(row.task in SEARCHES and row.metric == "map" and row.value is not None for row in rows)
    return True
