"""The codes that a word names: a bank, a file of codes, or an index."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.evaluation.search.foreign_codes import read_bank
from hamguard.retrieval.engines import open_index
from hamguard.retrieval.stores.registry import store_of


class HeldCodes(NamedTuple):
    """Codes, and what rows say of them.

    Attributes:
        bank: the codes with their ids.
        name: what they are called; None for a bank that is given as it is.
        hashes: of the codes, and of model and split where they say these.
        notes: what a reader must know.
    """

    bank: CodeBank
    name: str | None
    hashes: dict[str, str]
    notes: tuple[str, ...]


def held_codes(source: CodeBank | Path | str) -> HeldCodes:
    """Codes that are given, or that lie in a file or an index.

    Args:
        source: a bank; a file of codes (.npz); or an index, a folder or an address.

    Raises:
        RequestError: no such file or index, one that is damaged or holds something else, or no codes at all.
        RunError: a data base cannot be reached, or fails.
    """
    bank, name, notes = _opened(source)
    if not len(bank):
        raise RequestError("there are no codes to compare")
    known = {"model": bank.model_hash, "split": bank.split_hash, "database_codes": bank.digest}
    return HeldCodes(bank, name, {key: value for key, value in known.items() if value}, notes)


def _opened(source: CodeBank | Path | str) -> tuple[CodeBank, str | None, tuple[str, ...]]:
    if isinstance(source, CodeBank):
        return source, None, ()
    if Path(source).suffix == ".npz":
        bank, notes = read_bank(source)
        return bank, str(source), notes
    return open_index(source).bank(), store_of(source).shown, ()
