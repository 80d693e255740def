"""What came out of `hamguard engine check`: a table for each engine, one of all, and three sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hamguard import __version__
from hamguard.core.rows import Row
from hamguard.report.folding import fitted
from hamguard.report.page import render_page
from hamguard.report.table import Cell, Table

PROTOCOL = "engine-check"
EQUAL, ONCE = "equal codes", "equal codes, each code once"
READING = (
    "misses: share of the answers that are missing or farther than the right ones; an engine that is not exact may. "
    "not true: another distance than the item's, an item twice, one that may not be there, or a wrong order."
)


def engines_of(rows: Sequence[Row]) -> list[str]:
    """Names of the engines, in order."""
    return list(dict.fromkeys(str(row.model) for row in rows if row.protocol == PROTOCOL))


def outcome_text(row: Row) -> str:
    """What came out of one question, in a cell.

    >>> outcome_text(Row(value=0.125, n=80, attack={"outcome": "misses"}))
    'misses 12.5%'
    """
    facts = row.attack or {}
    outcome = str(facts.get("outcome", "?"))
    if outcome == "wrong":
        return f"{facts.get('false', 0):,} of {row.n or 0:,} not true"
    if outcome == "misses":
        return f"misses {row.value or 0:.1%}"
    return {"refused": "refuses", "failed": "fails"}.get(outcome, outcome)


def is_broken(row: Row) -> bool:
    """Whether an engine broke its promise: it said what is not true, failed, or missed though it is exact."""
    facts = row.attack or {}
    return facts.get("outcome") in ("wrong", "failed") or (
        facts.get("outcome") == "misses" and bool(facts.get("exact"))
    )


def engine_table(rows: Sequence[Row]) -> Table:
    """Questions of one engine by level of collapse.

    Args:
        rows: of one engine, at least one.
    """
    levels = sorted({_level(row) for row in rows})
    found = {(row.metric, _level(row)): row for row in rows}
    names = {_level(row): (row.dataset or "") if _given(row) else f"{_copies(row):.0%} copies" for row in rows}
    lines: list[list[Cell | str]] = []
    for name in dict.fromkeys(row.metric for row in rows):
        cells = [found.get((name, level)) for level in levels]
        lines.append([str(name), *(outcome_text(row) if row else "" for row in cells)])
    first = rows[0]
    exact = "exact" if (first.attack or {}).get("exact") else "not exact"
    notes = dict.fromkeys(f"{row.metric}: {note}" for row in rows for note in row.notes)
    columns = ("question", *(names[level] for level in levels))
    title = f"{first.model}: {first.method or 'version unknown'}, {exact}, {_codes(first)}"
    return Table.of(title, columns, lines, reading=(READING,), notes=notes)


def engines_table(rows: Sequence[Row]) -> Table:
    """A line an engine: its version, promises that it broke, and equal codes that it misses at the highest collapse."""
    lines = []
    for name in engines_of(rows):
        own = [row for row in rows if row.model == name]
        facts = own[0].attack or {}
        broken = len({row.metric for row in own if is_broken(row)})
        equal, once = (_worst(own, metric) for metric in (EQUAL, ONCE))
        lines.append(
            [
                name,
                own[0].method or "",
                "yes" if facts.get("exact") else "no",
                str(broken),
                str(len({row.metric for row in own if (row.attack or {}).get("outcome") == "not offered"})),
                *("" if row is None or row.value is None else f"{row.value:.1%}" for row in (equal, once)),
            ]
        )
    last = max(rows, key=_level, default=Row())
    copies = f"{_copies(last):.0%} copies"
    columns = (
        "engine",
        "version",
        "exact",
        "broken promises",
        "not offered",
        f"missed, own codes, {copies}" if _given(last) else f"missed, {copies}",
        "each code once",
    )
    return Table.of("Engines", columns, lines, names=2)


def engine_tables(rows: Sequence[Row]) -> list[Table]:
    """The tables of a check: of several engines one of all comes first."""
    names = engines_of(rows)
    own = [engine_table([row for row in rows if row.model == name]) for name in names]
    return [engines_table(rows), *own] if len(names) > 1 else own


def engine_sentences(rows: Sequence[Row]) -> list[str]:
    """Three sentences on one engine: whether it keeps its promise, what it does with copies, and what to do."""
    name, exact = rows[0].model, bool((rows[0].attack or {}).get("exact"))
    broken = list(dict.fromkeys(str(row.metric) for row in rows if is_broken(row)))
    equal, once = _worst(rows, EQUAL), _worst(rows, ONCE)
    missed = (equal.value or 0.0) if equal else 0.0
    where = f"Where {_copies(equal) if equal else 0:.0%} of the items are copies"
    if equal and _given(equal):
        where = f"In {equal.dataset}"
    if broken:
        first = f"{name} does not answer right: {'; '.join(broken)}."
    elif exact:
        first = f"{name} answered every question that it takes as brute force does."
    else:
        first = f"{name} is not exact and says so; what it answered was true."
    if missed:
        then = f", and {(once.value or 0.0):.1%} where each code is kept once" if once else ""
        second = f"{where}, it misses {missed:.1%} of the codes that are there{then}."
    else:
        second = f"{where}, it finds every code that is there."
    if broken:
        third = "Do not build on it before these are repaired; the files of the faults are for its maintainers."
    elif missed:
        third = "Keep each code once, with the items that have it, or take an exact engine."
    elif exact:
        third = "Learned codes are safe in it."
    else:
        third = "Learned codes are safe in it, as far as near neighbors that it misses do not matter to you."
    return [first, second, third]


def write_engine_page(path: Path | str, rows: Sequence[Row]) -> None:
    """Write the page of a check.

    Raises:
        RequestError: the file does not end in .html.
        RunError: it cannot be written.
    """
    words = [line for name in engines_of(rows) for line in engine_sentences([row for row in rows if row.model == name])]
    page: dict[str, Any] = {
        "title": "Does this engine answer Hamming searches right?",
        "subject": f"{', '.join(engines_of(rows))}; {_codes(rows[0])}",
        "words": words,
        "tables": engine_tables(rows),
        "footer": f"hamguard {__version__}, engine check, seed {rows[0].seed}.",
    }
    render_page("engines.html", path, fit=fitted, page=page)


def _codes(row: Row) -> str:
    """How many codes were drawn, without the share of copies."""
    return (row.dataset or "").rpartition(", ")[0]


def _given(row: Row) -> str:
    """What the codes of a person are called; empty for drawn ones."""
    return str((row.attack or {}).get("codes", ""))


def _copies(row: Row) -> float:
    return float((row.attack or {}).get("collapse", 0.0))


def _level(row: Row) -> tuple[bool, float]:
    """Where it stands: drawn codes by collapse, then those of a person."""
    return bool(_given(row)), _copies(row)


def _worst(rows: Sequence[Row], metric: str) -> Row | None:
    """The row of a question at the highest collapse, or of a person's own codes."""
    return max((row for row in rows if row.metric == metric), key=_level, default=None)
