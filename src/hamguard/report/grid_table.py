"""The main figures of a grid as tables: models by attacks, the searches of protections, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hamguard.core.rows import Row
from hamguard.report.protection_table import four_searches_table, half_width
from hamguard.report.table import Table
from hamguard.report.wording import metric_head


def grid_tables(rows: Sequence[Row], clean: Mapping[str, Row], attacked: Mapping[tuple[str, str], Row]) -> list[Table]:
    """A line a model, a column an attack; then the searches of protections, then comparisons; those that have a line.

    Args:
        rows: all rows.
        clean: of each model, the row of its score.
        attacked: of each model and attack.
    """
    made = [_scores(clean, attacked) if clean else None, four_searches_table(rows), _differences(rows)]
    return [table for table in made if table]


def _scores(clean: Mapping[str, Row], attacked: Mapping[tuple[str, str], Row]) -> Table:
    score = metric_head(next(iter(clean.values())))
    heads: dict[str, str] = {}
    for (_, attack), row in attacked.items():
        heads.setdefault(attack, _column(row, attack))
    lines = [
        (model, half_width(row), *(half_width(attacked.get((model, attack))) for attack in heads))
        for model, row in clean.items()
    ]
    title = f"{score}, 95% interval over queries; t-{score} where an attack approaches a target"
    return Table.of(title, ("model", f"clean {score}", *heads.values()), lines)


def _column(row: Row, attack: str) -> str:
    return f"{attack} ({metric_head(row)})" if (row.metric or "").startswith("t-") else attack


def _differences(rows: Sequence[Row]) -> Table | None:
    lines = [_difference(row) for row in rows if (row.metric or "").endswith("-difference") and row.attack]
    if not lines:
        return None
    title = "Differences over the same queries, 95% interval of the paired bootstrap"
    return Table.of(title, ("model", "attack", "eps", "against", "difference", "sure"), lines)


def _difference(row: Row) -> tuple[str, ...]:
    attack, threat = row.attack or {}, row.threat or {}
    low, high = row.ci95 or (0.0, 0.0)
    eps = "soft" if threat.get("eps") is None else f"{threat['eps']:.3g}"
    sure = "yes" if low > 0 or high < 0 else "no"
    gap = f"{row.value or 0:+.3f} [{low:+.3f}, {high:+.3f}]"
    return (row.model or "", str(attack.get("method")), eps, str(attack.get("versus")), gap, sure)
