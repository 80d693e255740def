"""Indexes made and opened: which engine answers is said by name or address, and everything else knows only `Index`."""

from __future__ import annotations

from pathlib import Path

from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_choice
from hamguard.retrieval.faiss_index import FaissIndex
from hamguard.retrieval.index import ENGINES, Index
from hamguard.retrieval.stores.registry import store_of


def build_index(bank: CodeBank, *, engine: str = "flat", cells: int | None = None, probes: int = 16) -> FaissIndex:
    """An index over the items of a bank, in memory.

    Args:
        bank: codes with unique ids.
        engine: `flat`, exact, or `ivf`, which searches the cells nearest to a query.
        cells: number of cells of `ivf`; default about `sqrt(D)` for D codes, but never fewer than 39 codes a cell.
        probes: cells that an `ivf` search visits.

    Raises:
        RequestError: unknown engine, empty bank, duplicate ids, or cells or probes out of range.
    """
    check_choice("engine", engine, ENGINES)
    return FaissIndex.build(bank, engine=engine, cells=cells, probes=probes)


def open_index(place: Path | str, *, model_hash: str | None = None, split_hash: str | None = None) -> Index:
    """Open an index and refuse it when it is damaged or stale.

    Args:
        place: an index folder, or an address such as `postgresql://host/database#name`.
        model_hash: hash of the model whose queries will come, or None to accept any.
        split_hash: the same for the split.

    Raises:
        RequestError: no index there, it is damaged, or an address of an unknown kind.
        StaleError: it belongs to another model or split.
        RunError: the data base cannot be reached, or fails.
    """
    return store_of(place).open(model_hash=model_hash, split_hash=split_hash)
