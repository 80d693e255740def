"""The one training loop. It fits anything that offers `step(batch) -> loss`.

Every random number is a function of (seed, epoch, step), so a checkpoint needs no generator: a run that was killed
and started again with the same command ends in the same bits as one that was never stopped. One process sees
the same global batches as several; with batch norm the statistics differ, because each process normalizes its own part.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RunError, StoppedError
from hamguard.core.files import write_text
from hamguard.core.seeds import derive_seed, torch_generator
from hamguard.training.checkpoint import NAME, load_checkpoint, save_checkpoint, taking
from hamguard.training.distributed import share_number
from hamguard.training.recipe import Recipe
from hamguard.training.stopping import StopRequest

Progress = Callable[[float, str], None]
"""Called with the share of the run that is done and a short text."""


@dataclass(frozen=True)
class Batch:
    """One global batch: numbers of its items, and which of them are this process's.

    Attributes:
        index: numbers of the items in the training set, `(B,)`.
        part: this process's rows.
        progress: share of the run that is done, in [0, 1).
        generator: random numbers of this step, equal on all processes.
    """

    index: Tensor
    part: slice
    progress: float
    generator: torch.Generator


class Task(Protocol):
    """What can be trained: hash models, generators, defenses."""

    items: int

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimizer, each with `params` and `lr_factor`."""

    def begin(self) -> None:
        """Prepare a fresh run."""

    def select(self, epoch: int) -> Tensor | None:
        """Items of this epoch, or None for all."""

    def step(self, batch: Batch) -> Tensor:
        """Loss of one batch, a scalar with gradient."""

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Updates between epochs; facts for the history."""

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors, numbers, strings, dictionaries of them."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""


class PlainTask:
    """What most tasks share: one network whose weights all learn alike, from all items in every epoch; nothing is prepared.

    Attributes:
        net: the network, changed in place.
    """

    net: nn.Module

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group with all weights."""
        return [{"params": list(self.net.parameters()), "lr_factor": 1.0}]

    def begin(self) -> None:
        """Nothing to prepare."""

    def select(self, epoch: int) -> Tensor | None:
        """All items."""
        return None


