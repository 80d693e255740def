"""Kinds of places that keep an index, by the scheme of their addresses; `folder` is what has no scheme."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from hamguard.codes.bank import CodeBank
from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry
from hamguard.core.types import Array
from hamguard.retrieval.index import Index
from hamguard.retrieval.stores.address import hidden, is_address


class Store(Protocol):
    """A place that keeps an index, or will. A change takes place whole or not at all, also beside others that read or write."""

    @property
    def shown(self) -> str:
        """The place as messages and rows may hold it: without a password."""

    def open(self, *, model_hash: str | None = None, split_hash: str | None = None) -> Index:
        """The index; refused where it is damaged, or of another model or split."""

    def write(self, bank: CodeBank, *, engine: str = "flat", origin: dict[str, Any] | None = None) -> None:
        """Build an index of a bank here, in the place of what stood here."""

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank to the index."""

    def remove(self, ids: Array) -> None:
        """Remove items from the index."""

    def origin(self) -> dict[str, Any]:
        """Model and data that the codes came from; empty where nobody wrote it down."""

    def bytes(self) -> int:
        """Size of the codes and items that are kept."""


MakeStore: TypeAlias = Callable[[str], Store]
STORES: Registry[MakeStore] = Registry(
    "kind of index", "hamguard.retrieval.stores", decorator="register_store", first=("folder",)
)
register_store = STORES.register


def store_of(place: Path | str) -> Store:
    """What keeps an index at a folder or an address.

    Raises:
        RequestError: no such kind of address, or what it needs is not installed.
    """
    if not is_address(place):
        return STORES["folder"](str(place))
    scheme = str(place).partition("://")[0]
    names = [name for name in STORES.names() if name != "folder"]
    if scheme not in names:
        raise RequestError(
            f"{hidden(str(place))}: an index is kept in a folder, or at {', '.join(f'{name}://' for name in names)}"
            f"{suggest(scheme, names)}"
        )
    return STORES[scheme](str(place))
