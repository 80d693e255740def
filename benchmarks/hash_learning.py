"""Learn every hash method on a real data set and write rows and a table, published values beside ours.

    uv run python benchmarks/hash_learning.py fashion-mnist --seeds 3
    uv run python benchmarks/hash_learning.py coco18 caltech98

Settings are the defaults that `hamguard train` uses. `coco18` and `caltech98` learn heads on frozen features, as
`hamguard train --freeze` does. Every method visits as many pictures there, in batches of one size; lsh, pca, itq and
hashing-baseline are fitted in one pass.

A cell that stands in the rows already is not run again, so a stopped run goes on where it was; one whose settings have changed
since is. Training time is process time of all threads, without computing features; run with OMP_NUM_THREADS=1 for core-seconds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from hamguard.core.context import Context
from hamguard.core.errors import HamguardError
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.model_rows import model_rows
from hamguard.hashing.registry import UNSUPERVISED
from hamguard.trainers.job import Job
from hamguard.trainers.networks import build_model
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job
from hamguard.training.features import frozen_features

RESULTS = Path(__file__).parent.parent / "results"
SEVEN = ("csq", "adsh", "dsdh", "dpsh", "dph", "hashnet", "dsh")
HEADS = (
    *SEVEN, "orthohash", "orthohash-arc", "dpn", "greedyhash", "bihalf-labels",
    "bihalf", "cibhash", "itq", "hashing-baseline", "pca", "lsh",
)  # fmt: skip
VARIANTS = {"orthohash-arc": ("orthohash", {"form": "arc"}), "bihalf-labels": ("bihalf", {"fits": "labels"})}
"""Methods that have two forms, by what rows call the other one: method and settings."""
LITE, MOBILE = "efficientnet_lite0", "mobilenet_v2_tf"

# what recipes/small/fashion-products.toml says
PRODUCTS = ("backbone=conv8", "epochs=30", "batch_size=50", "lr=0.003", "schedule=one-cycle", "augment=shift-flip")


@dataclass(frozen=True)
class Suite:
    """What is learned on one data set.

    Attributes:
        methods: names, those of `VARIANTS` among them.
        stages: network (None for the default) and bits, in the order in which they run.
        queries: the first so many; None for all.
        sets: more words of the recipe.
        heads: heads on frozen features at equal cost.
    """

    methods: Sequence[str]
    stages: Sequence[tuple[str | None, int]]
    queries: int | None = None
    sets: Sequence[str] = ()
    heads: bool = False


SUITES = {
    "fashion-mnist": Suite(SEVEN, [(None, 16)], queries=1000),
    "cifar10": Suite(["csq", "dpsh"], [("resnet20", 32)], queries=1000),
    "fashion-products": Suite(["dpsh"], [("conv8", 32)], sets=PRODUCTS),
    "scenes": Suite(["dpsh", "csq"], [(None, 32)]),
    "digits": Suite(SEVEN, [(None, 32)]),
    "coco18": Suite(HEADS, [(LITE, 32), (LITE, 16), (LITE, 64), (MOBILE, 32), (MOBILE, 16), (MOBILE, 64)], heads=True),
    "caltech98": Suite(
        HEADS, [(LITE, 64), (LITE, 32), (LITE, 16), (MOBILE, 64), (MOBILE, 32), (MOBILE, 16)], heads=True
    ),
}

# Published MAP at 16 bits: PPL (AAAI 2021), Table 1, C->C, which says neither the cut-off nor how ADSH codes its database.
PUBLISHED = {("fashion-mnist", "adsh"): 0.9007, ("fashion-mnist", "dsdh"): 0.6978}


@dataclass(frozen=True)
class Cell:
    """One model to learn and score."""

    suite: str
    network: str | None
    bits: int
    method: str
    seed: int
    weights: str | None = None
    facts: Suite = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", SUITES[self.suite])

    def __str__(self) -> str:
        return f"{self.suite} {self.network or ''} {self.bits} bits {self.method} seed {self.seed}".replace("  ", " ")

    def wrote(self, row: Row) -> bool:
        """Whether a row is this cell's, whatever its settings were."""
        own = (self.method, self.seed, self.bits)
        return (row.method, row.seed, row.bits) == own and self.network in (None, row.backbone)

    def job(self) -> Job:
        """What `hamguard train` would be told."""
        method, settings = VARIANTS.get(self.method, (self.method, {}))
        flags = {
            "data.source": self.suite,
            "method": method,
            "model.backbone": self.network,
            "model.bits": self.bits,
            "model.weights": self.weights,
            "seed": self.seed,
        }
        if self.facts.heads and method not in UNSUPERVISED:
            flags |= {
                "training.freeze": True,
                **({"training.epochs": equal_epochs(self.suite)} if method == "adsh" else {}),
            }
        return read_job({}, flags, [*self.facts.sets, *(f"{key}={value}" for key, value in settings.items())])


@cache
def opened(suite: str) -> Data:
    """The data of a suite."""
    return Data.open(suite)


def equal_epochs(suite: str) -> int:
    """Epochs of ADSH, in whole outer iterations, in which it visits as many pictures as the others do in theirs."""
    own, other = (read_job({}, {"method": method, "data.source": suite}) for method in ("adsh", "csq"))
    learned, inner = len(opened(suite).split.train), own.parsed.inner
    return int(round(other.training.epochs * learned / min(own.parsed.omega, learned) / inner) * inner)


