"""ComDefend's networks, which purify pictures.

`preset="paper"` is the paper's training: full width, Adam with rate 1e-4, 50 epochs, batches of 32. The default has narrow
networks, a higher rate with a cosine and five epochs, for small pictures on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hamguard.core.checks import check_choice
from hamguard.core.seeds import torch_generator
from hamguard.data.opened import Data, training_facts
from hamguard.defenses.comdefend import ComDefendSettings, ComDefendTask
from hamguard.models.comdefend import CARD, ComDefend, load_comdefend, save_comdefend
from hamguard.trainers.job import KINDS, Defaults, Job
from hamguard.trainers.kind import FROZEN, Done, Kind, Place, Start, Trained

PRESETS: dict[str, Defaults] = {
    "default": {
        "settings": {"width": 0.25},
        "training": {"epochs": 5, "batch_size": 32, "lr": 2e-3, "schedule": "cosine"},
    },
    "paper": {"settings": {}, "training": {"epochs": 50, "batch_size": 32, "lr": 1e-4, "schedule": "constant"}},
}


@KINDS.register("purifier")
class PurifierKind(Kind):
    """ComDefend."""

    name = "purifier"
    what = "purifier"
    default = "comdefend"
    idle = (*FROZEN, "head_lr_factor", "patience", "selection", "validate_every")
    run_file, card_file = "comdefend-run.json", CARD

    def methods(self) -> list[str]:
        """There is one."""
        return ["comdefend"]

    def settings_type(self, method: str) -> type[ComDefendSettings]:
        """Networks and loss."""
        return ComDefendSettings

    def presets(self, method: str) -> Sequence[str]:
        """Ours and the paper's."""
        return tuple(PRESETS)

    def preset(self, method: str, name: str | None) -> Defaults:
        """Settings and recipe."""
        return PRESETS[check_choice(f"preset of {method}", name or "default", PRESETS)]

    def alone(self, job: Job) -> str:
        """The noise of a step is drawn for all of its pictures."""
        return "comdefend"

    def data_facts(self, data: Data) -> dict[str, Any]:
        """Of the training part alone."""
        return training_facts(data.dataset, data.split)

    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> ComDefendTask:
        """Both networks on clean pictures."""
        ask: ComDefendSettings = job.parsed
        images = data.dataset.images
        net = ComDefend(images.channels, ask.width, ask.noise, torch_generator(job.seed, "comdefend"))
        net.to(place.context.device)
        return ComDefendTask(net, images, data.split.train, penalty=ask.penalty, views=job.training.augment)

    def finish(self, job: Job, task: ComDefendTask, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """The history stands in the card."""
        return {"history": done.history}

    def save(self, task: ComDefendTask, place: Place, facts: dict[str, Any]) -> Trained:
        """A folder of the networks."""
        return Trained(task.net, save_comdefend(task.net, place.folder, **facts))

    def load(self, folder: Path) -> Trained:
        """A folder of the networks."""
        return Trained(*load_comdefend(folder))
