"""Binary vectors of Milvus in a file, which milvus-lite opens; of its indexes that has `BIN_FLAT` alone."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from hamguard.core.types import Bytes, Ints
from hamguard.retrieval.forms.registry import needed, register_form, release


@register_form("milvus-flat")
class MilvusFlat:
    """`BIN_FLAT`: every code is compared."""

    client: Any = None
    file = "codes.db"

    def __init__(self) -> None:
        needed("pymilvus", "hamguard[milvus-lite]")
        needed("milvus_lite", "hamguard[milvus-lite]")
        self._folder = tempfile.TemporaryDirectory(prefix="hamguard-engine-")
        self.file = f"{self._folder.name}/{self.file}"

    def version(self) -> str:
        """Name and version."""
        return release("milvus-lite")

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A collection in a new file, or in the place of the old one."""
        from pymilvus import DataType, MilvusClient

        self.client = self.client or MilvusClient(self.file)
        schema = self.client.create_schema().add_field("n", DataType.INT64, is_primary=True)
        schema.add_field("label", DataType.INT64)
        schema.add_field("code", DataType.BINARY_VECTOR, dim=8 * codes.shape[1])
        index = self.client.prepare_index_params("code", index_type="BIN_FLAT", metric_type="HAMMING")
        self.client.drop_collection("codes")
        self.client.create_collection("codes", schema=schema, index_params=index)
        self.add(codes, np.arange(len(codes)), labels)

    def search(self, query: Bytes, k: int, where: str = "", **how: int) -> tuple[Ints, Ints]:
        """The k nearest; Milvus gives 16,384 at most."""
        found, rows = np.full((2, len(query), k), -1), [code.tobytes() for code in query]
        params = {"metric_type": "HAMMING", "params": how}
        for row, hits in enumerate(self.client.search("codes", rows, where, min(k, 16_384), search_params=params)):
            found[:, row, : len(hits)] = np.reshape([(hit["distance"], hit["id"]) for hit in hits], (-1, 2)).T
        return found[0], found[1]

    def within(self, query: Bytes, radius: int, k: int) -> tuple[Ints, Ints]:
        """The k nearest within a radius, which itself Milvus leaves out."""
        return self.search(query, k, radius=radius + 1)

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        return self.search(query, k, f"label == {label}")

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        rows = zip(numbers.tolist(), labels.tolist(), map(bytes, codes), strict=True)
        if len(codes):
            self.client.insert("codes", [{"n": n, "label": label, "code": code} for n, label, code in rows])

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self.client.delete("codes", ids=numbers.tolist())

    def reopen(self) -> None:
        """The collection released and loaded."""
        self.client.release_collection("codes")
        self.client.load_collection("codes")

    def close(self) -> None:
        """Let go of the file and remove it."""
        from hamguard.retrieval.stores.milvus_client import release as let_go

        if self.client is not None:
            self.client.close()
            let_go(self.file)
        self._folder.cleanup()
