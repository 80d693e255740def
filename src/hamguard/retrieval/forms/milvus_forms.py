"""Binary vectors of Milvus in a file, which milvus-lite opens; of its indexes that has `BIN_FLAT` alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.core.types import Bytes, Ints
from hamguard.retrieval.forms.registry import needed, register_form, release


@register_form("milvus-flat")
class MilvusFlat:
    """`BIN_FLAT`: every code is compared."""

    client: Any = None
    file = ""

    def __init__(self) -> None:
        needed("pymilvus", "hamguard[milvus-lite]")
        needed("milvus_lite", "hamguard[milvus-lite]")

    def version(self) -> str:
        """Name and version."""
        return release("milvus-lite")

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A collection in a new file, or in the place of the old one."""
        from pymilvus import DataType, MilvusClient

        self.file = self.file or str(Path(tempfile.mkdtemp(prefix="hamguard-engine-")) / "codes.db")
        self.client = self.client or MilvusClient(self.file)
        schema, index = self.client.create_schema(), self.client.prepare_index_params()
        schema.add_field("n", DataType.INT64, is_primary=True).add_field("label", DataType.INT64)
        schema.add_field("code", DataType.BINARY_VECTOR, dim=8 * codes.shape[1])
        index.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
        self.client.drop_collection("codes")
        self.client.create_collection("codes", schema=schema, index_params=index)
        self.add(codes, np.arange(len(codes)), labels)

    def search(self, query: Bytes, k: int, where: str = "", **how: float) -> tuple[Ints, Ints]:
        """The k nearest."""
        params, rows = {"metric_type": "HAMMING", "params": how}, [row.tobytes() for row in query]
        hits = self.client.search("codes", rows, filter=where, limit=k, search_params=params)
        found = np.full((2, len(query), k), -1)
        for row, own in enumerate(hits):
            found[:, row, : len(own)] = np.reshape([(hit["distance"], hit["id"]) for hit in own], (-1, 2)).T
        return found[0], found[1]

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        return self.search(query, k, f"label == {label}")

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        rows = [
            (int(number), int(label), code.tobytes())
            for number, label, code in zip(numbers, labels, codes, strict=True)
        ]
        if rows:
            self.client.insert("codes", [dict(zip(("n", "label", "code"), row, strict=True)) for row in rows])

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self.client.delete("codes", ids=numbers.tolist())

    def reopen(self) -> None:
        """The collection released and loaded."""
        self.client.release_collection("codes")
        self.client.load_collection("codes")

    def within(self, query: Bytes, radius: int) -> tuple[Ints, Ints]:
        """All within a radius, which Milvus leaves out; it gives 16,384 at most."""
        distances, numbers = self.search(query, 16_384, radius=radius + 1)
        width = max(1, int((numbers >= 0).sum(axis=1).max()))
        return distances[:, :width], numbers[:, :width]

    def close(self) -> None:
        """Let go of the file."""
        from hamguard.retrieval.stores.milvus_client import release as let_go

        if self.client is not None:
            self.client.close()
            let_go(self.file)
