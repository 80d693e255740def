"""What rows used, and what is to be cited for it: the end of every page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hamguard.core.papers import OWN, papers_of
from hamguard.core.rows import Row

MEASURES = {"clever": "clever", "flip-re": "radius", "flip-radius": "radius"}
"""Beginning of a metric's name, and the measure that it belongs to."""


def used_names(rows: Iterable[Row]) -> set[str]:
    """Methods, attacks, guides, parts of searches, defenses, purifiers and measures that occur in rows, as `KIND:NAME`."""
    return {name for row in rows for name in _names(row)}


def _names(row: Row) -> Iterator[str]:
    yield f"hash:{row.method}"
    if row.attack:
        yield f"attack:{row.attack.get('method')}"
        yield f"guide:{row.attack.get('guide')}"
        yield from _parts(row.attack.get("values"))
    defense = row.defense
    while isinstance(defense, dict):  # a purifier before a hardened model
        yield f"defense:{defense.get('method')}"
        for part in str(defense.get("with", "")).split("+"):
            yield f"purifier:{part.partition(':')[0]}"
        defense = defense.get("before")
    yield from (f"measure:{name}" for begin, name in MEASURES.items() if (row.metric or "").startswith(begin))


def _parts(values: object) -> Iterator[str]:
    """Parts of an attack's search that have a paper of their own; rows of a file may hold anything here."""
    search = values.get("search") if isinstance(values, dict) else None
    if isinstance(search, dict):
        yield from (f"search:{name}" for name in ("nesterov", "translation") if search.get(name))
        views = search.get("views")
        for view in views if isinstance(views, list) else ():
            yield f"search:{view.get('kind')}" if isinstance(view, dict) else ""


def bibtex_for(names: Iterable[str]) -> list[str]:
    """BibTeX of what belongs to the names, then hamguard's own."""
    return [*(paper.bibtex for paper in papers_of(names)), OWN]
