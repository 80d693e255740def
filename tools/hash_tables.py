"""What docs/photos.md says of heads on frozen features: tables and sentences made of the rows that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev

from figure_query import read_facts

from hamguard.core.rows import Row, read_rows
from hamguard.hashing.registry import OBJECTIVES, UNSUPERVISED
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table

NETWORKS = {"efficientnet_lite0": "Lite0", "mobilenet_v2_tf": "MobileNetV2"}
BITS = (16, 32, 64)
LEARNED = "query->learned codes"
FIRE = ("cisip-FIRe", "ImageNet-100", 64)
"""Source, data and bits of the printed figures that stand beside ours."""


@dataclass(frozen=True)
class Head:
    """One method on one network with one code length, over its seeds.

    Attributes:
        method: as rows call it.
        rows: one a seed.
    """

    method: str
    rows: Sequence[Row]

    @cached_property
    def value(self) -> float:
        """MAP, mean over seeds."""
        return mean(row.value or 0.0 for row in self.rows)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95% interval over queries, mean over seeds."""
        low, high = zip(*(row.ci95 for row in self.rows if row.ci95), strict=True)
        return mean(low), mean(high)

    @property
    def spread(self) -> str:
        """Standard deviation over seeds; nothing for one seed."""
        return f"{stdev(row.value or 0.0 for row in self.rows):.3f}" if len(self.rows) > 1 else ""

    @property
    def seconds(self) -> float:
        """Core-seconds of training, mean over seeds."""
        return mean(row.seconds or 0.0 for row in self.rows)

    @property
    def whole(self) -> str:
        """Value and interval."""
        return f"{self.value:.3f} ({self.interval[0]:.3f} .. {self.interval[1]:.3f})"


@dataclass(frozen=True)
class Heads:
    """All rows of one data set.

    Attributes:
        rows: of `benchmarks/hash_learning.py`.
    """

    rows: Sequence[Row]

    @classmethod
    def of(cls, root: Path, suite: str) -> Heads:
        """The recorded ones."""
        return cls([row for row in read_rows(root / "results" / f"hash_learning_{suite}.jsonl") if row.ci95])

    @property
    def floor(self) -> float:
        """MAP of random codes."""
        return mean(row.value or 0.0 for row in self.rows if row.metric == "random_map")

    def head(self, method: str, network: str, bits: int, task: str = "query->database") -> Head | None:
        """One cell; None where it is not recorded."""
        own = (method, network, bits, task, "map")
        rows = [row for row in self.rows if (row.method, row.backbone, row.bits, row.task, row.metric) == own]
        return Head(method, rows) if rows else None

    def best(self, network: str, bits: int, *, labels: bool = True) -> list[Head]:
        """Every method, the best first; those with labels, or those without."""
        names = dict.fromkeys(row.method for row in self.rows if row.method and takes_labels(row.method) == labels)
        heads = filter(None, (self.head(str(name), network, bits) for name in names))
        return sorted(heads, key=lambda head: -head.value)


def takes_labels(method: str) -> bool:
    """Whether a method of the benchmark learns from labels."""
    if method in UNSUPERVISED:
        return False
    return method.endswith("-labels") or method not in OBJECTIVES or OBJECTIVES[method].settings_type().needs_labels


def printed(method: str, root: Path) -> str:
    """What cisip-FIRe prints for a method; nothing where it prints none."""
    source, dataset, bits = FIRE
    for line in read_facts("published.csv", root):
        if line["source"].startswith(source) and (line["dataset"], line["method"], int(line["bits"])) == (
            dataset,
            method,
            bits,
        ):
            return f"{float(line['value']):.3f}"
    return ""


def head_tables(root: Path, suite: str, *, network: str, bits: int) -> list[str]:
    """One data set: all methods on one network and code length with intervals, then all networks and code lengths.

    Args:
        root: of the repository.
        suite: data set.
        network: that of the first table.
        bits: its code length.
    """
    heads = Heads.of(root, suite)
    both = [*heads.best(network, bits), *heads.best(network, bits, labels=False)]
    beside = bits == FIRE[2]
    seeds = sorted({len(head.rows) for head in both})
    lines = [
        f"{NETWORKS[network]}, {bits} bits, seeds: {' or '.join(map(str, seeds))}. Random codes have MAP {heads.floor:.3f}. "
        "Intervals are over queries, mean of the seeds.",
        "",
    ]
    columns = ["method", "learns from labels", "MAP (95% interval)", "deviation over seeds", "core-seconds of training"]
    cells = []
    for head in both:
        cell = [
            head.method,
            "yes" if takes_labels(head.method) else "no",
            head.whole,
            head.spread,
            f"{head.seconds:.1f}",
        ]
        cells.append([*cell, printed(head.method, root)] if beside else cell)
    if beside:
        columns.append("cisip-FIRe prints")
    lines += as_markdown(Table.of("", columns, cells))
    if learned := heads.head("adsh", network, bits, LEARNED):
        lines += ["", f"ADSH searched by its own learned codes of the training part: {learned.whole}."]
    where = [
        (name, count)
        for name in NETWORKS
        for count in BITS
        if heads.best(name, count) or heads.best(name, count, labels=False)
    ]
    if len(where) > 1:
        all_cells = []
        for head in both:
            row = [heads.head(head.method, *one) for one in where]
            all_cells.append([head.method, *("" if one is None else f"{one.value:.3f}" for one in row)])
        columns = ["method", *(f"{NETWORKS[name]}, {count} bits" for name, count in where)]
        lines += [
            "",
            "MAP of all networks and code lengths, mean of the seeds:",
            "",
            *as_markdown(Table.of("", columns, all_cells)),
        ]
    return lines


def coco_heads(root: Path) -> list[str]:
    """The part of docs/photos.md on `coco18`."""
    return head_tables(root, "coco18", network="efficientnet_lite0", bits=32)


def caltech_heads(root: Path) -> list[str]:
    """The part of docs/photos.md on `caltech98`."""
    return head_tables(root, "caltech98", network="efficientnet_lite0", bits=64)
