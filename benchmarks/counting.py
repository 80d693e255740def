"""How near the counting of pairs is to what a processor can do, with AVX-512 and with AVX2 only, and what collapsed codes save.

    uv run python benchmarks/counting.py [--codes QUERY.npz DATABASE.npz] [--out FILE.md]

`kernel`: the numba kernel on a block of codes and labels of one word each, beside plain C loops over the same block (compiled
by `cc -O3` where there is one): one loop that counts each pair at once, and one that writes keys of 4,096 items first. The
faster of the two is the limit. `nus-wide`: expected MAP on NUS-WIDE's sizes beside the field's form, as `benchmarks/metrics.py`
draws and measures them. `collapsed`: expected MAP of the codes of two files of `hamguard encode` (the first 1,000 queries),
every pair counted beside equal pairs counted once; both values must agree to 1e-12.

Each is measured in a process of its own, once as the processor is and once for AVX2 only: kernels compiled for Haswell, NumPy
and its matrix product kept from AVX-512. One thread, CPU seconds of the process, least of several turns in which all forms
take part, so that other programs on the machine disturb the ratios little.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from processor import processor

from hamguard.codes import histograms as counting
from hamguard.codes import histograms_numba
from hamguard.codes.histograms import DistanceHistograms, query_words
from hamguard.codes.labeled import Codes, word_blocks
from hamguard.retrieval.metrics import average_precision

PLAIN_C = """
#include <stdint.h>
#include <string.h>
#define KEY(i) (2 * __builtin_popcountll(w ^ code[i]) + ((m & label[i]) != 0))
static void add(uint32_t t[4][512], long size, int64_t *total, int64_t *relevant) {
  for (long d = 0; d < size; d++) {
    int64_t other = 0, hit = 0;
    for (int k = 0; k < 4; k++) { other += t[k][2 * d]; hit += t[k][2 * d + 1]; }
    total[d] += other + hit; relevant[d] += hit;
  }
}
void at_once(const uint64_t *q, const uint64_t *ql, const uint64_t *code, const uint64_t *label, long Q, long n, long size,
             int64_t *total, int64_t *relevant) {
  for (long a = 0; a < Q; a++) {
    uint32_t t[4][512]; memset(t, 0, sizeof t);
    uint64_t w = q[a], m = ql[a]; long i;
    for (i = 0; i + 4 <= n; i += 4) { t[0][KEY(i)]++; t[1][KEY(i + 1)]++; t[2][KEY(i + 2)]++; t[3][KEY(i + 3)]++; }
    for (; i < n; i++) t[0][KEY(i)]++;
    add(t, size, total + a * size, relevant + a * size);
  }
}
void keys_first(const uint64_t *q, const uint64_t *ql, const uint64_t *codes, const uint64_t *labels, long Q, long n, long size,
                int64_t *total, int64_t *relevant) {
  static uint8_t key[4096];
  for (long a = 0; a < Q; a++) {
    uint32_t t[4][512]; memset(t, 0, sizeof t);
    uint64_t w = q[a], m = ql[a];
    for (long s = 0; s < n; s += 4096) {
      long k = n - s < 4096 ? n - s : 4096, i;
      const uint64_t *code = codes + s, *label = labels + s;
      for (i = 0; i < k; i++) key[i] = (uint8_t)KEY(i);
      for (i = 0; i + 4 <= k; i += 4) { t[0][key[i]]++; t[1][key[i + 1]]++; t[2][key[i + 2]]++; t[3][key[i + 3]]++; }
      for (; i < k; i++) t[0][key[i]]++;
    }
    add(t, size, total + a * size, relevant + a * size);
  }
}
"""
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2", "OPENBLAS_CORETYPE": "Haswell"}
TURNS = 9


def least(forms: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Least CPU seconds of each form over turns in which all take part."""
    found = dict.fromkeys(forms, float("inf"))
    for _ in range(turns):
        for name, work in forms.items():
            start = time.process_time()
            work()
            found[name] = min(found[name], time.process_time() - start)
    return found


