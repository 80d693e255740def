"""What rows used, and what is to be cited for it: the end of every page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hamguard.core.papers import OWN, papers_of
from hamguard.core.rows import Row

MEASURES = {"clever": "clever", "flip-re": "radius", "flip-radius": "radius"}
"""Beginning of a metric's name, and the measure that it belongs to."""


def used_names(rows: Iterable[Row]) -> set[str]:
    """Methods, attacks, guides, defenses, protectors, purifiers and measures that occur in rows, as `KIND:NAME`."""
    return {name for row in rows for name in _names(row)}


def _names(row: Row) -> Iterator[str]:
    yield f"hash:{row.method}"
    if row.attack:
        yield f"attack:{row.attack.get('method')}"
        yield f"guide:{row.attack.get('guide')}"
    defense = row.defense
    while isinstance(defense, dict):  # a purifier before a hardened model
        yield f"defense:{defense.get('method')}"
        for part in str(defense.get("with", "")).split("+"):
            yield f"purifier:{part.partition(':')[0]}"
        defense = defense.get("before")
    yield from (f"measure:{name}" for begin, name in MEASURES.items() if (row.metric or "").startswith(begin))


def bibtex_for(names: Iterable[str]) -> list[str]:
    """BibTeX of what belongs to the names, then hamguard's own."""
    return [*(paper.bibtex for paper in papers_of(names)), OWN]
