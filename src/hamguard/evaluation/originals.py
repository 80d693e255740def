"""Data without labels: the only right answer to a picture is the picture itself, so everything is searched, the queries included.

With labels a query is scored by its average precision. Without them nothing but the original can be called right: an attacked
or noisy picture is scored by whether its original still is among the first ten answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.core.rows import Row
from hamguard.core.types import Floats, Ints
from hamguard.data.opened import Data
from hamguard.data.split import Part
from hamguard.retrieval.metrics import average_precision
from hamguard.retrieval.rank import rank_items

TOP = 10  # an original that is not among so many answers is not found
FOUND, MAP = "found", "map"


def searched_part(data: Data) -> Part:
    """What is searched: the database of the split, or, without a label, all pictures."""
    if data.dataset.labels.any():
        return data.split.part("database")
    return Part("database", np.arange(len(data.dataset)))


def places_of(query: CodeBank, database: CodeBank) -> Ints | None:
    """The number of each query's original in what is searched, `(n,)`; None where one of them is not there."""
    place = {str(item): number for number, item in enumerate(database.ids)}
    if any(str(item) not in place for item in query.ids):
        return None
    return np.array([place[str(item)] for item in query.ids], np.int64)


def found_within(query: CodeBank, database: CodeBank, place: Ints, top: int = TOP) -> Floats:
    """Probability that the item at `place` of the database is among the first `top` answers to its query, `(n,)`.

    Args:
        query: codes of n queries.
        database: codes that are searched.
        place: number of each query's original in the database, `(n,)`.
        top: how many answers count.
    """
    return rank_items(query.packed, database.packed, place).in_top(top)


def scores(query: CodeBank, database: CodeBank) -> Floats:
    """What each query finds, `(n,)` in [0, 1]: its average precision; without labels, whether its original is among the first ten.

    Args:
        query: codes of n queries, changed or not.
        database: what is searched, as `searched_part` says.
    """
    place = None if database.labels.any() else places_of(query, database)
    return average_precision(query, database) if place is None else found_within(query, database, place)


def scored_as(row: Row, database: CodeBank) -> Row:
    """A row that says which of the two scores it is a mean of.

    Args:
        row: what it says besides.
        database: what is searched.
    """
    said: dict[str, Any] = {"task": row.task or "query->database", "ties": "expected", "metric": MAP}
    return replace(row, **said if database.labels.any() else said | {"metric": FOUND, "at": TOP})


def word_of(database: CodeBank) -> str:
    """What sentences call the mean of the scores."""
    return "MAP" if database.labels.any() else "share found"


def note_of(data: Data) -> tuple[str, ...]:
    """What rows of data without labels say of their score; nothing where there are labels."""
    if data.dataset.labels.any():
        return ()
    return (
        f"no labels: all {len(data.dataset):,} pictures are searched, and a query counts as found where its original is among the "
        f"first {TOP} answers",
    )
