"""What a sheet shows of one item of a data set: picture, words, and whether it is relevant to a query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hamguard.core.types import Array
from hamguard.data.dataset import Dataset


@dataclass(frozen=True)
class Entry:
    """One item as a sheet shows it."""

    picture: Array
    caption: str
    relevant: bool | None


def sheet_entry(dataset: Dataset, row: int, query_row: int | None) -> Entry:
    """Picture of a row, its label words, and relevance to a query row (None where there is no labeled query).

    Without labels a picture is called by its id, and nothing but the query itself is relevant.
    """
    names = [dataset.class_names[c] for c in np.flatnonzero(dataset.labels[row])]
    caption = ", ".join(name.partition(":")[2].strip() or name for name in names)
    relevant = None
    if not dataset.class_names:
        caption, relevant = str(dataset.ids[row]), True if row == query_row else None
    elif query_row is not None and dataset.labels[query_row].any():
        relevant = bool((dataset.labels[row] & dataset.labels[query_row]).any())
    return Entry(dataset.images.pixels([row])[0], caption, relevant)
