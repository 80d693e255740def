"""Groups of near codes: core-seconds of a million codes, and groups beside those of all pairs.

    uv run python benchmarks/dedupe.py [--items N] [--radius R] [--check N] [--out FILE.jsonl]

Three sets of 64-bit codes: independent bits; codes around a thousand centers, an eighth of their bits turned; and codes that ten
items share. A tenth of the items of each are copies of others, up to `--radius` bits away. `core-seconds` are those of one thread,
the second time that it is asked (the first compiles); `groups` counts groups of two and more. `different-groups` counts items
whose group differs from that of all pairs, among the first `--check` items.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import hamguard as hg
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming
from hamguard.core.rows import Row, write_rows
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Bytes, Ints

BITS, CENTERS, SHARED = 64, 1_000, 10


def made(kind: str, count: int, radius: int) -> Bytes:
    """Packed codes of a set."""
    rng = numpy_generator(0, "dedupe", kind)
    codes = rng.integers(0, 256, (count, BITS // 8), dtype=np.uint8)
    if kind == "clustered":
        turned = rng.integers(0, 256, (2, count, BITS // 8), dtype=np.uint8)
        codes = codes[rng.integers(0, CENTERS, count)] ^ (
            rng.integers(0, 256, codes.shape, np.uint8) & turned[0] & turned[1]
        )
    if kind == "shared":
        codes = codes[rng.integers(0, count // SHARED, count)]
    copies = rng.choice(count, count // 10, replace=False)
    codes[copies] = codes[rng.integers(0, count, len(copies))]
    for bit in rng.integers(0, BITS, (radius, len(copies))):
        codes[copies, bit // 8] ^= (1 << (bit % 8)).astype(np.uint8)
    return codes


def by_force(packed: Bytes, radius: int) -> Ints:
    """Group of each item, by all pairs."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = []
    for start in range(0, len(packed), 500):
        rows, columns = np.nonzero(hamming(packed[start : start + 500], packed) <= radius)
        ends.append(np.stack([rows + start, columns]))
    rows, columns = np.concatenate(ends, axis=1)
    near = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(len(packed), len(packed)))
    return np.asarray(connected_components(near, directed=False)[1], np.int64)


def oldest(group: Ints) -> Ints:
    """The oldest item of each item's group."""
    return np.asarray(np.unique(group, return_index=True)[1][group])


def bank_of(packed: Bytes) -> CodeBank:
    """Items without labels."""
    return CodeBank(packed, BITS, np.zeros((len(packed), 0), np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000, help="items of a set")
    parser.add_argument("--radius", type=int, default=4, help="in bits")
    parser.add_argument(
        "--check", type=int, default=20_000, help="items whose groups are compared with those of all pairs"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "dedupe.jsonl")
    asked = parser.parse_args()
    rows = []
    hg.dedupe(bank_of(made("independent", 1_000, asked.radius)), radius=asked.radius)  # compiles
    for kind in ("independent", "clustered", "shared"):
        packed = made(kind, asked.items, asked.radius)
        begun = time.process_time()
        found = hg.dedupe(bank_of(packed), radius=asked.radius)
        took = time.process_time() - begun
        few = made(kind, asked.check, asked.radius)
        own = hg.dedupe(bank_of(few), radius=asked.radius).found.group
        differ = int(np.count_nonzero(oldest(own) != oldest(by_force(few, asked.radius))))
        base = Row(dataset=kind, bits=BITS, at=asked.radius, n=asked.items, seed=0)
        values = {"core-seconds": round(took, 2), "groups": len(found), "different-codes": found.found.codes}
        values |= {"compared": found.found.compared}
        rows += [replace(base, metric=name, value=value) for name, value in values.items()]
        rows.append(replace(base, metric="different-groups", value=differ, n=asked.check))
        print(
            f"{kind}: {took:.1f} core-seconds; {found.lines}; {differ} items grouped otherwise by all pairs",
            file=sys.stderr,
        )
    write_rows(asked.out, rows)


if __name__ == "__main__":
    main()