@cache
def keep_features(suite: str, network: str) -> None:
    """Have the features of a frozen network kept, so that no head's time is theirs."""
    data = opened(suite)
    model = build_model(read_job({}, {"model.backbone": network}).network, 0, data)
    print(f"{suite}: features of {network}", file=sys.stderr, flush=True)
    frozen_features(model, data.dataset.images, np.arange(len(data.dataset.images)))


def run_cell(cell: Cell, folder: Path) -> list[Row]:
    """Train and score one model; its rows carry the process time of training in `seconds`."""
    data, job = opened(cell.suite), cell.job()
    if cell.facts.heads and cell.network:
        keep_features(cell.suite, cell.network)
    begun = time.process_time()
    result = run_job(job, data, folder, context=Context(restart=True))
    spent = time.process_time() - begun
    name = str(folder)
    loaded = Loaded(name, result.model, result.card)
    ground = Ground.open(loaded, data, queries=cell.facts.queries, context=Context(seed=cell.seed))
    rows = model_rows(ground, metrics=["map"], learned=cell.method == "adsh")
    return [
        replace(
            row,
            model=f"{cell.method} seed {cell.seed}" if row.model == name else row.model,
            method=cell.method if row.model == name else row.method,
            seconds=round(spent, 1),
            hashes={**row.hashes, "job": job.digest},
        )
        for row in rows
    ]


def cells(suites: Sequence[str], args: argparse.Namespace) -> Iterator[Cell]:
    """All cells that were asked for: first stages first, then methods, seeds last."""
    for stages in itertools.zip_longest(*([(name, stage) for stage in SUITES[name].stages] for name in suites)):
        for name, (network, bits) in filter(None, stages):
            if network in (args.networks or [network]) and bits in (args.bits or [bits]):
                for seed, method in itertools.product(range(args.seeds), args.methods or SUITES[name].methods):
                    yield Cell(name, network, bits, method, seed, args.weights)


def table(suite: str, rows: list[Row]) -> str:
    """Markdown: mean over seeds, spread, core-seconds, published value and difference."""
    lines = [
        "| network | bits | method | database codes | MAP, mean of seeds | each seed | training core-s | published | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, int, str, str], list[Row]] = {}
    for row in rows:
        if row.method:
            groups.setdefault((str(row.backbone), row.bits or 0, row.method, str(row.task)), []).append(row)
    for (network, bits, method, task), group in groups.items():
        values = [row.value or 0.0 for row in group]
        mean = statistics.mean(values)
        known = PUBLISHED.get((suite, method))
        listed = " ".join(f"{value:.3f}" for value in values)
        seconds = statistics.mean([row.seconds or 0.0 for row in group])
        codes = "learned (training part)" if "learned" in task else "network"
        beside = ("", "") if known is None else (f"{known:.3f}", f"{mean - known:+.3f}")
        said = [network, str(bits), method, codes, f"**{mean:.3f}**", listed, f"{seconds:,.1f}", *beside]
        lines.append(f"| {' | '.join(said)} |")
    floor = [row.value or 0.0 for row in rows if row.model == "random codes"]
    if floor:
        lines.append(f"| | | random codes | | {statistics.mean(floor):.3f} | | | | |")
    return "\n".join(lines)


def main() -> int:
    """Run the cells that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="+", choices=list(SUITES), metavar="suite", help=", ".join(SUITES))
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--networks", nargs="+", help="of the suite's networks")
    parser.add_argument("--bits", nargs="+", type=int, help="of the suite's code lengths")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", help="initial weights (.safetensors), for cifar10")
    parser.add_argument("--models", type=Path, default=Path("models/hash_learning"), help="where the models go")
    parser.add_argument("--out", type=Path, help="folder of the rows files hash_learning_SUITE.jsonl; default results")
    parser.add_argument("--table", action="store_true", help="only print the tables of the rows that are there")
    args = parser.parse_args()
    files = {suite: (args.out or RESULTS) / f"hash_learning_{suite}.jsonl" for suite in args.suites}
    rows = {suite: read_rows(path) if path.exists() else [] for suite, path in files.items()}
    for cell in () if args.table else cells(args.suites, args):
        kept = rows[cell.suite]
        try:
            job = cell.job().digest
            if any(cell.wrote(row) and row.hashes.get("job", job) == job for row in kept):
                continue
            place = "-".join(filter(None, [cell.suite, cell.network, str(cell.bits), cell.method, str(cell.seed)]))
            new = run_cell(cell, args.models / place)
        except HamguardError as error:
            print(f"{cell}: {error}", file=sys.stderr)
            return 1
        known = {row.bits for row in kept if row.method is None}  # random codes are asked for once
        new = [row for row in new if row.method or row.bits not in known]
        rows[cell.suite] = [row for row in kept if not cell.wrote(row)] + new
        write_rows(files[cell.suite], rows[cell.suite])
        print(f"{cell}: " + ", ".join(f"{r.task} {r.value:.4f}" for r in new), file=sys.stderr, flush=True)
    for suite in args.suites:
        print(table(suite, list(rows[suite])))
        for note in dict.fromkeys(note for row in rows[suite] for note in row.notes):
            print(f"\nNote: {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
