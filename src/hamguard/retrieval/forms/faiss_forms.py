"""The binary indexes of faiss."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from hamguard.core.types import Bytes, Ints
from hamguard.retrieval.forms.registry import register_form, release


class FaissForm:
    """What all of them share."""

    exact = True
    index: Any
    labels: Ints

    def version(self) -> str:
        """Name and version."""
        return release("faiss-cpu")

    def search(self, query: Bytes, k: int) -> tuple[Ints, Ints]:
        """The k nearest."""
        distances, numbers = self.index.search(query, k)
        return distances.astype(np.int64), numbers

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items behind those present; one without cells knows no other numbers."""
        self.labels = np.concatenate([self.labels, labels])
        self.index.add(codes)

    def reopen(self) -> None:
        """Written as bytes, and read."""
        self.index = faiss.deserialize_index_binary(faiss.serialize_index_binary(self.index))


@register_form("faiss-flat")
class FaissFlat(FaissForm):
    """Every code is compared."""

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A new index."""
        self.labels = labels
        self.index = faiss.IndexBinaryFlat(8 * codes.shape[1])
        self.index.add(codes)

    def within(self, query: Bytes, radius: int, k: int) -> tuple[Ints, Ints]:
        """The k nearest within a radius; faiss leaves the radius itself out, and gives them in any order."""
        limits, distances, numbers = self.index.range_search(query, radius + 1)
        found = np.full((2, len(query), k), -1)
        for row, own in enumerate(map(slice, limits[:-1], limits[1:])):
            order = np.argsort(distances[own], kind="stable")[:k]
            found[:, row, : len(order)] = distances[own][order], numbers[own][order]
        return found[0], found[1]

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.flatnonzero(self.labels == label)))  # type: ignore[call-arg]
        distances, numbers = self.index.search(query, k, params=chosen)
        return distances.astype(np.int64), numbers


@register_form("faiss-ivf")
class FaissIvf(FaissForm):
    """Codes in cells, of which the nearest are visited: 10 of 100."""

    exact = False

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A new index."""
        cells = max(1, min(100, len(codes) // 39))
        self.quantizer = faiss.IndexBinaryFlat(8 * codes.shape[1])
        self.index = faiss.IndexBinaryIVF(self.quantizer, 8 * codes.shape[1], cells)
        self.index.cp.min_points_per_centroid = 1
        self.index.nprobe = max(1, cells // 10)
        if len(codes):
            self.index.train(codes)
            self.index.add(codes)

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        self.index.add_with_ids(codes, numbers)

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self.index.remove_ids(numbers)


@register_form("faiss-hnsw")
class FaissHnsw(FaissForm):
    """A graph of neighbors: M 16, efConstruction 40, efSearch 64."""

    exact = False

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A new index."""
        self.labels = labels
        self.index = faiss.IndexBinaryHNSW(8 * codes.shape[1], 16)
        self.index.hnsw.efSearch = 64
        self.index.add(codes)

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        chosen = faiss.IDSelectorBatch(np.flatnonzero(self.labels == label))
        how = faiss.SearchParametersHNSW(sel=chosen, efSearch=64)  # type: ignore[attr-defined]
        distances, numbers = self.index.search(query, k, params=how)
        return distances.astype(np.int64), numbers
