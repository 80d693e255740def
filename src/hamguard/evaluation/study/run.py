"""Runs a study: one process with one thread for each chain, so that two cores work on two models; then what joins them."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from hamguard.core.errors import HamguardError, RunError, StoppedError
from hamguard.core.rows import Row, write_rows
from hamguard.evaluation.study.cross_recipe import CrossRecipe, read_cross_recipe
from hamguard.evaluation.study.cross_study import open_study, run_chain, run_transfer

ROWS = "rows.jsonl"
Told = Callable[[str], None]
_QUEUE: Any = None


def _begin(queue: Any, parent: int) -> None:
    global _QUEUE  # noqa: PLW0603 - a process has one parent to tell
    _QUEUE = queue

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # nobody waits any more; every file is whole, because it is written aside and renamed

    threading.Thread(target=watch, daemon=True).start()
    torch.set_num_threads(1)  # the same figures whatever runs beside


def _chain(path: str, out: str, root: str | None, name: str, parent: int) -> list[Row]:
    """One chain, in a process of its own."""
    study = open_study(
        read_cross_recipe(path), Path(out), root=Path(root) if root else None, told=_QUEUE.put, parent=parent
    )
    return run_chain(study, name)


def run_study(
    path: Path, recipe: CrossRecipe, out: Path, *, root: Path | None = None, workers: int = 0, told: Told = print
) -> list[Row]:
    """Run a study, or what is left of it.

    Args:
        path: the recipe file, which every process reads again.
        recipe: the same, checked.
        out: folder of models, cells and results.
        root: folder of the named data sets.
        workers: processes at once; 0 takes as many as there are models and cores.
        told: is told which cell begins.

    Returns:
        All rows, which are also written to `rows.jsonl` in `out`.

    Raises:
        RequestError: something does not fit together.
        RunError: a cell failed, or a process died.
        StoppedError: a person stopped the study; finished cells stay.
    """
    study = open_study(recipe, out, root=root, told=told)  # a wrong source costs no process
    names = list(recipe.models)
    count = workers or min(len(names), os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    found: dict[str, list[Row]] = {}
    with ProcessPoolExecutor(count, context, _begin, (queue, os.getpid())) as pool:
        place = str(root) if root else None
        jobs: dict[Future[list[Row]], str] = {
            pool.submit(_chain, str(path), str(out), place, name, os.getpid()): name for name in names
        }
        try:
            while len(found) < len(names):
                _pass_on(queue, told)
                for job in [job for job in jobs if job.done() and jobs[job] not in found]:
                    found[jobs[job]] = job.result()
            _pass_on(queue, told)
        except KeyboardInterrupt as stopped:
            pool.shutdown(wait=True, cancel_futures=True)
            raise StoppedError(
                f"stopped; {out} keeps the finished cells, and the same command goes on from there"
            ) from stopped
        except BrokenProcessPool as error:
            raise RunError(
                f"a process of the study died (out of memory?); the same command goes on from the finished cells of {out}"
            ) from error
        except HamguardError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows = [row for name in names for row in found[name]]
    if recipe.transfer and len(names) > 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            rows += run_transfer(study, names)
        finally:
            torch.set_num_threads(threads)
    write_rows(out / ROWS, rows)
    return rows


def _pass_on(queue: Any, told: Told) -> None:
    """Tell what the processes told; waits at most half a second."""
    try:
        told(queue.get(timeout=0.5))
    except Empty:
        return
