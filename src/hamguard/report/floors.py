"""Random codes, the floor of a search: which rows they are, and which rows they stand beside."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.core.rows import Row
from hamguard.report.collect import Entry, brief, by


def is_random(row: Row) -> bool:
    """Whether the row is the floor: codes drawn at random."""
    return (row.metric or "").startswith("random_")


def with_floors(members: Sequence[Entry]) -> list[tuple[Entry, tuple[Entry, ...]]]:
    """Rows with the random codes of the same search and queries, which stand beside the first row of a model.

    Random codes that belong to no row stand at the end.
    """
    found: list[tuple[Entry, tuple[Entry, ...]]] = []
    floors = {
        key: tuple(own)
        for key, own in by((e for e in members if is_random(e.row)), lambda e: _floor_key(e.row)).items()
    }
    used: set[bytes] = set()
    placed: set[tuple[bytes, str | None]] = set()
    for entry in members:
        if not is_random(entry.row):
            key = _floor_key(entry.row)
            beside = floors.get(key, ()) if (key, entry.row.model) not in placed else ()
            placed.add((key, entry.row.model))
            used.add(key)
            found.append((entry, beside))
    return found + [(floor, ()) for floor in members if is_random(floor.row) and _floor_key(floor.row) not in used]


def _floor_key(row: Row) -> bytes:
    metric = (row.metric or "").removeprefix("random_")
    return brief([metric, row.dataset, row.split, row.task, row.bits, row.n, row.ties, row.defense])
