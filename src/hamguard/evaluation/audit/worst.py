"""The worst that was found for each query: its attacked picture and its average precision."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.evaluation.audit.plan import Gradients

REACHED = 1e-4
"""A query no further above its floor than that is done: no attack of the battery could still move a figure that is read."""


@dataclass(frozen=True)
class Stage:
    """What one stage of the audit did.

    Attributes:
        name: of the stage.
        kind: `gradient`, `transfer` or `answers`.
        numbers: queries that it attacked, `(n,)`.
        ap: their average precision under it, `(n,)`.
        after: mean of the worst average precisions of all queries once it was done.
        forwards: forward passes spent on each, `(n,)`; for `answers`, pictures asked.
        backwards: backward passes, `(n,)`.
        seconds: time that it took.
        guide: guide of a gradient stage.
        loss: loss of a gradient stage.
        steps: gradients from one start.
        restarts: starts.
        gradients: what they were taken from, see `plan.Gradients`.
    """

    name: str
    kind: str
    numbers: Ints
    ap: Floats
    after: float
    forwards: Ints
    backwards: Ints
    seconds: float
    guide: str = ""
    loss: str = ""
    steps: int = 0
    restarts: int = 0
    gradients: Gradients = "rescaled"


@dataclass
class Worst:
    """Worst case so far.

    Attributes:
        clean: average precision of the clean queries, `(Q,)`.
        floor: average precision of the worst guide code itself, `(Q,)`: where an attack that follows its guide ends.
        pixels: the worst pictures, `(Q, H, W)` or `(Q, H, W, 3)` uint8; the clean ones at first.
        ap: their average precision, `(Q,)`.
        by: number of the stage that made them, `(Q,)`; -1 where the clean picture is the worst.
        stages: what was done.
    """

    clean: Floats
    floor: Floats
    pixels: Bytes
    ap: Floats = field(init=False)
    by: Ints = field(init=False)
    stages: list[Stage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pixels = self.pixels.copy()
        self.ap = self.clean.copy()
        self.by = np.full(len(self.clean), -1, dtype=np.int64)

    @property
    def open(self) -> Ints:
        """Numbers of the queries that still hold: more than `REACHED` above their floor, `(n,)`."""
        return np.flatnonzero(self.ap > self.floor + REACHED)

    def offer(self, numbers: Ints, pixels: Bytes, ap: Floats) -> None:
        """Keep the pictures that are worse than what there was; they come from the stage that is noted next."""
        worse = ap < self.ap[numbers]
        to = numbers[worse]
        self.pixels[to], self.ap[to], self.by[to] = pixels[worse], ap[worse], len(self.stages)

    def note(
        self, name: str, kind: str, numbers: Ints, ap: Floats, spent: tuple[Ints, Ints, float], **facts: object
    ) -> Stage:
        """Enter a stage."""
        stage = Stage(name, kind, numbers, ap, float(self.ap.mean()), *spent, **facts)  # type: ignore[arg-type]
        self.stages.append(stage)
        return stage

    def under(self, kind: str) -> Floats:
        """Least average precision of each query over the stages of a kind, the clean one included, `(Q,)`."""
        least = self.clean.copy()
        for stage in self.stages:
            if stage.kind == kind:
                least[stage.numbers] = np.minimum(least[stage.numbers], stage.ap)
        return least

    def label_free(self) -> Floats:
        """The same over the stages that see no label."""
        least = self.clean.copy()
        for stage in self.stages:
            if stage.guide in ("", "own"):
                least[stage.numbers] = np.minimum(least[stage.numbers], stage.ap)
        return least


def spent_by(stages: list[Stage], count: int) -> tuple[Array, Array]:
    """Forward and backward passes of all stages on each of `count` queries, `(Q,)` each; pictures asked count as forwards."""
    forwards, backwards = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for stage in stages:
        forwards[stage.numbers] += stage.forwards
        backwards[stage.numbers] += stage.backwards
    return forwards, backwards
