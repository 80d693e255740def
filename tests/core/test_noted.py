"""Facts among the notes of rows: who reads one gets what was written, from rows of today and from recorded ones."""

from __future__ import annotations

from pathlib import Path

from tests.golden.rows import load

from hamguard.core.noted import (
    PAIRED,
    TRADEOFF,
    audit_note,
    general_notes,
    is_tradeoff,
    matcher_note,
    matcher_seen,
    models_note,
    rank_notes,
    seen_by_check,
    verdict_of,
)
from hamguard.core.rows import Row, read_rows

RESULTS = Path(__file__).parents[2] / "results"


def test_what_is_written_is_read() -> None:
    row = Row(notes=("six queries", matcher_note("never seen"), TRADEOFF, PAIRED))
    assert matcher_seen(row) == "never seen" and is_tradeoff(row)
    assert general_notes([row, row]) == ["six queries", "matcher: never seen"]
    assert matcher_seen(Row()) is None and not is_tradeoff(Row(notes=("trade-off",)))
    notes = [audit_note("linf, eps 8/255"), models_note(3)]
    assert rank_notes([Row(notes=("six queries", *notes))]) == notes


def test_recorded_rows_still_tell_their_facts() -> None:
    study = read_rows(RESULTS / "cmla-small.jsonl")
    marked = [row for row in study if is_tradeoff(row)]
    assert 0 < len(marked) < len(study) and all("intra" in row.attack for row in marked if row.attack and row.threat)
    verdicts = {verdict_of(row) for row in read_rows(RESULTS / "audit.jsonl")}
    assert verdicts > {""} and all(not said or said.startswith("This search ") for said in verdicts)
    checks = [Row(notes=tuple(one["notes"])) for one in load("sanity") if one.get("metric") == "check"]
    assert checks and all(" " in seen_by_check(row) for row in checks)
