"""An index in a folder, which is read whole and searched by faiss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hamguard.codes.bank import CodeBank
from hamguard.core.files import updating
from hamguard.core.types import Array
from hamguard.retrieval.faiss_index import FaissIndex
from hamguard.retrieval.index_file import FolderFacts
from hamguard.retrieval.origin import read_origin, write_origin
from hamguard.retrieval.stores.registry import register_store


class FolderStore:
    """A folder, in which an index lies or will.

    Args:
        folder: its path.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def shown(self) -> str:
        """The path."""
        return str(self.folder)

    def open(self, *, model_hash: str | None = None, split_hash: str | None = None) -> FaissIndex:
        """Read the index.

        Raises:
            RequestError: no index there, or it is damaged.
            StaleError: it belongs to another model or split.
        """
        return FaissIndex.load(self.folder, model_hash=model_hash, split_hash=split_hash)

    def write(self, bank: CodeBank, *, engine: str = "flat", origin: dict[str, Any] | None = None) -> None:
        """Build an index of a bank and write it in the place of an older one.

        Raises:
            RequestError: codes or ids that make no index.
            RunError: the folder cannot be written.
        """
        FaissIndex.build(bank, engine=engine).save(self.folder)
        write_origin(self.folder, origin or {})

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank, while no other writer changes the folder.

        Raises:
            RequestError: as `FaissIndex.add`, or no index there.
        """
        self._change(lambda index: index.add(bank))

    def remove(self, ids: Array) -> None:
        """Remove items, while no other writer changes the folder.

        Raises:
            RequestError: as `FaissIndex.remove`, or no index there.
        """
        self._change(lambda index: index.remove(ids))

    def _change(self, work: Callable[[FaissIndex], None]) -> None:
        with updating(self.folder):
            index = self.open()
            work(index)
            index.save(self.folder)

    def origin(self) -> dict[str, Any]:
        """Model and data that the codes came from.

        Raises:
            DamagedError: they were written down, and are not as they were written.
        """
        return read_origin(self.folder)

    def bytes(self) -> int:
        """Size of the file of codes."""
        return (self.folder / FolderFacts.load(self.folder).file).stat().st_size


@register_store("folder")
def folder(place: str) -> FolderStore:
    """A folder on this machine, searched by faiss."""
    return FolderStore(place)
