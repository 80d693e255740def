"""Rows of an audit as the table of its stages, and rows of checks as lines."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.core.rows import Row, Rows
from hamguard.report.table import Table
from hamguard.report.wording import SCORES


def audit_table(rows: Sequence[Row], name: str = "") -> Table:
    """Clean, noise and random codes, then every stage, the worst of all, and the least that a code finds.

    Args:
        rows: of one audit.
        name: of the model; that of the rows where not given.
    """
    found, metric = Rows(rows), score_of(rows)
    lines = [line for row in found if (line := _line(row, metric))]
    least = worst_code(found)
    if least is not None:
        lines.append(("least that a code finds", f"{least.n:,}", "", f"{least.value:.4f}", "", ""))
    subject = name or next((row.model for row in found if row.model and row.attack), "no model")
    score = SCORES[metric]
    columns = ("stage", "queries", f"{score} of them", f"worst {score} of all", "gradients", "seconds")
    return Table.of(f"{subject}: stages", columns, lines)


def score_of(rows: Sequence[Row]) -> str:
    """The metric that an audit lowers: MAP, or without labels the share whose originals are found."""
    return "found" if any(row.metric == "found" for row in rows) else "map"


def worst_code(rows: Sequence[Row]) -> Row | None:
    """The row of the least that a code of any guide finds."""
    return next((row for row in rows if (row.attack or {}).get("guide") == "worst of all"), None)


def _line(row: Row, metric: str) -> tuple[str, ...] | None:
    facts = row.attack or {}
    value = "" if row.value is None else f"{row.value:.4f}"
    count = f"{row.n:,}"
    if row.metric == f"random_{metric}":
        return ("random codes", count, "", value, "", "")
    if row.metric == f"{metric}-of-those-attacked":
        gradients = "" if not row.backwards else f"{row.backwards:,}"
        return (facts["stage"], count, value, f"{facts[f'worst_{metric}_after']:.4f}", gradients, f"{row.seconds:,.1f}")
    if row.metric != metric:
        return None
    if row.attack is None:
        return ("clean", count, "", value, "", "")
    if facts["method"] == "noise":
        return ("noise", count, "", value, "", "")
    if facts["method"] == "audit":
        what = "worst of all" if "stages" in facts else "worst without labels"
        spent = ("", "") if row.backwards is None else (f"{row.backwards:,}", f"{row.seconds:,.1f}")
        return (what, count, "", value, *spent)
    return None


WORDS = {True: "passed", False: "FAILED", None: "left out"}


def check_lines(rows: Sequence[Row]) -> list[str]:
    """What was checked and what came out, a line a check."""
    checks = Rows(rows).where(metric="check")
    facts = [(row.attack or {}, row.notes) for row in checks]
    return [f"{WORDS[of['passed']]:<9}{of['check']:<16}{''.join(notes[:1])}" for of, notes in facts]


def sanity_lines(rows: Sequence[Row]) -> list[str]:
    """The checks of a defense, and whether it may be quoted."""
    checks = Rows(rows).where(metric="check")
    passed = {str((row.attack or {})["check"]): (row.attack or {})["passed"] for row in checks}
    failed = [name for name, well in passed.items() if well is False]
    made = [name for name, well in passed.items() if well is not None]
    last = f"Do not quote this defense: {', '.join(failed)} failed." if failed else ""
    last = last or f"All {len(made)} checks passed on {checks[0].n} queries."
    return ["sanity of the defense", *check_lines(rows), last]
