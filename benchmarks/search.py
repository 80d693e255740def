"""Cost of search through our index against faiss called directly, and what the inexact engine misses.

    uv run hamguard train --data fashion-mnist --method csq --bits 32 --out models/csq32
    uv run hamguard encode models/csq32 --out codes
    uv run python benchmarks/search.py [--codes codes] [--json] [--quick] [--out FILE.md]

One million clustered 64-bit codes, one thread, CPU seconds of this process, best of five with both sides in turn.
`ratio` is our time over faiss's, so 1.1 is ten percent slower. The direct call is `IndexBinaryFlat.search` (or
`range_search`, or `IndexBinaryIVF.search`) as faiss comes, without ids and without a rule for equal distances. `recall`
is the share of the exact k nearest distances that the engine reaches.

Rows called `collapsed` are of codes that many items share: learned ones, of the folder that `--codes` names, or 60,000 drawn around
ten centers. There the direct call counts instead of keeping heaps (`use_heap = False`), which is faster and gives equal
distances the same order as ours; `recall` is 1 only where distances and items are equal. `bytes` are those of the file of codes in
the index folder, `direct_bytes` those of all packed codes.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before faiss is loaded: one core for both sides

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from metrics import extra_mib
from processor import processor

from hamguard.codes.bank import CodeBank
from hamguard.retrieval.engines import build_index
from hamguard.retrieval.index import Index

BITS = 64
CENTERS = 1_000


def clustered_bank(n: int, seed: int) -> CodeBank:
    """Codes around common centers, an eighth of the bits flipped."""
    centers = np.random.default_rng(0).integers(0, 256, (CENTERS, BITS // 8), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    flips = rng.integers(0, 256, (3, n, BITS // 8), dtype=np.uint8)
    packed = centers[rng.integers(0, CENTERS, n)] ^ (flips[0] & flips[1] & flips[2])
    return CodeBank(packed, BITS, np.ones((n, 1), dtype=np.uint8))


def collapsed_banks(seed: int = 0) -> tuple[CodeBank, CodeBank]:
    """60,000 items and 1,000 queries of 32 bits around ten centers, a bit in thirty flipped."""
    rng = np.random.default_rng(seed)
    centers = rng.integers(0, 256, (10, 4), dtype=np.uint8)
    banks = []
    for n in (60_000, 1_000):
        packed = centers[rng.integers(0, 10, n)] ^ np.packbits(rng.random((n, 32)) < 1 / 30, axis=1)
        banks.append(CodeBank(packed, 32, np.zeros((n, 0), np.uint8)))
    return banks[0], banks[1]


def both_seconds(ours: Callable[[], object], direct: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Least CPU seconds of each, measured in turn so that a busy moment meets both."""
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        start = time.process_time()
        ours()
        middle = time.process_time()
        direct()
        times.append((middle - start, time.process_time() - middle))
    return min(t[0] for t in times), min(t[1] for t in times)


def measure(n: int, queries: int) -> list[dict[str, object]]:
    """Rows of all searches."""
    bank, query = clustered_bank(n, 1), clustered_bank(queries, 2)
    flat = build_index(bank)
    plain = faiss.IndexBinaryFlat(BITS)
    plain.add(bank.packed)
    rows: list[dict[str, object]] = []

    def row(engine: str, what: str, seconds: tuple[float, float], recall: float, work: Callable[[], object]) -> None:
        ours, direct = seconds
        rows.append(
            {
                "protocol": f"search-{n}", "bits": BITS, "metric": what, "path": engine, "core_seconds": round(ours, 4),
                "ratio": round(ours / direct, 3), "extra_mib": round(extra_mib(work), 1), "n": n, "q": queries,
                "ms_per_query": round(1e3 * ours / queries, 4), "direct_ms_per_query": round(1e3 * direct / queries, 4),
                "recall": round(recall, 4), "distinct": n, "bytes": bytes_of(flat), "direct_bytes": bank.packed.nbytes,
            }
        )  # fmt: skip

    exact = {}
    for k in (1, 10, 100, 1000):
        seconds = both_seconds(lambda k=k: flat.search(query, k), lambda k=k: plain.search(query.packed, k))
        exact[k] = plain.search(query.packed, k)[0]
        right = float((flat.search(query, k).distances == exact[k]).mean())
        row("flat", f"k={k}", seconds, right, lambda k=k: flat.search(query, k))
    for radius in (2, 8):
        seconds = both_seconds(
            lambda r=radius: flat.within(query, r), lambda r=radius: plain.range_search(query.packed, r + 1)
        )
        same = np.array_equal(flat.within(query, radius).limits, plain.range_search(query.packed, radius + 1)[0])
        row("flat", f"radius={radius}", seconds, float(same), lambda r=radius: flat.within(query, r))
    for probes in (1, 16):
        cells = build_index(bank, engine="ivf", probes=probes)
        direct = cells._inner  # type: ignore[attr-defined]  # the same cells, called without our rule for ties
        for k in (10, 100):
            seconds = both_seconds(
                lambda k=k, c=cells: c.search(query, k), lambda k=k, d=direct: d.search(query.packed, k)
            )
            found = cells.search(query, k).distances
            right = float((found == exact[k]).mean())
            row(f"ivf, {probes} probes", f"k={k}", seconds, right, lambda k=k, c=cells: c.search(query, k))
    return rows


