"""A folder of photos and no other word: are copies of other photos found by the codes that come of it?

    uv run python benchmarks/copies.py [--data-root DIR] [--photos 200] [--queries N] [--out FILE.jsonl]

The first photos of `coco18` are written as JPEG files into a folder; `hamguard train --data folder:FOLDER --out MODEL` makes a
model of them; `hamguard evaluate MODEL --data imagenet --view ...` asks 1,000 photos that it never saw with changed copies of
each. A second model, of 64 bits, stands beside it. Core-seconds of each command are printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import hamguard as hg
from hamguard.core.places import data_roots
from hamguard.core.rows import Row, write_rows

VIEWS = ("jpeg:50", "resize:0.5", "crop:0.8")
OTHER_BITS = 64


def write_photos(root: Path | None, count: int, folder: Path) -> None:
    """Write the first photos of `coco18` as the files that they are."""
    found = next(place for place in data_roots(root) if (place / "photos" / "coco18.npz").is_file())
    stored = np.load(found / "photos" / "coco18.npz")
    data, offsets = stored["data"], stored["offsets"]
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}.jpg").write_bytes(data[offsets[number] : offsets[number + 1]].tobytes())


def measure(folder: Path, work: Path, bits: int | None, root: Path | None, queries: int | None) -> list[Row]:
    """Rows of a model of the folder."""
    name = "photos" if bits is None else f"photos-{bits}"
    begun = time.process_time()
    model = hg.train(f"folder:{folder}", out=work / name, bits=bits)
    trained = time.process_time()
    rows = hg.evaluate(model, "imagenet", views=VIEWS, queries=queries, root=root)
    asked = time.process_time()
    took = f"learned in {trained - begun:.1f} core-seconds, asked in {asked - trained:.1f}"
    print(f"{name}: {model.card.bits} bits by {model.card.method}; {took}", file=sys.stderr)
    for row in rows:
        print(f"  {row.task}: {row.value:.3%} of {row.n} in the first {row.at}; {row.notes[-1]}", file=sys.stderr)
    return [replace(row, model=name) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder of the named data sets")
    parser.add_argument("--photos", type=int, default=200, help="photos in the folder")
    parser.add_argument("--queries", type=int, help="the first so many photos that are asked for")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "copies_photos.jsonl")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        folder = work / "pictures"
        write_photos(asked.data_root, asked.photos, folder)
        rows = [
            row for bits in (None, OTHER_BITS) for row in measure(folder, work, bits, asked.data_root, asked.queries)
        ]
    write_rows(asked.out, rows)


if __name__ == "__main__":
    main()
