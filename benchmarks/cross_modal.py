"""DCMH and SSAH on real product photos with names and on drawn scenes, three seeds each, and the four searches of each.

uv run python benchmarks/cross_modal.py fashion-products --out runs/cross
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from hamguard.core.rows import write_rows
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.cross_modal import cross_rows
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("source")
    words.add_argument("--methods", nargs="+", default=["dcmh", "ssah"])
    words.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    words.add_argument("--bits", type=int, default=32)
    words.add_argument("--out", type=Path, default=Path("runs/cross"))
    words.add_argument("--set", nargs="*", default=[], dest="sets")
    ask = words.parse_args()
    dataset, split = open_source(ask.source)
    for seed in ask.seeds:
        for method in ask.methods:
            flags = {"method": method, "data.source": ask.source, "model.bits": ask.bits, "seed": seed}
            request = read_job({}, flags, ask.sets, kind="pair")
            folder = ask.out / f"{ask.source}-{method}-{seed}"
            begun = time.process_time()
            done = run_job(request, Data(dataset, split), folder)
            spent = time.process_time() - begun
            name = f"{method}, seed {seed}"
            loaded = Loaded.open(done.model, name=name, card=done.card)
            ground = Ground.open(loaded, Data(dataset, split), texts="needed")
            rows = [replace(row, seed=seed, seconds=round(spent, 1)) for row in cross_rows(ground)]
            write_rows(ask.out / f"{ask.source}-{method}-{seed}.jsonl", rows)
            shown = "  ".join(f"{row.task} {row.value:.3f}" for row in rows if row.metric == "map")
            print(f"{ask.source} {name}: {shown}  training {spent:.0f} core-s", flush=True)


if __name__ == "__main__":
    main()
