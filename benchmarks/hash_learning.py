"""Learn every hash method on a real data set and write rows and a table, published values beside ours.

    uv run python benchmarks/hash_learning.py fashion-mnist --seeds 3

Settings are the defaults that `hamguard train` uses. A cell that stands in the rows already is not run again, so a stopped
run goes on where it was. Training time is process time of all threads; run with OMP_NUM_THREADS=1 for core-seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from hamguard.core.context import Context
from hamguard.core.errors import HamguardError
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.model_rows import model_rows
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job

RESULTS = Path(__file__).parent.parent / "results"
SEVEN = ["csq", "adsh", "dsdh", "dpsh", "dph", "hashnet", "dsh"]

# what recipes/small/fashion-products.toml says
PRODUCTS = ["backbone=conv8", "epochs=30", "batch_size=50", "lr=0.003", "schedule=one-cycle", "augment=shift-flip"]

SUITES = {
    "fashion-mnist": {"methods": SEVEN, "bits": 16, "queries": 1000, "sets": []},
    "cifar10": {"methods": ["csq", "dpsh"], "bits": 32, "queries": 1000, "sets": ["backbone=resnet20"]},
    "fashion-products": {"methods": ["dpsh"], "bits": 32, "queries": None, "sets": PRODUCTS},
    "scenes": {"methods": ["dpsh", "csq"], "bits": 32, "queries": None, "sets": []},
    "digits": {"methods": SEVEN, "bits": 32, "queries": None, "sets": []},
}

# Published MAP at 16 bits: PPL (AAAI 2021), Table 1, C->C, which says neither the cut-off nor how ADSH codes its database.
PUBLISHED = {("fashion-mnist", "adsh"): 0.9007, ("fashion-mnist", "dsdh"): 0.6978}


def run_cell(suite: str, method: str, seed: int, folder: Path, weights: str | None) -> list[Row]:
    """Train and score one model; its rows carry the process time of training in `seconds`."""
    facts = SUITES[suite]
    flags = {
        "data.source": suite,
        "method": method,
        "model.bits": facts["bits"],
        "model.weights": weights,
        "seed": seed,
    }
    request = read_job({}, flags, facts["sets"])
    data = Data.open(suite, protocol=request.data.protocol)
    begun = time.process_time()
    result = run_job(request, data, folder, context=Context(restart=True))
    spent = time.process_time() - begun
    name = str(folder)
    loaded = Loaded(name, result.model, result.card)
    ground = Ground.open(loaded, data, queries=facts["queries"], context=Context(seed=seed))
    rows = model_rows(ground, metrics=["map"], learned=method == "adsh")
    return [
        replace(row, model=f"{method} seed {seed}" if row.model == name else row.model, seconds=round(spent, 1))
        for row in rows
    ]


def table(suite: str, rows: list[Row]) -> str:
    """Markdown: mean over seeds, spread, core-minutes, published value and difference."""
    lines = [
        "| method | database codes | MAP, mean of seeds | each seed | training core-min | published | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.method:
            groups.setdefault((row.method, str(row.task)), []).append(row)
    for (method, task), found in groups.items():
        values = [row.value or 0.0 for row in found]
        mean = statistics.mean(values)
        known = PUBLISHED.get((suite, method))
        listed = " ".join(f"{value:.3f}" for value in values)
        minutes = statistics.mean([row.seconds or 0.0 for row in found]) / 60
        codes = "learned (training part)" if "learned" in task else "network"
        beside = ("", "") if known is None else (f"{known:.3f}", f"{mean - known:+.3f}")
        lines.append(f"| {method} | {codes} | **{mean:.3f}** | {listed} | {minutes:.1f} | {beside[0]} | {beside[1]} |")
    floor = [row.value or 0.0 for row in rows if row.model == "random codes"]
    if floor:
        lines.append(f"| random codes | | {statistics.mean(floor):.3f} | | | | |")
    return "\n".join(lines)


def main() -> int:
    """Run the cells that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=list(SUITES))
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", help="initial weights (.safetensors), for cifar10")
    parser.add_argument("--models", type=Path, default=Path("models/hash_learning"), help="where the models go")
    parser.add_argument("--out", type=Path, help="rows file; default results/hash_learning_SUITE.jsonl")
    parser.add_argument("--table", action="store_true", help="only print the table of the rows that are there")
    args = parser.parse_args()
    out = args.out or RESULTS / f"hash_learning_{args.suite}.jsonl"
    rows = read_rows(out) if out.exists() else []
    done = {(row.method, row.seed) for row in rows if row.method}
    for seed in range(args.seeds):
        for method in args.methods or SUITES[args.suite]["methods"]:
            if (method, seed) in done or args.table:
                continue
            try:
                new = run_cell(args.suite, method, seed, args.models / f"{args.suite}-{method}-{seed}", args.weights)
            except HamguardError as error:
                print(f"{method} seed {seed}: {error}", file=sys.stderr)
                return 1
            rows += new
            write_rows(out, rows)
            print(
                f"{method} seed {seed}: " + ", ".join(f"{r.task} {r.value:.4f}" for r in new),
                file=sys.stderr,
                flush=True,
            )
    print(table(args.suite, rows))
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        print(f"\nNote: {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
