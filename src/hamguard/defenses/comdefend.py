"""Training ComDefend: the request, the task for the common loop, and the way into a folder.

Paper: X. Jia, X. Wei, X. Cao, H. Foroosh, "ComDefend: An Efficient Image Compression Model to Defend Adversarial Examples",
CVPR 2019, in the form of SAAT's code base: `mean (decode(sigmoid(code - 20 n)) - x)^2 + 1e-4 mean code^2`, n standard normal. Both
networks are trained together on clean pictures; no model and no label is looked at.

`preset="paper"` is that: full width, Adam with rate 1e-4, 50 epochs, batches of 32. The default has narrow networks, a higher rate
with a cosine and five epochs, for small pictures on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.files import write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import training_facts
from hamguard.data.split import Split
from hamguard.models.comdefend import CARD, MAX_WIDTH, NOISE, ComDefend, ComDefendCard, load_comdefend, save_comdefend
from hamguard.training.augment import augment
from hamguard.training.loop import Batch, Progress, fit, forget
from hamguard.training.recipe import Recipe
from hamguard.training.request import DataSection, over_defaults, put_together, sort_words
from hamguard.training.run_folder import is_finished

RUN = "comdefend-run.json"
IDLE = ("head_lr_factor", "patience", "selection", "validate_every")
"""Fields of the recipe that mean nothing here; giving one is an error."""


class ComDefendSettings(Asked):
    """Networks and loss; frozen, unknown keys are errors."""

    width: float = Field(1.0, gt=0, le=MAX_WIDTH, description="factor of the channel numbers; 1 published")
    noise: float = Field(NOISE, ge=0, allow_inf_nan=False, description="deviation of the noise, published 20")
    penalty: float = Field(1e-4, ge=0, allow_inf_nan=False, description="weight of the squared code, published 1e-4")


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {
        "settings": {"width": 0.25},
        "training": {"epochs": 5, "batch_size": 32, "lr": 2e-3, "schedule": "cosine"},
    },
    "paper": {"settings": {}, "training": {"epochs": 50, "batch_size": 32, "lr": 1e-4, "schedule": "constant"}},
}


class ComDefendRequest(Asked):
    """Everything that defines a run."""

    method: Literal["comdefend"] = "comdefend"
    preset: Literal["default", "paper"] = "default"
    seed: int = 0
    data: DataSection
    settings: ComDefendSettings = ComDefendSettings()
    training: Recipe = Recipe()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        preset = given.get("preset", "default") if isinstance(given, Mapping) else None
        return over_defaults(given, **PRESETS[preset]) if preset in PRESETS else given

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))


def build_comdefend_request(flags: Mapping[str, Any], sets: Sequence[str] = ()) -> ComDefendRequest:
    """Put preset, flags and `--set` together; later ones win.

    Args:
        flags: dotted key to value, None where the flag was not given, e.g. `{"training.epochs": 4}`.
        sets: `key=value` words; the key is the name of a setting or of a recipe field.

    Raises:
        RequestError: the first fault.
    """
    given = sort_words(flags, sets, list(ComDefendSettings.model_fields), IDLE)
    check_choice("preset of comdefend", str(given[""].get("preset", "default")), PRESETS)
    return put_together(ComDefendRequest, given)


class ComDefendTask:
    """Both networks at work on clean pictures, as the training loop wants it.

    Args:
        net: the networks, changed in place; their device is where the work happens.
        images: pictures of the data set.
        index: rows of `images` that are trained on, `(n,)`.
        penalty: weight of the squared code.
        views: kind of augmentation.
    """

    def __init__(
        self, net: ComDefend, images: ImageStore, index: Ints, *, penalty: float = 1e-4, views: str = "none"
    ) -> None:
        self.net, self.images, self.index, self.penalty, self.views = net, images, index, penalty, views
        self.items = len(index)
        self.device = next(net.parameters()).device
        self._errors = torch.zeros(2, dtype=torch.float64)  # sum of squared errors of the epoch's steps, steps

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group with both networks."""
        return [{"params": list(self.net.parameters()), "lr_factor": 1.0}]

    def begin(self) -> None:
        """Nothing to prepare."""

    def select(self, epoch: int) -> Tensor | None:
        """All pictures, every epoch."""
        return None

    def step(self, batch: Batch) -> Tensor:
        """`mean (decode(sigmoid(code - noise n)) - x)^2 + penalty mean code^2` of one batch."""
        self.net.train()
        x = self.images.batch(self.index[batch.index[batch.part].numpy()]).to(self.device)  # (b, C, H, W)
        x = augment(x, self.views, batch.generator, batch.part, len(batch.index))
        code = self.net.code(x)  # (b, 12, H, W)
        normal = torch.randn(len(batch.index), *code.shape[1:], generator=batch.generator)[batch.part]
        error = (self.net.decode(code, normal.to(code)) - x).square().mean()
        self._errors += torch.tensor([float(error.detach()), 1.0])
        return error + self.penalty * code.square().mean()

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Mean squared error of the epoch's pictures."""
        total, steps = self._errors.tolist()
        self._errors.zero_()
        return {"mse": total / steps}

    def state(self) -> dict[str, Any]:
        """Networks and errors so far; copies."""
        kept = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
        return {"net": kept, "errors": self._errors.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.net.load_state_dict(state["net"])
        self._errors = state["errors"].clone()


@dataclass(frozen=True)
class TrainedComDefend:
    """What training left behind.

    Attributes:
        card: the networks' card.
        fresh: False where the folder held the finished run already.
    """

    card: ComDefendCard
    fresh: bool


def train_comdefend(
    request: ComDefendRequest,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainedComDefend:
    """Train the networks into a folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        dataset: pictures; labels are not looked at.
        split: its parts; only `train` is learned from.
        folder: folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        progress: told how far the run is.

    Raises:
        RequestError: too few pictures, or a folder with other things.
        StaleError: the folder holds another run.
        RunError: the loss became NaN, or the disk is full.
        StoppedError: a person stopped the run; what was done is kept.
    """
    run = "-".join([request.digest, split.digest])
    if is_finished(folder, run, run_file=RUN, card_file=CARD, restart=restart):
        return TrainedComDefend(load_comdefend(folder)[1], fresh=False)
    if len(split.train) < 2:
        raise RequestError(f"training needs at least 2 pictures, the train split has {len(split.train)}")
    settings, recipe = request.settings, request.training
    net = ComDefend(
        dataset.images.channels, settings.width, settings.noise, torch_generator(request.seed, "comdefend")
    ).to(device)
    task = ComDefendTask(net, dataset.images, split.train, penalty=settings.penalty, views=recipe.augment)
    write_sealed(folder / RUN, {"run": run, "request": request.model_dump(mode="json")})
    history = fit(task, recipe, seed=request.seed, folder=folder, run=run, progress=progress)
    card = save_comdefend(
        net,
        folder,
        settings=settings.model_dump(mode="json"),
        recipe={**recipe.model_dump(), "batch_size": recipe.batch_of(task.items)},
        seed=request.seed,
        data=training_facts(dataset, split),
        history=history,
    )
    forget(folder)
    return TrainedComDefend(card, fresh=True)
