"""What `hamguard report` costs over the number of rows: core-seconds, memory and the size of the page.

Rows are those of `results/`, copied with other seeds, budgets, models and figures, in four shapes: all kinds of rows
(`mixed`), rows that are nearly all equal (`equal`), attacks on one model that all differ (`attacks`), and 100 rows on each of
many models (`models`). `us a row` that stays is a report that is linear.

    uv run python benchmarks/report.py --rows 12500 25000 50000 100000 200000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
SHAPES = ("mixed", "equal", "attacks", "models")


def main() -> None:
    """Measure each shape at each size, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[12_500, 50_000, 200_000])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument("--keep", type=Path, help="Folder in which rows and pages stay.")
    wanted = parser.parse_args()
    print(f"{'shape':8} {'rows':>8} {'file MB':>8} {'core-s':>7} {'us a row':>9} {'peak MiB':>9} {'page MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for shape in wanted.shapes:
            for count in wanted.rows:
                print(measured(wanted.keep or Path(folder), shape, count), flush=True)


def measured(folder: Path, shape: str, count: int) -> str:
    """One line: the report of so many rows of a shape, made by a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, page = folder / f"{shape}-{count}.jsonl", folder / f"{shape}-{count}.html"
    with rows.open("w", encoding="utf-8") as file:
        for row in made(shape, count):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    words = [sys.executable, "-m", "hamguard", "report", str(rows), "--out", str(page)]
    devnull = os.open(os.devnull, os.O_WRONLY)
    moves = [(os.POSIX_SPAWN_DUP2, devnull, 1), (os.POSIX_SPAWN_DUP2, devnull, 2)]
    _, status, used = os.wait4(os.posix_spawn(sys.executable, words, os.environ, file_actions=moves), 0)
    os.close(devnull)
    if status:
        raise SystemExit(f"the report of {count} rows of {shape} failed")
    seconds = used.ru_utime + used.ru_stime
    return (
        f"{shape:8} {count:8,} {rows.stat().st_size / 1e6:8.1f} {seconds:7.1f} {seconds / count * 1e6:9.0f} "
        f"{used.ru_maxrss / 1024:9.0f} {page.stat().st_size / 1e6:8.2f}"
    )


def made(shape: str, count: int) -> Iterator[dict[str, Any]]:
    """Rows of a shape, the same at every call."""
    known = [json.loads(line) for file in sorted(RESULTS.glob("*.jsonl")) for line in file.open(encoding="utf-8")]
    drawn = random.Random(0)
    attacked = [row for row in known if row["attack"] and row["threat"] and not row["defense"]]
    for number in range(count):
        if shape == "equal":
            yield known[number % 1000] if number % 20 else _changed(known[number % len(known)], drawn, number)
        elif shape == "attacks":
            row = _changed(attacked[number % len(attacked)], drawn, number)
            yield {**row, "model": "models/one", "dataset": "digits", "hashes": {"model": "h"}, "split": "s"}
        elif shape == "models":
            row = _changed(known[number % len(known)], drawn, number)
            yield {
                **row,
                "model": f"models/{number // 100}",
                "hashes": {**row["hashes"], "model": f"{number // 100:08x}"},
            }
        else:
            yield _changed(known[number % len(known)], drawn, number)


def _changed(row: dict[str, Any], drawn: random.Random, number: int) -> dict[str, Any]:
    """A copy that equals no other."""
    value = row["value"] if row["value"] is None else round(row["value"] * drawn.uniform(0.9, 1.0), 9)
    ci95 = None if value is None or row["ci95"] is None else [value - 0.01, value + 0.01]
    more: dict[str, Any] = {"value": value, "ci95": ci95, "seed": number}
    if row["threat"] and row["threat"].get("eps"):
        more["threat"] = {**row["threat"], "eps": round(row["threat"]["eps"] * drawn.uniform(0.5, 1.5), 6)}
    if row["model"]:
        more["model"] = f"{row['model']}-{drawn.randrange(200)}"
    return {**row, **more}


if __name__ == "__main__":
    main()
