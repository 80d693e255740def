"""pgvector's `bit(n)` in PostgreSQL: a scan, a graph, and cells, on the server that PGHOST, PGUSER and PGDATABASE name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes, Ints
from hamguard.retrieval.forms.registry import needed, register_form


class PgvectorForm:
    """What all of them share."""

    exact = False
    index = ""
    table = f"hamguard_check_{os.getpid()}"
    connection: Any

    def __init__(self) -> None:
        psycopg = needed("psycopg", "hamguard[postgres]")
        try:
            self.reopen()
            self.connection.execute("create extension if not exists vector")
        except psycopg.Error as error:
            said = " ".join(str(error).split())
            raise RequestError(f"PGHOST, PGUSER and PGDATABASE must name a server with pgvector: {said}") from error

    def version(self) -> str:
        """Names and versions."""
        (vector,) = self.connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
        return f"pgvector {vector}, PostgreSQL {self.connection.info.server_version // 10000}"

    def _texts(self, codes: Bytes) -> list[str]:
        return ["".join(map(str, row)) for row in np.unpackbits(codes, axis=1)]

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A table, and its index behind the rows, as people load."""
        self.reopen()
        columns = f"n bigint primary key, label int, code bit({8 * codes.shape[1]})"
        self.connection.execute(f"drop table if exists {self.table}; create table {self.table} ({columns})")
        self.add(codes, np.arange(len(codes)), labels)
        made = f"create index on {self.table} using {self.index};" if self.index else ""
        self.connection.execute(f"{made} analyze {self.table}")

    def search(self, query: Bytes, k: int, where: str = "true") -> tuple[Ints, Ints]:
        """The k nearest."""
        found, far = np.full((2, len(query), k), -1), f"code <~> %(code)s::bit({8 * query.shape[1]})"
        for row, code in enumerate(self._texts(query)):
            text = f"select {far}, n from {self.table} where {where.format(far=far)} order by 1 limit {k}"
            rows = self.connection.execute(text, {"code": code}).fetchall()
            found[:, row, : len(rows)] = np.reshape(rows, (-1, 2)).T
        return found[0], found[1]

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        return self.search(query, k, f"label = {label}")

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        with self.connection.cursor().copy(f"copy {self.table} (n, label, code) from stdin") as copy:
            for row in zip(numbers.tolist(), labels.tolist(), self._texts(codes), strict=True):
                copy.write_row(row)

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self.connection.execute(f"delete from {self.table} where n = any(%s)", (numbers.tolist(),))

    def reopen(self) -> None:
        """A new connection, which takes the index where there is one, whatever the planner thinks of few rows."""
        import psycopg

        self.connection = psycopg.connect("", autocommit=True, prepare_threshold=None)
        self.connection.execute(f"set enable_seqscan = {'off' if self.index else 'on'}; set ivfflat.probes = 10")

    def close(self) -> None:
        """Leave nothing behind."""
        self.connection.execute(f"drop table if exists {self.table}")
        self.connection.close()


@register_form("pgvector-scan")
class PgvectorScan(PgvectorForm):
    """A sequential scan."""

    exact = True

    def within(self, query: Bytes, radius: int) -> tuple[Ints, Ints]:
        """All within a radius."""
        (most,) = self.connection.execute(f"select count(*) from {self.table}").fetchone()
        return self.search(query, max(1, most), f"{{far}} <= {radius}")


@register_form("pgvector-hnsw")
class PgvectorGraph(PgvectorForm):
    """A graph of neighbors, with the settings that pgvector comes with: m 16, ef_construction 64, ef_search 40."""

    index = "hnsw (code bit_hamming_ops)"


@register_form("pgvector-ivf")
class PgvectorCells(PgvectorForm):
    """Codes in 100 cells, of which 10 are visited."""

    index = "ivfflat (code bit_hamming_ops) with (lists = 100)"
