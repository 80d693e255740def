"""hamguard's own index as an engine: each code once, in a folder or at an address."""

from __future__ import annotations

import tempfile

import numpy as np

from hamguard import __version__
from hamguard.codes.bank import CodeBank
from hamguard.core.types import Array, Bytes, Ints
from hamguard.retrieval.forms.registry import register_form
from hamguard.retrieval.index import Index
from hamguard.retrieval.stores.registry import Store, store_of


class IndexForm:
    """An index of hamguard at a place, whose ids are the numbers.

    Args:
        place: folder, or address of a data base with a name of its own behind the #, which is built anew again and again.
    """

    exact = True
    bits: int

    def __init__(self, place: str) -> None:
        self._store: Store = store_of(place)
        self._index: Index | None = None
        self._place = place

    @property
    def arguments(self) -> tuple[str, ...]:
        """What another is made with; a password stays out of it."""
        return (self._store.shown,)

    def version(self) -> str:
        """Name and version."""
        return f"hamguard {__version__}"

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """A new index in the place of the old one."""
        spare = 8 * codes.shape[1] - bits
        self.bits = bits + spare * bool(
            len(codes) and (codes[:, -1] >> (8 - spare)).any()
        )  # the first bits are the high ones
        self._store.write(self._bank(codes, np.arange(len(codes)), labels))
        self._index = self._store.open()

    def search(self, query: Bytes, k: int) -> tuple[Ints, Ints]:
        """The k nearest; an index is never asked for more items than it has."""
        most = min(k, len(self._opened))
        return _padded(*self._opened.search(query, most), k)

    def within(self, query: Bytes, radius: int, k: int) -> tuple[Ints, Ints]:
        """The k nearest within a radius."""
        ball = self._opened.within(query, radius)
        places = ball.limits[:-1, None] + np.arange(max(1, int(np.diff(ball.limits).max(initial=0))))  # (Q, width)
        there, width = places < ball.limits[1:, None], places.shape[1]
        distances = np.where(there, np.pad(ball.distances, (0, width))[places], -1)
        ids = np.where(there, np.append(ball.ids, np.full(width, ""))[places], "")
        return _padded(distances[:, :k], ids[:, :k], k)

    def filtered(self, query: Bytes, k: int, label: int) -> tuple[Ints, Ints]:
        """The k nearest of a label."""
        return _padded(*self._opened.search(query, k, label=label), k)

    def add(self, codes: Bytes, numbers: Ints, labels: Ints) -> None:
        """Items with numbers of their own."""
        self._store.add(self._bank(codes, numbers, labels))
        self.reopen()

    def remove(self, numbers: Ints) -> None:
        """Items by number."""
        self._store.remove(numbers.astype(np.str_))
        self.reopen()

    def reopen(self) -> None:
        """Read by somebody who knows nothing of it."""
        self._store = store_of(self._place)
        self._index = self._store.open()

    @property
    def _opened(self) -> Index:
        assert self._index is not None, "build comes first"
        return self._index

    def _bank(self, codes: Bytes, numbers: Ints, labels: Ints) -> CodeBank:
        return CodeBank(codes, self.bits, np.eye(10, dtype=np.uint8)[labels], numbers.astype(np.str_))


def _padded(distances: Ints, ids: Array, k: int) -> tuple[Ints, Ints]:
    """Distances and numbers with k places; -1 where there is no item."""
    numbers = np.where(ids == "", "-1", ids).astype(np.int64)
    more = ((0, 0), (0, k - distances.shape[1]))
    return np.pad(distances, more, constant_values=-1), np.pad(numbers, more, constant_values=-1)


@register_form("hamguard")
class FolderForm(IndexForm):
    """The index that `hamguard index build --out FOLDER` writes: each code once, exact."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hamguard-engine-")
        super().__init__(f"{self._folder.name}/index")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Nothing: it makes a folder."""
        return ()

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()
