"""What a run needs beside what is asked for: where to compute, which seed, how progress is shown, where unfinished work lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.core.checks import check_range, received
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    import torch

Progress = Callable[[float, str], None]
"""Told the share of the work that is done, in [0, 1], and a text of a few words."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that share a run: `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


def silent(share: float, text: str = "") -> None:
    """Progress that nobody looks at."""


def counted(progress: Progress) -> Callable[[int, int], None]:
    """The same, told how many things are done and of how many."""
    return lambda done, total: progress(done / max(1, total), f"{done:,} of {total:,}")


@contextmanager
def no_bar(what: str) -> Iterator[Progress]:
    """A stage of a run that shows nothing."""
    yield silent


def always(progress: Progress) -> Callable[[str], AbstractContextManager[Progress]]:
    """Stages that all tell the same: `Context(stage=always(progress))`."""
    return lambda what: nullcontext(progress)


@dataclass(frozen=True)
class Context:
    """How a run is carried out; what is asked for (model, data, attack) never stands here.

    Attributes:
        device: where to compute.
        seed: seed of everything that is drawn.
        batch_size: images at once.
        restart: throw away what an earlier run left, instead of going on from there.
        work: folder for unfinished work; None for the user's cache.
        process_group: the processes that share the work.
        stage: opens a progress bar named after a stage: `with context.stage("encoding") as progress:`.
        tell: is given lines for a person, such as notes that stand in no row.

    Raises:
        RequestError: a batch size below 1, or a seed that is no whole number.
    """

    device: torch.device | str = "cpu"
    seed: int = 0
    batch_size: int = 64
    restart: bool = False
    work: Path | None = None
    process_group: ProcessGroup = ProcessGroup()
    stage: Callable[[str], AbstractContextManager[Progress]] = field(default=no_bar, repr=False)
    tell: Callable[[str], None] = field(default=lambda line: None, repr=False)

    def __post_init__(self) -> None:
        check_range("batch_size of the context", self.batch_size, 1)
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral):
            raise RequestError(f"seed of the context must be a whole number, got {received(self.seed)}")

    def but(self, **changes: Any) -> Context:
        """The same with some values changed."""
        return replace(self, **changes)
