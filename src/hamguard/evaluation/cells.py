"""Cells of a study: pieces of work known by the content of what was asked, run once, found again after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard import __version__
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.rows import Row, read_rows, write_rows

Told = Callable[[str], None]


@dataclass(frozen=True)
class Cells:
    """A folder of finished cells.

    Attributes:
        folder: where they lie.
        told: is told which cell begins, and which was found finished.
        parent: process that wants the results; where it is gone, nothing more is begun. 0 for this one.
    """

    folder: Path
    told: Told = lambda text: None
    parent: int = 0

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

    def rows(self, name: str, facts: Any, work: Callable[[], Sequence[Row]]) -> list[Row]:
        """Rows of a cell: read where they lie, else worked out and kept.

        Args:
            name: what people call it.
            facts: everything that decides the result, as JSON.
            work: makes the rows.
        """
        self.check()
        path = self.path(name, facts)
        if path.is_file():
            try:
                found = read_rows(path)
                self.told(f"{name}: kept")
                return found
            except RequestError:
                path.unlink()  # damaged: worked out again
        self.told(name)
        rows = list(work())
        write_rows(path, rows)
        return read_rows(path)  # what a second run would see