@dataclass
class Progressed:
    """Where a run stands."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = -1.0
    best_epoch: int = -1
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def make_optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer that the recipe names, over groups with their own `lr_factor`."""
    groups = [{**group, "lr": recipe.lr * group["lr_factor"]} for group in groups]
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(
            groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, weight_decay=recipe.weight_decay
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.RMSprop
    return kind(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def fit(
    task: Task,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    run: str,
    process_group: ProcessGroup | None = None,
    validate: Callable[[], float] | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Train a task to the end of its recipe, from wherever its folder says it stands.

    Args:
        task: what to train, changed in place.
        recipe: how.
        seed: seed of order, views and dropout.
        folder: keeps `checkpoint.pt` and `history.jsonl`.
        run: hash of the whole request; a checkpoint of another run is refused.
        process_group: this process among several.
        validate: MAP on the validation split; asked for after every `validate_every` epochs.
        progress: told how far the run is.

    Returns:
        The history, one dictionary an epoch.

    Raises:
        RunError: the loss is not finite.
        CollapseError: the codes became constant.
        StaleError: the folder holds another run.
        StoppedError: Ctrl-C; what was done is in the checkpoint.
    """
    with StopRequest() as stop:
        return _fit(task, recipe, seed, folder, run, process_group or ProcessGroup(), validate, progress, stop)


def _fit(
    task: Task,
    recipe: Recipe,
    seed: int,
    folder: Path,
    run: str,
    process_group: ProcessGroup,
    validate: Callable[[], float] | None,
    progress: Progress | None,
    stop: StopRequest,
) -> list[dict[str, float]]:
    optimizer = make_optimizer(task.parameter_groups(), recipe)
    stand, best_state = Progressed(), None
    stored = load_checkpoint(folder, run)
    if stored is None:
        task.begin()
    else:
        with taking(folder):
            stand = Progressed(**stored["stand"])
            task.load_state(stored["task"])
            optimizer.load_state_dict(stored["optimizer"])
            best_state = stored["best_state"]

    def save() -> None:
        if process_group.leads:
            content = {"stand": vars(stand), "task": task.state(), "optimizer": optimizer.state_dict()}
            save_checkpoint(folder, run, {**content, "best_state": best_state})

    def tell() -> None:
        if process_group.leads:
            write_text(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in stand.history))

    if stand.history:
        tell()  # the run may have been killed between its checkpoint and these lines
    saved = time.monotonic()
    while stand.epoch < recipe.passes and not stand.stopped:
        visit = task.select(stand.epoch)
        visit = torch.arange(task.items) if visit is None else visit
        order = visit[torch.randperm(len(visit), generator=torch_generator(seed, "order", stand.epoch))]
        size = min(recipe.batch_of(task.items), len(order)) // process_group.size * process_group.size
        if size == 0:
            raise RunError(f"{len(order)} training pictures are too few for {process_group.size} processes")
        steps = len(order) // size  # the incomplete last batch is left out: its pairs would weigh more than others
        while stand.step < steps:
            done = stand.epoch + stand.step / steps
            index = order[stand.step * size : (stand.step + 1) * size]  # (B,)
            loss = _turn(task, optimizer, recipe, stand, index, done, seed, process_group)
            if progress:
                share = done / recipe.passes + 1 / steps / recipe.passes
                progress(share, f"epoch {stand.epoch + 1}/{recipe.passes}  loss {loss:.4f}")
            due = recipe.checkpoint_seconds and time.monotonic() - saved > recipe.checkpoint_seconds
            if (due or stop.asked) and stand.step < steps:
                save()
                saved = time.monotonic()
            if stop.asked and stand.step < steps:
                raise StoppedError(_stopped(stand, recipe, folder))
        facts = {"epoch": stand.epoch + 1, "loss": stand.loss_sum / steps, "seconds": round(stand.seconds, 3)}
        facts |= task.end_epoch(stand.epoch)
        last = stand.epoch + 1 == recipe.passes
        if validate and ((stand.epoch + 1) % recipe.validate_every == 0 or last):
            facts["validation_map"] = value = share_number(validate() if process_group.leads else 0.0, process_group)
            if value > stand.best:
                stand.best, stand.best_epoch = value, stand.epoch
                best_state = task.state() if recipe.patience else None
            elif recipe.patience and stand.epoch - stand.best_epoch >= recipe.patience * recipe.validate_every:
                stand.stopped = True
        stand.history.append(facts)
        stand.epoch, stand.step, stand.loss_sum = stand.epoch + 1, 0, 0.0
        save()
        saved = time.monotonic()
        tell()
        if stop.asked and stand.epoch < recipe.passes and not stand.stopped:
            raise StoppedError(_stopped(stand, recipe, folder))
    if best_state is not None:
        task.load_state(best_state)
    return stand.history


def _turn(
    task: Task,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    stand: Progressed,
    index: Tensor,
    done: float,
    seed: int,
    process_group: ProcessGroup,
) -> float:
    """One step on the items `index` `(B,)` after `done` epochs, entered in `stand`: its loss."""
    started = time.monotonic()
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr * group["lr_factor"] * recipe.rate(done)
    own = len(index) // process_group.size
    mine = slice(process_group.rank * own, (process_group.rank + 1) * own)
    batch = Batch(index, mine, done / recipe.passes, torch_generator(seed, "step", stand.epoch, stand.step))
    loss = _step(task, optimizer, batch, recipe, derive_seed(seed, "net", stand.epoch, stand.step, process_group.rank))
    if not math.isfinite(loss):
        raise RunError(
            f"the loss became {loss} in epoch {stand.epoch + 1}, step {stand.step + 1}; "
            f"lower the learning rate (now `lr={recipe.lr:g}`) or clip gradients (`clip_norm=1`)"
        )
    stand.loss_sum += loss
    stand.step += 1
    stand.seconds += time.monotonic() - started
    return loss


def _stopped(stand: Progressed, recipe: Recipe, folder: Path) -> str:
    where = f"after {stand.epoch} of {recipe.passes} epochs" + (f" and {stand.step} steps" if stand.step else "")
    return f"stopped {where}; {folder} keeps a checkpoint, and the same command goes on from there"


def _step(task: Task, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe, net_seed: int) -> float:
    """One update; dropout draws from a generator of this step, and the global one is put back."""
    device = optimizer.param_groups[0]["params"][0].device
    mixed: AbstractContextManager[Any] = nullcontext()
    if recipe.precision == "bfloat16":
        mixed = torch.autocast(device.type, torch.bfloat16)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(net_seed)
        with mixed:
            loss = task.step(batch)
        value = float(loss.detach())
        if math.isfinite(value):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.clip_norm:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
            optimizer.step()
    return value


def forget(folder: Path) -> None:
    """Remove the checkpoint of a finished or unwanted run."""
    (folder / NAME).unlink(missing_ok=True)