def bytes_of(index: Index) -> int:
    """Size of the file of codes in the folder of an index."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        return sum(path.stat().st_size for path in Path(folder).glob("codes-*"))


def measure_collapsed(bank: CodeBank, query: CodeBank) -> list[dict[str, object]]:
    """Rows of searches over codes that many items share."""
    index = build_index(bank)
    plain = faiss.IndexBinaryFlat(8 * bank.packed.shape[1])
    plain.add(np.ascontiguousarray(bank.packed))
    plain.use_heap = False
    rows: list[dict[str, object]] = []
    size, count = bytes_of(index), len(query)
    distinct = len(np.unique(bank.packed, axis=0))

    def row(what: str, seconds: tuple[float, float], right: float, work: Callable[[], object]) -> None:
        ours, direct = seconds
        rows.append(
            {
                "protocol": f"collapsed-{len(bank)}", "bits": bank.bits, "metric": what, "path": "flat",
                "core_seconds": round(ours, 4), "ratio": round(ours / direct, 3), "extra_mib": round(extra_mib(work), 1),
                "n": len(bank), "q": count, "ms_per_query": round(1e3 * ours / count, 4),
                "direct_ms_per_query": round(1e3 * direct / count, 4), "recall": round(right, 4), "distinct": distinct,
                "bytes": size, "direct_bytes": bank.packed.nbytes,
            }
        )  # fmt: skip

    for k in (1, 10, 100, 1000):
        found, (distances, items) = index.search(query, k), plain.search(query.packed, k)
        right = float(((found.distances == distances) & (found.ids == bank.ids[items])).mean())
        seconds = both_seconds(lambda k=k: index.search(query, k), lambda k=k: plain.search(query.packed, k))
        row(f"k={k}", seconds, right, lambda k=k: index.search(query, k))
    for radius in (0, 2, 8):
        seconds = both_seconds(
            lambda r=radius: index.within(query, r), lambda r=radius: plain.range_search(query.packed, r + 1)
        )
        same = np.array_equal(index.within(query, radius).limits, plain.range_search(query.packed, radius + 1)[0])
        row(f"radius={radius}", seconds, float(same), lambda r=radius: index.within(query, r))
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Rows as a Markdown table."""
    keys = list(rows[0])
    lines = [" | ".join(keys), " | ".join("---" for _ in keys)]
    lines += [" | ".join(str(row[key]) for key in keys) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of search.")
    parser.add_argument("--json", action="store_true", help="one JSON row a line, nothing else")
    parser.add_argument("--quick", action="store_true", help="a tenth of the codes and of the queries")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--codes", type=Path, help="folder of query.npz and database.npz, whose codes many items share")
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rows = measure(100_000, 50) if options.quick else measure(1_000_000, 500)
    if options.codes:
        bank, query = (CodeBank.load(options.codes / f"{name}.npz") for name in ("database", "query"))
        rows += measure_collapsed(bank, query.select(np.arange(min(len(query), 1_000))))
    else:
        rows += measure_collapsed(*collapsed_banks())
    if options.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(table(rows))
    if options.out:
        options.out.write_text(
            f"# Search\n\n{(__doc__ or '').strip()}\n\nMeasured on {processor()}.\n\n{table(rows)}\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
