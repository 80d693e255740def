"""Cost of the ranking metrics on the field's protocol sizes, against the field's usual code in the same run.

    uv run python benchmarks/metrics.py [--json] [--protocol NAME] [--quick] [--out FILE.md]

Everything runs on one thread and is measured in CPU seconds of this process (best of three), so other programs on the
machine disturb little. Codes are synthetic: clustered 64-bit codes with labels that follow the clusters. The usual code
is our transcription of `CalcMap` (float codes, product, argsort, positions of hits); it is measured on a few queries
and scaled to all. Compiling is excluded by a warm-up on the same types. `extra_mib` is the growth of the process's
resident memory above its level before the call, sampled every millisecond in a second thread during a run of its own
before any timed run (the result, (Q, K + 1) counts, is included), or the peak of traced allocations where that is
larger.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is loaded: one core for everyone

import argparse
import contextlib
import ctypes
import gc
import json
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from processor import processor

from hamguard.codes.binary import unpack
from hamguard.codes.histograms import distance_histograms
from hamguard.codes.labeled import Codes
from hamguard.retrieval.metrics import average_precision

BITS = 64


@dataclass(frozen=True)
class Protocol:
    """Sizes of a protocol: queries, database, classes, mean labels an item (1 is one-hot)."""

    queries: int
    database: int
    classes: int
    labels: float


PROTOCOLS = {
    "flickr25k": Protocol(1_700, 23_300, 38, 4.7),
    "cifar10": Protocol(1_000, 59_000, 10, 1),
    "nus-wide": Protocol(2_100, 193_734, 21, 2.4),
    "mscoco": Protocol(5_000, 117_218, 80, 2.9),
    "10m": Protocol(1_000, 10_000_000, 10, 1),
}


def clustered_codes(protocol: Protocol, seed: int = 0) -> tuple[Codes, Codes]:
    """Query and database codes around one center a class, a quarter of the bits flipped."""
    rng = np.random.default_rng(seed)
    centers = np.packbits(rng.integers(0, 2, (protocol.classes, BITS), dtype=np.uint8), axis=1, bitorder="little")

    def draw(n: int) -> Codes:
        packed = np.empty((n, BITS // 8), dtype=np.uint8)
        labels = np.zeros((n, protocol.classes), dtype=np.uint8)
        for start in range(0, n, 1 << 17):
            part = slice(start, min(n, start + (1 << 17)))
            main = rng.integers(0, protocol.classes, part.stop - part.start)
            # Two random words and-ed give a bit in four.
            flips = rng.integers(0, 256, (2, len(main), BITS // 8), dtype=np.uint8)
            packed[part] = centers[main] ^ (flips[0] & flips[1])
            if protocol.labels > 1:
                share = (protocol.labels - 1) / (protocol.classes - 1)
                labels[part] = rng.random((len(main), protocol.classes), dtype=np.float32) < share
            labels[np.arange(part.start, part.stop), main] = 1
        return Codes(packed, BITS, labels)

    return draw(protocol.queries), draw(protocol.database)


def usual_map(q: np.ndarray, b: np.ndarray, q_labels: np.ndarray, b_labels: np.ndarray) -> np.ndarray:
    """Average precision as the field computes it (CalcMap), per query."""
    value = np.zeros(len(q))
    for i in range(len(q)):
        gnd = (q_labels[i] @ b_labels.T > 0).astype(np.float32)
        total = int(gnd.sum())
        if total == 0:
            continue
        dist = 0.5 * (q.shape[1] - q[i] @ b.T)
        gnd = gnd[np.argsort(dist)]
        tindex = np.flatnonzero(gnd == 1) + 1.0
        value[i] = np.mean(np.arange(1, total + 1) / tindex)
    return value


def core_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Least CPU time of this process over the repeats."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def extra_mib(work: Callable[[], object]) -> float:
    """Peak memory above the level before the call; see the module's text."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that is kept for reuse would hide what the call takes
    before, peak, done = resident_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], resident_mib())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    tracemalloc.start()
    try:
        work()
    finally:
        traced = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        done.set()
        watcher.join()
    return max(peak[0] - before, traced)


