"""Cells of a study: pieces of work known by the content of what was asked, run once, found again after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamguard import __version__
from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.training.distributed import World, wait

Told = Callable[[str], None]


@dataclass(frozen=True)
class Cells:
    """A folder of finished cells.

    Attributes:
        folder: where they lie.
        told: is told which cell begins, and which was found finished.
        parent: process that wants the results; where it is gone, nothing more is begun. 0 for this one.
        world: processes that work on the same cells together.
    """

    folder: Path
    told: Told = lambda text: None
    parent: int = 0
    world: World = field(default_factory=World)

    def check(self) -> None:
        """Stop where nobody waits for the result any more.

        Raises:
            StoppedError: the process that began the study is gone.
        """
        if self.parent and os.getppid() != self.parent:
            raise StoppedError("the process that began this study is gone; the same command goes on from here")

    def path(self, name: str, facts: Any, suffix: str = ".jsonl") -> Path:
        """File of a cell: its name for people, the hash of all facts for us."""
        return self.folder / f"{name}-{digest_json([__version__, facts])}{suffix}"

    def rows(
        self, name: str, facts: Any, work: Callable[[], Sequence[Row]], *, beside: Sequence[Path] = ()
    ) -> list[Row]:
        """Rows of a cell: read where they lie, else worked out and kept.

        Args:
            name: what people call it.
            facts: everything that decides the result, as JSON.
            work: makes the rows, and what lies beside them.
            beside: files that belong to the cell; where one is gone, or is a damaged `.npz`, it is worked out again.
        """
        self.check()
        path = self.path(name, facts)
        found = self._kept(path) if all(_is_whole(one) for one in beside) else None
        wait(self.world)  # nobody writes before everybody has looked
        if found is not None:
            self.told(f"{name}: kept")
            return found
        self.told(name)
        rows = list(work())
        if self.world.leads:
            write_rows(path, rows)
        wait(self.world)
        return read_rows(path)  # what a second run would see

    def _kept(self, path: Path) -> list[Row] | None:
        """Rows of a finished cell; None where there are none, or they are damaged."""
        if not path.is_file():
            return None
        try:
            return read_rows(path) or None
        except RequestError:
            return None


def _is_whole(path: Path) -> bool:
    """Whether a file lies there and, where it holds arrays, can be read."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    try:
        return path.suffix != ".npz" or bool(read_npz(path, "figures of queries"))
    except RequestError:
        return False