def kernel_row(march: str) -> dict[str, object]:
    """Pairs a second of the numba kernel and of plain C."""
    rng = np.random.default_rng(0)
    queries, items, bits = 100, 1 << 17, 64
    q, code = rng.integers(0, 2**63, (queries, 1), np.uint64), rng.integers(0, 2**63, (1, items), np.uint64)
    q_labels, label = (rng.integers(0, 2**21, shape, np.uint64) & rng.integers(0, 2**21, shape, np.uint64)
                       for shape in ((queries, 1), (1, items)))  # fmt: skip
    shape = (queries, bits + 1)

    def counted(work: Callable[..., object]) -> tuple[np.ndarray, np.ndarray]:
        total, relevant = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        work(total, relevant)
        return total, relevant

    forms: dict[str, Callable[..., object]] = {
        "numba": lambda total, relevant: histograms_numba.count(q, q_labels, code, label, total, relevant)
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "count.c"
        source.write_text(PLAIN_C, encoding="utf-8")
        if cc := shutil.which("cc"):
            out = source.with_suffix(".so")
            subprocess.run([cc, "-O3", f"-march={march}", "-shared", "-fPIC", source, "-o", out], check=True)
            library = ctypes.CDLL(str(out))
            for name in ("at_once", "keys_first"):

                def plain(total: np.ndarray, relevant: np.ndarray, name: str = name) -> None:
                    places = [one.ctypes.data_as(ctypes.c_void_p) for one in (q, q_labels, code, label)]
                    sizes = [ctypes.c_long(one) for one in (queries, items, bits + 1)]
                    tables = [one.ctypes.data_as(ctypes.c_void_p) for one in (total, relevant)]
                    getattr(library, name)(*places, *sizes, *tables)

                forms[name] = plain
        tables = [counted(work) for work in forms.values()]
        assert all(np.array_equal(a, b) for other in tables for a, b in zip(tables[0], other, strict=True))
        seconds = least({name: (lambda work=work: counted(work)) for name, work in forms.items()})
    speeds = {name: queries * items / value / 1e9 for name, value in seconds.items()}
    limit = max((speed for name, speed in speeds.items() if name != "numba"), default=float("nan"))
    row = {"what": "kernel", "queries": queries, "items": items, "core_seconds": round(seconds["numba"], 5)}
    told = ", ".join(f"{name} {speed:.2f}" for name, speed in speeds.items())
    return {**row, "ratio": round(speeds["numba"] / limit, 2), "beside": f"billion pairs a second: {told}"}


def nus_wide_row() -> dict[str, object]:
    """Expected MAP on NUS-WIDE's sizes beside the field's form."""
    from metrics import PROTOCOLS, clustered_codes, first_queries, usual_work

    query, database = clustered_codes(PROTOCOLS["nus-wide"])
    average_precision(first_queries(query, 200), database, path="numba")
    sample = 40
    forms = {
        "usual": usual_work(query, database, sample),
        "ours": lambda: average_precision(query, database, path="numba"),
    }
    found = least(forms, 2 * TURNS)
    usual, seconds = found["usual"] * len(query) / sample, found["ours"]
    row = {"what": "nus-wide", "queries": len(query), "items": len(database), "core_seconds": round(seconds, 4)}
    return {**row, "ratio": round(usual / seconds, 1), "beside": f"the field's form: {usual:.2f} core-seconds"}


def every_pair(query: Codes, database: Codes) -> DistanceHistograms:
    """Histograms as they were counted before equal pairs were counted once."""
    q, q_labels, kept = query_words(query)
    total, relevant = (np.zeros((len(q), query.bits + 1), np.int64) for _ in range(2))
    for code, label in word_blocks([database], kept):
        histograms_numba.count(q, q_labels, code, label, total, relevant)
    return DistanceHistograms(total, relevant, query.bits)


def collapsed_row(files: list[Path]) -> dict[str, object]:
    """Expected MAP of collapsed codes, every pair counted beside equal pairs counted once."""
    query, database = (Codes(held["packed"], int(held["bits"]), held["labels"]) for held in map(np.load, files))
    query = Codes(query.packed[:1000], query.bits, query.labels[:1000])

    def before() -> np.ndarray:
        return average_precision(query, database, histograms=every_pair(query, database))

    def now() -> np.ndarray:
        return average_precision(query, database, path="numba")

    assert np.abs(before() - now()).max() <= 1e-12
    seconds = least({"before": before, "now": now})
    code, label = (np.concatenate(parts, axis=1) for parts in zip(*word_blocks([database]), strict=True))
    kinds = len(counting._counting("numba")[1](code, label)[0])
    row = {"what": "collapsed", "queries": len(query), "items": len(database), "core_seconds": round(seconds["now"], 5)}
    beside = f"every pair: {seconds['before']:.4f} core-seconds; {kinds:,} different pairs of code and labels"
    return {**row, "ratio": round(seconds["before"] / seconds["now"], 1), "beside": beside}


def measured(options: argparse.Namespace, avx2: bool) -> list[dict[str, object]]:
    """Rows of a process of its own."""
    held = {}
    if avx2:
        from numpy._core._multiarray_umath import __cpu_dispatch__

        wide = [name for name in __cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]
        held = {**AVX2, "NPY_DISABLE_CPU_FEATURES": " ".join(wide)}
    words = [sys.executable, __file__, "--here", "haswell" if avx2 else "native"]
    words += ["--codes", *map(str, options.codes)] if options.codes else []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, **held, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of counting pairs, beside plain C and on collapsed codes.")
    parser.add_argument("--codes", nargs=2, type=Path, metavar=("QUERY", "DATABASE"), help="files of hamguard encode")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    if options.here:
        rows = [kernel_row(options.here), nus_wide_row()]
        rows += [collapsed_row(options.codes)] if options.codes else []
        for row in rows:
            print(
                json.dumps({"processor": "AVX2 only" if options.here == "haswell" else "as it is", **row}), flush=True
            )
        return
    from metrics import table

    text = table([row for avx2 in (False, True) for row in measured(options, avx2)])
    print(f"{processor()}\n\n{text}")
    if options.out:
        page = f"# Counting pairs\n\n{(__doc__ or '').strip()}\n\nMeasured on {processor()}.\n\n{text}\n"
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
