"""Throughput a core of `hamguard encode`: one process beside two workers of Ray, which encode at the same time.

    uv run python benchmarks/encode_ray.py MODEL [--data SOURCE] [--shards N] [--out FILE.md]

Both do what a worker does: open model and data, then encode shards of 4,096 pictures, one thread each. CPU seconds of each process,
without opening and without the first shard, and the least over shards, because other programs share the machine. The ratio is of
the pictures a core-second, and says what Ray costs beside the work; the second ratio has all CPU seconds of the same shards.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import sys
import time
from pathlib import Path

import torch
from metrics import table
from processor import processor

from hamguard.evaluation.search.ray_encoding import Encoder, import_ray

SHARD = 4096


class Timed(Encoder):
    """A worker that says how long its shards took."""

    def timed(self, start: int) -> float:
        """CPU seconds of this process for one shard."""
        torch.set_num_threads(1)
        begun = time.process_time()
        self.encode("database", start, SHARD)
        return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description="What Ray costs beside the encoding.")
    parser.add_argument("model", help="whatever names a model")
    parser.add_argument("--data", help="a source; the model's own by default")
    parser.add_argument(
        "--shards", type=int, default=6, help="shards of each process, the first of which is not counted"
    )
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    given = ({"model": options.model, "data": options.data}, 256, str(Path.cwd()), list(sys.path))
    starts = [SHARD * number for number in range(options.shards)]
    here = Timed(*given)
    seconds = {"one process": [here.timed(start) for start in starts][1:]}
    ray = import_ray()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    workers = [ray.remote(num_cpus=1)(Timed).remote(*given) for _ in range(2)]
    ray.get([worker.timed.remote(0) for worker in workers])  # opens model and data
    both = [ray.get([worker.timed.remote(start) for worker in workers]) for start in starts[1:]]
    ray.shutdown()
    for number in range(2):
        seconds[f"worker {number + 1} of Ray"] = [pair[number] for pair in both]
    first = seconds["one process"]
    rows: list[dict[str, object]] = []
    for name, own in seconds.items():
        ratios = {"ratio": round(min(first) / min(own), 3), "ratio_of_all": round(sum(first) / sum(own), 3)}
        rows.append({"process": name, "pictures_a_core_second": round(SHARD / min(own)), **ratios, "shards": len(own)})
    print(f"{processor()}\n\n{table(rows)}")
    if options.out:
        page = f"# Encoding by Ray\n\n{(__doc__ or '').strip()}\n\nMeasured on {processor()}.\n\n{table(rows)}\n"
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