def usual_seconds(query: Codes, database: Codes, sample: int) -> float:
    """CPU seconds of the usual code for all queries, measured on the first `sample` and scaled."""
    sample = min(sample, len(query))
    return core_seconds(usual_work(query, database, sample)) * len(query) / sample


def usual_work(query: Codes, database: Codes, sample: int) -> Callable[[], object]:
    """The usual code for the first queries, its arrays made beforehand."""
    q, b = unpack(query.packed[:sample], BITS).astype(np.float32), unpack(database.packed, BITS).astype(np.float32)
    q_labels, b_labels = query.labels[:sample].astype(np.float32), database.labels.astype(np.float32)
    return lambda: usual_map(q, b, q_labels, b_labels)


def first_queries(query: Codes, n: int) -> Codes:
    return Codes(query.packed[:n], query.bits, query.labels[:n])


def measure(name: str, quick: bool) -> list[dict[str, object]]:
    """Rows of one protocol."""
    protocol = PROTOCOLS[name]
    query, database = clustered_codes(protocol)
    if quick:
        query = first_queries(query, max(20, len(query) // 20))
    large = name == "10m"
    # At ten million items the usual code takes gigabytes: it is measured on 1 % of them and scaled in proportion, which
    # flatters it, for a sort costs more than in proportion.
    part = Codes(database.packed[:100_000], BITS, database.labels[:100_000]) if large else database
    usual = usual_seconds(query, part, 10 if quick else 40) * (len(database) / len(part))
    # Slow paths are measured on fewer queries and scaled, as the usual code is.
    plans: list[tuple[str, str, int]] = [("expected_map", "numba", len(query))]
    if not large:
        plans += [
            ("stable_map", "numba", len(query)),
            ("expected_map", "numpy", min(len(query), 200)),
            ("stable_map", "numpy", min(len(query), 50)),
            ("expected_map", "torch", min(len(query), 50)),
        ]
    rows: list[dict[str, object]] = []
    for metric, path, n in plans:
        some = first_queries(query, n)
        ties = metric.removesuffix("_map")

        def work(some: Codes = some, ties: str = ties, path: str = path) -> object:
            if path == "torch":
                return average_precision(some, database, histograms=distance_histograms(some, database, path="torch"))
            return average_precision(some, database, ties=ties, path=path)  # type: ignore[arg-type]

        # Compiles, or loads what was compiled.
        warm = first_queries(query, 2), Codes(database.packed[:1000], BITS, database.labels[:1000])
        if path == "torch":
            distance_histograms(*warm, path="torch")
        else:
            average_precision(*warm, ties=ties, path=path)  # type: ignore[arg-type]
        memory = extra_mib(work)
        seconds = core_seconds(work, 1 if large and quick else 3) * len(query) / n
        rows.append(
            {
                "protocol": name, "bits": BITS, "metric": metric, "path": path, "core_seconds": round(seconds, 4),
                "ratio": round(usual / seconds, 1), "extra_mib": round(memory, 1), "q": len(query),
                "n": len(database), "classes": protocol.classes, "naive_core_seconds": round(usual, 3),
            }
        )  # fmt: skip
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Rows as a Markdown table."""
    keys = list(rows[0])
    lines = [" | ".join(keys), " | ".join("---" for _ in keys)]
    lines += [" | ".join(str(row[key]) for key in keys) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the ranking metrics.")
    parser.add_argument("--json", action="store_true", help="one JSON row a line, nothing else")
    parser.add_argument("--protocol", action="append", choices=list(PROTOCOLS), help="repeatable; default all")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the queries")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for name in options.protocol or PROTOCOLS:
        for row in measure(name, options.quick):
            rows.append(row)
            if options.json:
                print(json.dumps(row), flush=True)
    if not options.json:
        print(table(rows))
    if options.out:
        options.out.write_text(
            f"# Ranking metrics\n\n{(__doc__ or '').strip()}\n\nMeasured on {processor()}.\n\n{table(rows)}\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
