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
    table = "hamguard_check"
    db: Any

    def __init__(self) -> None:
        psycopg = needed("psycopg", "hamguard[postgres]")
        self.table = f"{self.table}_{os.getpid()}"
        try:
            self.reopen()
            self.db.execute("create extension if not exists vector")
        except psycopg.Error as error:
            said = " ".join(str(error).split())
            raise RequestError(f"PGHOST, PGUSER and PGDATABASE must name a server with pgvector: {said}") from error

    def version(self) -> str:
        """Names and versions."""
        (vector,) = self.db.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
        return f"pgvector {vector}, PostgreSQL {self.db.info.server_version // 10000}"

    def _texts(self, codes: Bytes) -> list[str]:
        return ["".join(map(str, row)) for row in np.unpackbits(codes, axis=1)]

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A table, and its index behind the rows, as people load."""
        self.reopen()
        columns = f"n bigint primary key, label int, code bit({8 * codes.shape[1]})"
        self.db.execute(f"drop table if exists {self.table}; create table {self.table} ({columns})")
        self.add(codes, np.arange(len(codes)), labels)
        self.db.execute(
            f"{f'create index on {self.table} using {self.index}; ' if self.index else ''}analyze {self.table}"
        )

    def search(self, query: Bytes, k: int, where: str = "true") -> tuple[Ints, Ints]:
        """The k nearest."""
        found, far = np.full((2, len(query), k), -1), f"code <~> %(code)s::bit({8 * query.shape[1]})"
        wanted = f"select {far}, n from {self.table} where {where.format(far=far)} order by 1 limit {k}"
        for row, code in enumerate(self._texts(query)):
            rows = self.db.execute(wanted, {"code": code}).fetchall()
            found[:, row, : len(rows)] = np.reshape(rows, (-1, 2)).T
        return found[0], found[1]

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        return self.search(query, k, f"label = {label}")

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        with self.db.cursor().copy(f"copy {self.table} (n, label, code) from stdin") as copy:
            for row in zip(numbers.tolist(), labels.tolist(), self._texts(codes), strict=True):
                copy.write_row(row)

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self.db.execute(f"delete from {self.table} where n = any(%s)", (numbers.tolist(),))

    def reopen(self) -> None:
        """A new connection, which takes the index where there is one, whatever the planner thinks of few rows."""
        import psycopg

        self.db = psycopg.connect("", autocommit=True, prepare_threshold=None)
        self.db.execute(f"set enable_seqscan = {'off' if self.index else 'on'}; set ivfflat.probes = 10")

    def close(self) -> None:
        """Leave nothing behind."""
        self.db.execute(f"drop table if exists {self.table}")
        self.db.close()


@register_form("pgvector-scan")
class PgvectorScan(PgvectorForm):
    """A sequential scan."""

    exact = True

    def within(self, query: Bytes, radius: int, k: int) -> tuple[Ints, Ints]:
        """The k nearest within a radius."""
        return self.search(query, k, f"{{far}} <= {radius}")


@register_form("pgvector-hnsw")
class PgvectorGraph(PgvectorForm):
    """A graph of neighbors, with the settings that pgvector comes with: m 16, ef_construction 64, ef_search 40."""

    index = "hnsw (code bit_hamming_ops)"


@register_form("pgvector-ivf")
class PgvectorCells(PgvectorForm):
    """Codes in 100 cells, of which 10 are visited."""

    index = "ivfflat (code bit_hamming_ops) with (lists = 100)"
