"""`run_job`: the one way from a job to a folder. It owns the folder, the history, resuming, and what all cards say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hamguard.core.context import Context
from hamguard.core.digests import LENGTH, digest_file
from hamguard.core.errors import DamagedError, DataMissingError, RequestError, StaleError
from hamguard.core.files import read_text, sweep
from hamguard.data.features import holds_features
from hamguard.data.opened import Data
from hamguard.models.cross_modal import CrossModel
from hamguard.models.hash_model import HashModel
from hamguard.models.pretrained import PRETRAINED, TABLE
from hamguard.trainers.job import Job, for_images
from hamguard.trainers.kind import Done, Kind, Place, Start, Trained, stored_run, trainer_of
from hamguard.training.distributed import wait
from hamguard.training.loop import fit, forget

HISTORY = "history.jsonl"


def run_job(job: Job, data: Data, out: Path, *, start: Sequence[Start] = (), context: Context | None = None) -> Trained:
    """Train into a folder; go on where an earlier call was stopped.

    Args:
        job: what is trained, and how.
        data: what from; only the part `train` is learned from, `validation` selects where early stopping is on.
        out: folder to be.
        start: models that it begins from (a defense), or learns against (a generator, a protector).
        context: device, processes, progress, and whether to throw away what the folder holds; the seed is the job's own.

    Raises:
        RequestError: something does not fit together.
        DataMissingError: features, where pictures are learned from.
        StaleError: the folder holds another run.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: the codes became, or stayed, constant.
        StoppedError: a person stopped the run; what was done is kept.
    """
    context, job = context or Context(), for_images(job, data.dataset.images.size)
    kind, group = trainer_of(job), context.process_group
    kind.check(job)
    if group.size > 1 and (alone := kind.alone(job)):
        raise RequestError(f"{alone} is trained by one process; leave out torchrun")
    if holds_features(data.dataset) and not kind.takes_features:
        raise DataMissingError(data.dataset.images.missing)
    fewest, most, wrong = kind.starts
    if not fewest <= len(start) <= most:
        raise RequestError(f"{job.method} {wrong}, got {len(start)}")
    if any(one.folder is not None and one.folder.resolve() == out.resolve() for one in start):
        raise RequestError(f"{out} is the model to {kind.verb}; `out` must be another folder")
    begun = [one.model.digest for one in start]
    parts = [job.digest, data.split.digest, *begun, str(group.size), _weights(job)]
    facts = {
        "request": job.model_dump(mode="json"),
        "split": data.split.digest,
        "start": begun,
        "processes": group.size,
    }
    place = Place(out, "-".join(filter(None, parts)), context, kind.run_file, facts)
    with place:
        done = is_finished(kind, place)
        wait(group)  # nobody may look at a folder that the leading process writes already
        handed = {"kind": kind.name, "data": data, "starts": tuple(start), "leads": group.leads}
        if done:
            return _handed(_read(kind, out), out, **handed)
        if len(data.split.train) < 2:
            raise RequestError(f"training needs at least 2 {kind.items}, the train split has {len(data.split.train)}")
        task = kind.make_task(job, data, start, place)
        place.claim()
        history: list[dict[str, float]] = []
        recipe = kind.recipe(job, task.items)
        if kind.steps(job):
            with context.stage(f"{kind.doing} {job.method}") as progress:
                history = fit(
                    task,
                    recipe,
                    seed=job.seed,
                    folder=out,
                    run=place.run,
                    process_group=group,
                    validate=kind.score(job, task, data, place),
                    progress=progress if group.leads else None,
                )
        said = {
            "settings": job.settings,
            "recipe": recipe.model_dump() if kind.steps(job) else {},
            "seed": job.seed,
            "data": kind.data_facts(data),
        }
        trained = kind.save(task, place, {**said, **kind.finish(job, task, start, Done(data, history, place))})
        if group.leads:
            forget(out)
        wait(group)  # nobody opens the folder before it is whole
        return _handed(replace(trained, history=tuple(history)), out, **handed)


def _handed(trained: Trained, out: Path, **facts: Any) -> Trained:
    """The same with a model in evaluation mode that carries its card, and says where it lies."""
    last = isinstance(
        trained.model, (HashModel, CrossModel)
    )  # as commands load them, so that what is read rounds as what is new
    trained.model.eval().to(memory_format=torch.channels_last if last else torch.contiguous_format)
    trained.model.card, trained.model.place = trained.card, str(out)
    if trained.text_card is not None:
        trained.model.text_card = trained.text_card
    return replace(trained, **facts)


def is_finished(kind: Kind, place: Place) -> bool:
    """Whether a folder holds this very run, finished; refuse anything that would be lost.

    Raises:
        RequestError: a file, or a folder with other things.
        StaleError: another run.
    """
    folder, run_file, card_file = place.folder, place.folder / kind.run_file, place.folder / kind.card_file
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; `out` must be a folder")
    sweep(folder)
    if folder.is_dir() and any(folder.iterdir()) and not run_file.is_file():
        raise RequestError(f"{folder} holds other files; `out` must be a new folder or one that hamguard made")
    if place.context.restart:
        if place.context.process_group.leads:
            if folder.is_dir():
                place.hold()
            for path in (card_file, run_file, *(folder / name for name in kind.leaves)):
                path.unlink(missing_ok=True)
            forget(folder)
        return False
    if run_file.is_file() and stored_run(run_file) != place.run:
        if card_file.is_file():
            raise StaleError(f"{folder} holds {kind.other}; give another `out`, or `restart` to train over it")
        raise StaleError(
            f"{folder} holds an unfinished run with other settings; give another `out`, "
            "repeat the settings to go on, or `restart` to throw it away"
        )
    return card_file.is_file()


def _weights(job: Job) -> str:
    """Hash of the file of first weights; empty where there is none."""
    given = job.model.weights if job.model else None
    if job.model and job.model.backbone and given == PRETRAINED:
        known = TABLE.get(job.model.backbone.partition("+")[0])
        return known.sha256[:LENGTH] if known else ""
    return digest_file(Path(given)) if given and Path(given).is_file() else ""


def _read(kind: Kind, folder: Path) -> Trained:
    """What a finished run left."""
    history = []
    if (folder / HISTORY).is_file():
        try:
            history = [json.loads(line) for line in read_text(folder / HISTORY, "history").splitlines()]
        except ValueError as error:
            raise DamagedError(folder / HISTORY, "a line of it is no JSON object") from error
    return replace(kind.load(folder), history=tuple(history), fresh=False)
