"""Data sources by name: filled by two decorators on the functions that read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hamguard.core.registry import Registry

if TYPE_CHECKING:  # help texts ask for names, and torch is not theirs to load
    from hamguard.data.cache import Progress
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split


class Reader(Protocol):
    """Reads a named set below a data folder."""

    def __call__(self, folder: Path, *, size: int | None, progress: Progress | None) -> Dataset:
        """Read the set; `size` None keeps its usual size."""
        ...


class Opener(Protocol):
    """Opens a source that brings its own split (text lists)."""

    def __call__(
        self, folder: Path, *, size: int | None, progress: Progress | None, seed: int, pictures: bool
    ) -> tuple[Dataset, Split]:
        """Read the set and its split; without `pictures`, absent pictures are no error."""
        ...


@dataclass(frozen=True)
class Source:
    """A registered source.

    Attributes:
        name: how it is called, or the word before the colon.
        about: one line for lists and help.
        protocol: protocol where none is asked for; empty means `stored` where the data hold a split,
            `copies` where no two pictures share a label, else `seeded`.
        found: whether a data folder holds it; always true for sets that need no files.
        need: which files to put where below the data folder.
        takes_path: written as `name:PATH`.
        read: reads the set; the split is drawn by a protocol.
        open: reads set and split together, for sets that come as lists.
        remark: what a list of sources should add about a folder that holds the set, e.g. that pictures are absent.
    """

    name: str
    about: str
    protocol: str
    found: Callable[[Path], bool]
    need: str = ""
    takes_path: bool = False
    read: Reader | None = None
    open: Opener | None = None
    remark: Callable[[Path], str] = lambda folder: ""


SOURCES: Registry[Source] = Registry(
    "data source", "hamguard.data", decorator=("source", "list_source"), public="register_source"
)

R = TypeVar("R", bound=Reader)
L = TypeVar("L", bound=Opener)


def one_file(path: str) -> dict[str, Any]:
    """`found` and `need` of a source that is read from one file below the data folder."""
    return {"found": lambda folder: (folder / path).is_file(), "need": path}


def source(
    name: str,
    about: str,
    *,
    protocol: str = "",
    found: Callable[[Path], bool] = lambda folder: True,
    need: str = "",
    takes_path: bool = False,
) -> Callable[[R], R]:
    """Register a function that reads a data set; its split is drawn by a protocol.

    Args:
        name: how it is called, or the word before the colon.
        about: one line for lists and help.
        protocol: protocol where none is asked for; empty means `stored` where the data hold a split,
            `copies` where no two pictures share a label, else `seeded`.
        found: whether a data folder holds it.
        need: which files to put where below the data folder; empty where no files are needed.
        takes_path: written as `name:PATH`.

    Raises:
        RequestError: the name is taken by another one.
    """

    def register(read: R) -> R:
        SOURCES.enter(name, Source(name, about, protocol, found, need, takes_path, read=read), read)
        return read

    return register


def list_source(
    name: str,
    about: str,
    *,
    found: Callable[[Path], bool] = lambda folder: True,
    need: str = "",
    takes_path: bool = False,
    remark: Callable[[Path], str] = lambda folder: "",
) -> Callable[[L], L]:
    """Register a function that reads a data set together with its split; arguments as in `source`.

    Raises:
        RequestError: the name is taken by another one.
    """

    def register(open_lists: L) -> L:
        made = Source(name, about, "listed", found, need, takes_path, open=open_lists, remark=remark)
        SOURCES.enter(name, made, open_lists)
        return open_lists

    return register
