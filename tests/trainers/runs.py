"""Runs of `run_job` on a data set and a split, with a progress hook in the place of a bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from hamguard.core.context import Context, Progress, always, silent
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Start, Trained, trainer_of
from hamguard.trainers.run import run_job


def train(
    job: Job,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    start: Sequence[Start | Path] = (),
    restart: bool = False,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Trained:
    """Train; models to start from may be folders."""
    context = Context(device=device, restart=restart, stage=always(progress or silent))
    opened = [trainer_of(job).open_start(one, context) if isinstance(one, Path) else one for one in start]
    return run_job(job, Data(dataset, split), folder, start=opened, context=context)
