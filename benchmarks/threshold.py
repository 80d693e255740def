"""Are predicted false matches those that are counted, and does the interval cover them?

    uv run python benchmarks/threshold.py [--data-root DIR] [--items N] [--queries Q] [--draws D] [--sets S ...] [--out FILE.jsonl]

Four sets of codes, each of `--items` items: 64 independent bits; 64 bits that share twelve factors; 64 bits of ITQ on the pixels of
Fashion-MNIST, whose pictures are moved by up to six pixels and mirrored, so that there are enough of them; and 32 bits of CSQ on
the same, which collapse. `--queries` further items of the set are asked for, and what lies within each radius is counted. Beside
it stand the prediction from 20,000 sampled items, and the share of `--draws` samples of 5,000 items whose 95% interval covers the
truth at the largest radius that has at most one false match a search. The truth is known of independent bits; of the others it is
that of all pairs of 100,000 items, which vary less than the queries do. Core-seconds are printed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import hamguard as hg
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import bytes_of, pack
from hamguard.codes.histograms import distance_histograms
from hamguard.core.rows import Row, write_rows
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Bytes, Floats
from hamguard.retrieval.false_matches import SAMPLE, count_pairs, false_matches
from hamguard.retrieval.intervals import bootstrap_interval

BLOCK = 50_000  # items made at once
DRAWN, WHOLE = 5_000, 100_000  # items of the samples whose intervals are judged, and of what they are judged by
FACTORS, SPREAD = 12, 0.4
MOVED, SIDE = 6, 28

Maker = Callable[[int, np.random.Generator], Bytes]


def independent(count: int, rng: np.random.Generator) -> Bytes:
    """64 fair bits."""
    return rng.integers(0, 256, (count, 8), dtype=np.uint8)


def correlated(count: int, rng: np.random.Generator) -> Bytes:
    """Signs of 64 sums of twelve common factors and a part of their own."""
    weights = numpy_generator(0, "factors").standard_normal((64, FACTORS)) * SPREAD
    values = rng.standard_normal((count, FACTORS)) @ weights.T + 0.7 * rng.standard_normal((count, 64))
    return pack((values > 0).astype(np.uint8))


DRAWN_BITS: dict[str, Maker] = {"independent": independent, "correlated": correlated}
SETS = [*DRAWN_BITS, "itq", "csq"]


def learned(method: str, bits: int, root: Path | None, work: Path) -> Maker:
    """Codes of Fashion-MNIST, moved and mirrored, by a head on pixels that learned from a part of them."""
    data = hg.data("fashion-mnist", root=root)
    pictures, labels = data.dataset.images.array, data.dataset.labels.argmax(1)
    pictures = pictures.reshape(len(pictures), SIDE, SIDE)

    def moved(count: int, rng: np.random.Generator) -> tuple[Floats, np.ndarray]:
        rows = rng.integers(0, len(pictures), count)
        wide = np.zeros((count, SIDE + 2 * MOVED, SIDE + 2 * MOVED), np.uint8)
        wide[:, MOVED:-MOVED, MOVED:-MOVED] = pictures[rows]
        shift = rng.integers(0, (2 * MOVED + 1) ** 2, count)
        found = np.empty((count, SIDE, SIDE), np.uint8)
        for one in range((2 * MOVED + 1) ** 2):
            (down, right), own = divmod(one, 2 * MOVED + 1), np.flatnonzero(shift == one)
            found[own] = wide[own, down : down + SIDE, right : right + SIDE]
        mirrored = rng.random(count) < 0.5
        found[mirrored] = found[mirrored, :, ::-1]
        return found.reshape(count, -1).astype(np.float32) / 255, rows

    values, rows = moved(20_000, numpy_generator(0, "learned from"))
    file = work / f"{method}.npz"
    np.savez(file, features=values, labels=labels[rows])
    model = hg.train(f"features:{file}", method, bits=bits, out=work / method)

    def made(count: int, rng: np.random.Generator) -> Bytes:
        with torch.no_grad():
            return pack(model.code(torch.from_numpy(moved(count, rng)[0])[:, None, None]))

    return made


def many(make: Maker, count: int, name: str) -> Bytes:
    """Codes of so many items."""
    rng = numpy_generator(0, "items", name)
    return np.concatenate([make(min(BLOCK, count - start), rng) for start in range(0, count, BLOCK)])


def counted(asked: Bytes, items: Bytes, bits: int) -> Floats:
    """Items within each radius of each query, `(Q, K + 1)`."""
    sides = [CodeBank(packed, bits, np.zeros((len(packed), 1), np.uint8)) for packed in (asked, items)]
    return np.cumsum(distance_histograms(*sides).total, axis=1).astype(np.float64)


def measure(name: str, make: Maker, bits: int, asked: argparse.Namespace) -> list[Row]:
    """Rows of a set: false matches predicted and counted, and how many intervals cover."""
    begun = time.process_time()
    items = many(make, asked.items, name)
    assert items.shape == (asked.items, bytes_of(bits))
    each = counted(make(asked.queries, numpy_generator(1, "queries", name)), items, bits)  # (Q, K + 1)
    whole = count_pairs(items[: min(WHOLE, asked.items)], bits)
    truth = asked.items * np.cumsum(whole.pairs) / whole.total
    if name == "independent":
        truth = asked.items * np.cumsum([math.comb(bits, d) / 2**bits for d in range(bits + 1)])
    rng = numpy_generator(2, "samples", name)
    counts = time.process_time()
    tail = false_matches(count_pairs(items[rng.choice(asked.items, SAMPLE, replace=False)], bits))
    value, low, high = tail.expected(asked.items)
    base = Row(dataset=name, bits=bits, task="query->database", seed=0, notes=(f"{asked.items:,} items",))
    rows, ratios = [], []
    for at in np.flatnonzero((each.sum(axis=0) >= 100) & ((truth <= 1000) | (np.arange(bits + 1) < 3))).tolist():
        seen = bootstrap_interval(each[:, at], seed=0)
        own, ends = replace(base, at=at), (float(low[at]), float(high[at]))
        rows.append(replace(own, metric="false-matches", value=float(value[at]), ci95=ends, n=SAMPLE))
        mean = float(each[:, at].mean())
        rows.append(replace(own, metric="false-matches-counted", value=mean, ci95=seen, n=asked.queries))
        ratios.append(max(value[at] / mean, mean / value[at]))
    worst = max(ratios)
    rows.append(replace(base, metric="worst-ratio", value=float(worst), n=len(ratios)))
    best = max(int(np.count_nonzero(truth <= 1)) - 1, 0)
    covered = np.zeros(asked.draws)
    for number in range(asked.draws):
        drawn = false_matches(count_pairs(items[rng.choice(asked.items, DRAWN, replace=False)], bits))
        ends = drawn.expected(asked.items)
        covered[number] = ends[1][best] <= truth[best] <= ends[2][best]
    rows.append(replace(base, metric="covered", at=best, value=float(covered.mean()), n=asked.draws))
    chosen = tail.radius(asked.items, 1.0)
    rows.append(replace(base, metric="radius", value=chosen, n=SAMPLE))
    took = f"made and counted in {counts - begun:.0f} core-seconds, predicted in {time.process_time() - counts:.0f}"
    covers = f"{covered.mean():.0%} of {asked.draws} intervals cover at radius {best} ({truth[best]:.3g} false matches)"
    codes = f"radius {chosen} recommended, {tail.distinct:,} codes sampled"
    print(f"{name}: worst ratio {worst:.2f} at {len(ratios)} radii, {covers}, {codes}; {took}", file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder of the named data sets")
    parser.add_argument("--items", type=int, default=10_000_000, help="items of a set")
    parser.add_argument("--queries", type=int, default=1_000, help="items that are asked for")
    parser.add_argument("--draws", type=int, default=100, help="samples whose intervals are judged")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, help="sets of codes")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "threshold.jsonl")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in asked.sets:
            if name in DRAWN_BITS:
                rows += measure(name, DRAWN_BITS[name], 64, asked)
            else:
                bits = 64 if name == "itq" else 32
                rows += measure(name, learned(name, bits, asked.data_root, Path(place)), bits, asked)
    write_rows(asked.out, rows)


if __name__ == "__main__":
    main()
