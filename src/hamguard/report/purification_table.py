"""Rows of purifiers as one table: each attacked by who does not know it, and through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hamguard.core.rows import Row, Rows, eps_text
from hamguard.report.table import Table, note_lines

COLUMNS = (
    "purifier",
    "clean MAP",
    "attack on the plain model",
    "attack through the purifier",
    "worse of both",
    "seconds",
)
NONE = "none"
"""The plain model's name among the purifiers."""
CLAIM = (
    "Only `worse of both` is a claim about security: for every query the stronger of the attack that does not know "
    "the purifier and the one through it."
)


def purification_table(rows: Sequence[Row], name: str = "") -> Table:
    """The plain model, then each purifier.

    Args:
        rows: of one model.
        name: of the model; that of the rows where not given.
    """
    found = Rows(rows)
    last = found[-1]
    facts, threat = last.attack or {}, last.threat or {}
    metric = "map" if found.where(metric="map", attack=None) else "bits-moved"
    form, score = (".4f", "MAP") if metric == "map" else (".1f", "bits moved")
    words = dict.fromkeys((row.defense or {}).get("with", NONE) for row in found if row.model != "random codes")
    own = {word: Rows(row for row in found if (row.defense or {}).get("with", NONE) == word) for word in words}
    lines = [(word, *_cells(rows, metric, str(facts["method"]), form)) for word, rows in own.items()]
    queries = max(row.n or 0 for row in found)
    size = f"{eps_text({'norm': threat['norm'], 'eps': threat['eps']})}, {threat['steps']} steps"
    title = f"{name or last.model} ({last.dataset}, {queries:,} queries): {facts['method']}, {size}, {score}"
    return Table.of(title, COLUMNS, lines, notes=[*note_lines(n for row in found for n in row.notes), CLAIM])


def _cells(rows: Rows, metric: str, method: str, form: str) -> Iterator[str]:
    clean = rows.where(metric="map", attack=None).first()
    scored = rows.where(metric=metric, attack=method)
    unaware = next((row for row in scored if (row.attack or {}).get("adaptive") is False), scored[0])
    through = [row for row in scored if (row.attack or {}).get("adaptive") is not False]
    worst = next((row for row in through if (row.attack or {}).get("worst_of")), through[0])
    yield "" if clean is None or clean.value is None else f"{clean.value:.4f}"
    for row in (unaware, through[0], worst):
        yield format(row.value or 0.0, form)
    yield f"{through[0].seconds or 0.0:,.1f}"
