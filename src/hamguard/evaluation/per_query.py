"""A figure that is a mean over queries: its row with the interval, and the figure of every query, which studies keep.

Two means over the same queries are compared query by query, which their intervals alone do not allow. So a study keeps the values:
each array in a file that is called after its content, and its hash in the row, under `values`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hamguard.core.archives import UNREADABLE
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError
from hamguard.core.files import read_bytes, write_bytes
from hamguard.core.rows import Row
from hamguard.core.types import Array, Floats
from hamguard.retrieval.intervals import bootstrap_interval

VALUES = "values"
"""Key of a row's hashes: the hash of its values, one a query."""
_KEEPING: ContextVar[dict[str, Floats] | None] = ContextVar("values of queries", default=None)


def averaged(row: Row, values: Array, *, seed: int) -> Row:
    """The row of a mean over queries: value, bootstrap interval and number of queries.

    Args:
        row: what it says besides.
        values: one a query, `(Q,)`; queries whose value is NaN or infinite are left out.
        seed: of the bootstrap.

    Returns:
        The row; without value and interval where no query has a value.
    """
    each = np.asarray(values, dtype=np.float64)
    each = np.where(np.isfinite(each), each, np.nan)
    kept = each[~np.isnan(each)]
    if len(kept) == 0:
        return replace(without_values(row), value=None, ci95=None, n=0)
    row = replace(row, value=float(kept.mean()), ci95=bootstrap_interval(kept, seed=seed), n=len(kept))
    return with_values(row, each)


def with_values(row: Row, values: Array) -> Row:
    """A row that names its values, `(Q,)`, where somebody keeps them."""
    kept = _KEEPING.get()
    if kept is None:
        return without_values(row)
    each = np.array(values, dtype=np.float64)
    digest = digest_array(each)
    kept[digest] = each
    return replace(row, hashes={**row.hashes, VALUES: digest})


def without_values(row: Row) -> Row:
    """A row that names no values, for one that is made of another."""
    if VALUES not in row.hashes:
        return row
    return replace(row, hashes={key: value for key, value in row.hashes.items() if key != VALUES})


@contextmanager
def keeping() -> Iterator[dict[str, Floats]]:
    """Collect the values of all rows that are made meanwhile, by their hash."""
    kept: dict[str, Floats] = {}
    token = _KEEPING.set(kept)
    try:
        yield kept
    finally:
        _KEEPING.reset(token)


@dataclass(frozen=True)
class Kept:
    """A folder of values, each file called after its content.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    def path(self, digest: str) -> Path:
        """File of an array."""
        return self.folder / f"{digest}.npy"

    def write(self, values: Mapping[str, Floats]) -> None:
        """Write what is not here yet.

        Raises:
            RunError: it cannot be written.
        """
        for digest, each in values.items():
            if self.read(digest) is None:
                stream = io.BytesIO()
                np.save(stream, each, allow_pickle=False)
                write_bytes(self.path(digest), stream.getvalue())

    def read(self, digest: str) -> Floats | None:
        """The values of a hash, `(Q,)`; None where they are not here, or not those that were written."""
        try:
            content = read_bytes(self.path(digest), "values of queries")
            stream = io.BytesIO(content)
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            if dtype != np.float64 or shape != ((len(content) - stream.tell()) // 8,):
                return None  # before any memory is taken for what the header says
            found = np.frombuffer(content, np.float64, offset=stream.tell())
        except (RequestError, *UNREADABLE):
            return None
        return found if digest_array(found) == digest else None

    def of(self, row: Row) -> Floats | None:
        """The values of a row, `(Q,)`, NaN for queries that are not in its mean; None where none were kept."""
        digest = row.hashes.get(VALUES)
        return self.read(digest) if digest else None

    def has(self, rows: Iterable[Row]) -> bool:
        """Whether the values of all rows that name some are here."""
        return all(
            self.read(digest) is not None for digest in {row.hashes[VALUES] for row in rows if VALUES in row.hashes}
        )
