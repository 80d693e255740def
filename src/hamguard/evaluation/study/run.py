"""Runs a study: every model is a chain of cells, here or each in a process of its own; then what joins the models."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from hamguard.core.context import Context
from hamguard.core.errors import HamguardError, RequestError, RunError, StoppedError
from hamguard.core.rows import Row, Rows
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.joins import joined, needs_grounds
from hamguard.evaluation.study.model_cells import model_chain
from hamguard.evaluation.study.plan import ModelCell
from hamguard.evaluation.study.recipe import StudyRecipe
from hamguard.evaluation.study.study import Beside, Drawn, Shown, Study, check_before, trained

_QUEUE: Any = None


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        rows: all rows, in the order of the recipe; those of a grid that are equal stand once.
        pictures: caption and file of each sheet.
        clean: main row of each model's search, by model.
        attacked: main row of each attack, by model and attack.
        cells: all rows of each attack, by model and attack.
        curves: of cross-modal models, by `MODEL clean` or `MODEL attacked MODALITY`.
        models: names of the models without a defense.
    """

    rows: Rows
    pictures: list[tuple[str, Path]]
    clean: dict[str, Row]
    attacked: dict[tuple[str, str], Row]
    cells: dict[tuple[str, str], list[Row]]
    curves: dict[str, Mapping[str, Any]]
    models: tuple[str, ...] = ()


def run_study(
    recipe: StudyRecipe,
    store: Path,
    *,
    root: Path | str | None = None,
    workers: int = 0,
    drawn: Drawn | None = None,
    shown: Shown | None = None,
    context: Context | None = None,
) -> StudyResult:
    """Run a study, or what is left of it.

    Args:
        recipe: the study.
        store: folder of cells and models, shared by studies.
        root: folder of the named data sets.
        workers: models worked on at once, where a kind of study works on each in a process of its own; 0 takes as many as there are
            models and cores.
        drawn: draws the sheet of an attack.
        shown: draws images before and after a protection.
        context: device, processes, and whom to tell which cell begins.

    Raises:
        RequestError: something does not fit together.
        RunError: a cell failed, or a process died.
        StoppedError: a person stopped the run; finished cells stay.
    """
    if store.exists() and not store.is_dir():
        raise RequestError(f"{store} is a file; `cells` must be a folder")
    study = Study(recipe, Cells(store, context or Context()), root, drawn, shown)
    if study.context.process_group.size > 1 and (recipe.protections or recipe.parallel):
        what = "protections run" if recipe.protections else "a cross-modal study starts its own processes and runs"
        raise RequestError(f"{what} in one process; start {'them' if recipe.protections else 'it'} without torchrun")
    check_before(study)  # what is wrong costs no process
    try:
        rows, grounds = _in_processes(study, workers) if recipe.parallel else _here(study)
        with _threads(1 if recipe.parallel else 0):
            if needs_grounds(study) and not grounds:
                grounds = [(cell, trained(study, cell)) for cell in study.plan.models]
            rows += joined(study, grounds)
    except KeyboardInterrupt as stopped:
        raise StoppedError(
            f"stopped; {store} keeps the finished cells, and the same command goes on from there"
        ) from stopped
    attacked = {key: one.row for key, one in study.found.queries.items()}
    cells = {key: one.rows for key, one in study.found.queries.items()}
    found, every = study.found, Rows(rows)
    once = every if recipe.parallel else every.once()
    models = tuple(cell.name for cell in study.plan.models)
    return StudyResult(once, found.pictures, found.clean, attacked, cells, found.curves, models)


Chains = tuple[list[Row], list[tuple[ModelCell, Ground]]]
"""Rows of all models, and the models that are needed again."""


def _here(study: Study) -> Chains:
    """All models, one after the other."""
    rows, grounds, again = [], [], needs_grounds(study)
    for cell in study.plan.models:
        found, ground = model_chain(study, cell)
        rows += found
        grounds += [(cell, ground)] if again else []
    return rows, grounds


def _begin(queue: Any, parent: int) -> None:
    global _QUEUE  # noqa: PLW0603 - a process has one parent to tell
    _QUEUE = queue

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # nobody waits any more; every file is whole, because it is written aside and renamed

    threading.Thread(target=watch, daemon=True).start()
    torch.set_num_threads(1)  # the same figures whatever runs beside


def _chain(
    recipe: StudyRecipe,
    store: Path,
    root: Path | str | None,
    drawn: Drawn | None,
    device: str,
    number: int,
    parent: int,
) -> tuple[list[Row], Beside]:
    """One model, in a process of its own."""
    study = Study(recipe, Cells(store, Context(device=device, tell=_QUEUE.put), parent), root, drawn)
    return model_chain(study, study.plan.models[number])[0], study.found


def _in_processes(study: Study, workers: int) -> Chains:
    """A process with one thread for each model, so that figures do not depend on how many run at once."""
    recipe, store, tell = study.recipe, study.store, study.context.tell
    models = range(len(study.plan.models))
    count = workers or min(len(models), os.cpu_count() or 1)
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    found: dict[int, tuple[list[Row], Beside]] = {}
    with ProcessPoolExecutor(count, spawn, _begin, (queue, os.getpid())) as pool:
        shared = (recipe, store, study.root, study.drawn, str(study.context.device))
        jobs: dict[Future[tuple[list[Row], Beside]], int] = {
            pool.submit(_chain, *shared, number, os.getpid()): number for number in models
        }
        try:
            while len(found) < len(models):
                _pass_on(queue, tell)
                for job in [job for job in jobs if job.done() and jobs[job] not in found]:
                    found[jobs[job]] = job.result()
            _pass_on(queue, tell)
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        except BrokenProcessPool as error:
            raise RunError(
                f"a process of the study died (out of memory?); the same command goes on from the finished cells of {store}"
            ) from error
        except HamguardError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for number in models:
        study.found.add(found[number][1])
    return [row for number in models for row in found[number][0]], []


def _pass_on(queue: Any, tell: Callable[[str], None]) -> None:
    """Tell what the processes told; waits at most half a second."""
    try:
        tell(queue.get(timeout=0.5))
    except Empty:
        return


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of torch for a while; 0 leaves them."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
