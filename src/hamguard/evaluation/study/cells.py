"""Cells of a study: pieces of work known by the content of what was asked, run once, found again after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamguard import __version__
from hamguard.core.context import ProcessGroup
from hamguard.core.digests import digest_file, digest_json
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.rows import Row, read_rows, read_sealed_rows, write_rows
from hamguard.training.distributed import wait

Told = Callable[[str], None]


@dataclass(frozen=True)
class Cells:
    """A folder of finished cells.

    Attributes:
        folder: where they lie.
        told: is told which cell begins, and which was found finished.
        parent: process that wants the results; where it is gone, nothing more is begun. 0 for this one.
        process_group: processes that work on the same cells together.
    """

    folder: Path
    told: Told = lambda text: None
    parent: int = 0
    process_group: ProcessGroup = field(default_factory=ProcessGroup)

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
            beside: files that belong to the cell; where one is gone or changed, it is worked out again.
        """
        self.check()
        path = self.path(name, facts)
        found = _kept(path, beside)
        wait(self.process_group)  # nobody writes before everybody has looked
        if found is not None:
            self.told(f"{name}: kept")
            return found
        self.told(name)
        rows = list(work())
        if self.process_group.leads:
            write_rows(path, rows, seal={"cell": path.name, "beside": {one.name: _mark(one) for one in beside}})
        wait(self.process_group)
        return read_rows(path)  # what a second run would see


def _kept(path: Path, beside: Sequence[Path]) -> list[Row] | None:
    """Rows of a finished cell; None where there are none, or they or what lies beside them are not what was written."""
    try:
        rows, facts = read_sealed_rows(path)
        told = facts.get("beside")
        if facts.get("cell") != path.name or not isinstance(told, dict) or set(told) != {one.name for one in beside}:
            return None
        whole = all(told[one.name][0] == one.stat().st_size and told[one.name] == _mark(one) for one in beside)
    except (RequestError, OSError, TypeError, IndexError):
        return None
    return rows if rows and whole else None


def _mark(path: Path) -> list[int | str]:
    """Size and hash of a file; the size is compared first, because a hole of any length is hashed byte by byte."""
    return [path.stat().st_size, digest_file(path)]
