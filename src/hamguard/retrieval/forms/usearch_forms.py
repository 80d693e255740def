"""usearch over bits (`b1`): its exact search, and its graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from hamguard.core.types import Bytes, Ints
from hamguard.retrieval.forms.registry import needed, register_form, release


class UsearchForm:
    """What both share."""

    exact = False
    index: Any

    def __init__(self) -> None:
        needed("usearch", "hamguard[usearch]")

    def version(self) -> str:
        """Name and version."""
        return release("usearch")

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A new index."""
        from usearch.index import Index

        self.index = Index(ndim=8 * codes.shape[1], metric="hamming", dtype="b1")
        if len(codes):
            self.index.add(np.arange(len(codes)), codes, threads=1)

    def search(self, query: Bytes, k: int) -> tuple[Ints, Ints]:
        """The k nearest; usearch gives a smaller table where there are fewer."""
        found = self.index.search(query, k, exact=self.exact, threads=1)
        keys, distances = np.atleast_2d(found.keys), np.atleast_2d(found.distances)
        there = np.arange(keys.shape[1]) < np.reshape(getattr(found, "counts", len(found)), (-1, 1))
        more = ((0, 0), (0, k - keys.shape[1]))
        both = (np.where(there, one, -1).astype(np.int64) for one in (distances, keys))
        return tuple(np.pad(one, more, constant_values=-1) for one in both)  # type: ignore[return-value]

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        self.index.add(numbers, codes, threads=1)

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self.index.remove(numbers)

    def reopen(self) -> None:
        """Written as bytes, and read."""
        kept = bytes(self.index.save())
        self.index = type(self.index)(ndim=self.index.ndim, metric="hamming", dtype="b1")
        self.index.load(kept)


@register_form("usearch-exact")
class UsearchExact(UsearchForm):
    """Every code is compared."""

    exact = True


@register_form("usearch-hnsw")
class UsearchGraph(UsearchForm):
    """A graph of neighbors, with the settings that usearch comes with."""
