"""Cells of a study: pieces of work known by the content of what was asked, run once, found again after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamguard import __version__
from hamguard.core.context import Context, ProcessGroup, Progress
from hamguard.core.digests import digest_file, digest_json
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.rows import Row, read_rows, read_sealed_rows, write_rows
from hamguard.evaluation.per_query import VALUES, Kept, keeping
from hamguard.training.distributed import wait


@dataclass(frozen=True)
class Cells:
    """A folder of finished cells.

    Attributes:
        folder: where they lie.
        context: its `tell` is told which cell begins, and which was found finished; its processes work on the same cells together.
        parent: process that wants the results; where it is gone, nothing more is begun. 0 for this one.
        per_query: keep the figure of every query beside the rows, too.
    """

    folder: Path
    context: Context = field(default_factory=Context)
    parent: int = 0
    per_query: bool = True

    @property
    def kept(self) -> Kept:
        """Figures of the queries behind the means of all rows."""
        return Kept(self.folder / "values")

    @property
    def process_group(self) -> ProcessGroup:
        """The processes that work on the same cells together."""
        return self.context.process_group

    def tell(self, text: str) -> None:
        """Say a line to whoever watches."""
        self.context.tell(text)

    def check(self) -> None:
        """Stop where nobody waits for the result any more.

        Raises:
            StoppedError: the process that began the study is gone.
        """
        if self.parent and os.getppid() != self.parent:
            raise StoppedError("the process that began this study is gone; the same command goes on from here")

    def watching(self, name: str = "") -> Context:
        """How work inside a cell is carried out: it stops where nobody waits any more.

        Args:
            name: said once the work begins, for work that may turn out to be finished already; nothing where not given.
        """
        left = [name] if name else []

        def progress(share: float, text: str = "") -> None:
            if left:
                self.tell(left.pop())
            self.check()

        @contextmanager
        def stage(what: str) -> Iterator[Progress]:
            yield progress

        return self.context.but(stage=stage)

    def path(self, name: str, facts: Any, suffix: str = ".jsonl") -> Path:
        """File of a cell: its name for people, the hash of all facts for us."""
        return self.folder / f"{name}-{digest_json([__version__, facts])}{suffix}"

    def rows(
        self, name: str, facts: Any, work: Callable[[], Sequence[Row]], *, beside: Sequence[Path] = ()
    ) -> list[Row]:
        """Rows of a cell, and the figures of their queries: read where they lie, else worked out and kept.

        Args:
            name: what people call it.
            facts: everything that decides the result, as JSON.
            work: makes the rows, and what lies beside them.
            beside: files that belong to the cell; where one is gone or changed, it is worked out again, as where figures of queries
                are.
        """
        self.check()
        path = self.path(name, facts)
        found = _kept(path, beside, self.kept if self.per_query else None)
        wait(self.process_group)  # nobody writes before everybody has looked
        if found is not None:
            self.tell(f"{name}: kept")
            return found
        self.tell(name)
        if self.per_query:
            with keeping() as values:
                rows = list(work())
        else:
            rows, values = list(work()), {}
        if self.process_group.leads:
            named = {row.hashes.get(VALUES) for row in rows}
            self.kept.write({digest: each for digest, each in values.items() if digest in named})
            seal = {"cell": path.name, "beside": {one.name: _mark(one) for one in beside}}
            write_rows(path, rows, seal={**seal, **({VALUES: True} if self.per_query else {})})
        wait(self.process_group)
        return read_rows(path)  # what a second run would see

    def facts(self, name: str, facts: Any, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Facts of a cell that are no rows, as JSON: read where they lie, else worked out and kept; nothing is told of them.

        Args:
            name: what people call it.
            facts: everything that decides the result, as JSON.
            work: makes them.
        """
        self.check()
        path = self.path(name, facts, ".json")
        try:
            found = read_sealed(path, "cell")
        except RequestError:
            found = {}
        if found.get("cell") != path.name:
            found = {"cell": path.name, **work()}
            if self.process_group.leads:
                write_sealed(path, found)
        return found


def _kept(path: Path, beside: Sequence[Path], values: Kept | None) -> list[Row] | None:
    """Rows of a finished cell; None where there are none, or they or what lies beside them are not what was written.

    A cell that was written without the figures of its queries is none where `values` are asked for.
    """
    try:
        rows, facts = read_sealed_rows(path)
        told = facts.get("beside")
        if (
            facts.get("cell") != path.name
            or not isinstance(told, dict)
            or not {one.name for one in beside} <= set(told)
        ):
            return None
        if values is not None and not (facts.get(VALUES) and values.has(rows)):
            return None
        whole = all(told[one.name][0] == one.stat().st_size and told[one.name] == _mark(one) for one in beside)
    except (RequestError, OSError, TypeError, IndexError):
        return None
    return rows if rows and whole else None


def _mark(path: Path) -> list[int | str]:
    """Size and hash of a file; the size is compared first, because a hole of any length is hashed byte by byte."""
    return [path.stat().st_size, digest_file(path)]
