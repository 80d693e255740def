"""Pictures of a query part under attack, batch by batch; a run that was killed goes on where it stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.ensemble import add_spent, attack_jointly, combine
from hamguard.attacks.types import Attacked
from hamguard.codes.bank import CodeBank
from hamguard.core.archives import read_npz
from hamguard.core.context import ProcessGroup
from hamguard.core.digests import digest_array, digest_json
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.files import write_npz
from hamguard.core.types import Bytes, Floats, Ints
from hamguard.data.dataset import Dataset
from hamguard.evaluation.attack.plan import AttackPlan, describe
from hamguard.images.quantize import as_pixels
from hamguard.models.folding import folded
from hamguard.models.store import AnyModel
from hamguard.training.distributed import wait

Progress = Callable[[float, str], None]
ALONE = ProcessGroup()
KEPT = ("pixels", "forwards", "backwards", "flat", "seconds")


@dataclass(frozen=True)
class AttackedPictures:
    """What an attack made of Q pictures.

    Attributes:
        pixels: attacked pictures, `(Q, H, W)` or `(Q, H, W, 3)` uint8.
        forwards: forward passes spent on each, `(Q,)`.
        backwards: backward passes, `(Q,)`.
        seconds: time that the attack took, all batches together.
        flat: how many backward passes gave nothing but zeros, `(Q,)`; empty where nobody counted.
    """

    pixels: Bytes
    forwards: Ints
    backwards: Ints
    seconds: float
    flat: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def standing(self) -> Floats:
        """Pictures that stood still, as 1 and 0, `(Q,)`: a gradient was asked for, and every one was exactly zero."""
        flat = self.flat if len(self.flat) else np.zeros_like(self.backwards)
        still: Floats = ((self.backwards > 0) & (flat == self.backwards)).astype(np.float64)
        return still


@dataclass(frozen=True)
class Source:
    """A model that pictures are made on: the attack with its guide made ready for it, and the codes that guides vote over."""

    attack: Any
    model: AnyModel
    bank: CodeBank


def run_key(
    plan: AttackPlan,
    attack: Any,
    sources: Sequence[Source],
    dataset: Dataset,
    rows: Ints,
    labels: Bytes | None,
    seed: int,
    batch_size: int,
) -> str:
    """Content hash of everything that decides the pixels."""
    return digest_json(
        {
            "attack": describe(attack),
            "combine": plan.combine,
            "fold": plan.fold,
            "seed": seed,
            "batch": batch_size,
            "sources": [[source.model.digest, source.bank.digest] for source in sources],
            "pictures": [dataset.images.digest, digest_array(rows)],
            "labels": digest_array(labels) if labels is not None else None,
        }
    )


def run_attack(
    plan: AttackPlan,
    sources: Sequence[Source],
    dataset: Dataset,
    rows: Ints,
    labels: Bytes | None,
    *,
    work: Path,
    numbers: Ints | None = None,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    process_group: ProcessGroup = ALONE,
    progress: Progress | None = None,
) -> AttackedPictures:
    """Attack pictures of a data set.

    Args:
        plan: the request, for how several sources are joined.
        sources: one model, or several that the pictures are made on together.
        dataset: the pictures.
        rows: which of them, `(Q,)`.
        labels: their labels, or target labels, `(Q, C)`; None where there are none.
        work: folder of finished batches; batches that lie there are not made again.
        numbers: numbers of the pictures in the whole run, `(Q,)`, which their random numbers come from; None for 0 to Q - 1.
        seed: seed of the attack.
        batch_size: pictures attacked at once.
        device: where to compute.
        process_group: processes that share the batches; each of them returns all pictures.
        progress: told how far the work is.

    Raises:
        RequestError: what the guide needs is missing.
        RunError: the gradient is NaN, or the disk is full.
        StoppedError: a person stopped the run; finished batches stay.
    """
    parts = []
    numbers = np.arange(len(rows)) if numbers is None else numbers
    if plan.fold:
        sources = [replace(source, model=folded(source.model)) for source in sources]
    starts = range(0, len(rows), batch_size)
    if process_group.size > 1:
        for start in starts[process_group.rank :: process_group.size]:
            one = slice(start, min(start + batch_size, len(rows)))
            if kept_batch(work / f"{start:07d}.npz", KEPT, one.stop - start) is None:
                made = _attack_batch(plan, sources, dataset, rows, labels, numbers, one, seed, device)
                keep_batch(work / f"{start:07d}.npz", made)
        wait(process_group)  # from here on every batch lies there for everybody
    for start in starts:
        stop = min(start + batch_size, len(rows))
        path = work / f"{start:07d}.npz"
        part = kept_batch(path, KEPT, stop - start)
        if part is None:
            try:
                part = _attack_batch(plan, sources, dataset, rows, labels, numbers, slice(start, stop), seed, device)
            except KeyboardInterrupt as stopped:
                raise StoppedError(
                    f"stopped: {start:,} of {len(rows):,} pictures are attacked; the same command goes on from there"
                ) from stopped
            keep_batch(path, part)
        parts.append(part)
        if progress:
            progress(stop / len(rows), f"{stop:,} of {len(rows):,} pictures")
    wait(process_group)  # nobody forgets a batch that another still reads
    joined = {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in KEPT}
    return AttackedPictures(
        joined["pixels"], joined["forwards"], joined["backwards"], float(joined["seconds"].sum()), joined["flat"]
    )


def forget(work: Path) -> None:
    """Remove the batches of a finished run."""
    shutil.rmtree(work, ignore_errors=True)


def keep_batch(path: Path, arrays: dict[str, Any]) -> None:
    """Keep a finished batch, with the name of its folder and its own, so that no other takes its place.

    Raises:
        RunError: the file cannot be written.
    """
    write_npz(path, {**arrays, "place": np.array(_place(path))})


def kept_batch(path: Path, names: Sequence[str], count: int) -> dict[str, Any] | None:
    """A finished batch of `count` items; None where there is none, or it is damaged or that of another place."""
    try:
        arrays = read_npz(path, "batch", sealed=True)
    except RequestError:
        return None
    whole = all(name in arrays for name in names) and len(arrays[names[0]]) == count
    return {name: arrays[name] for name in names} if whole and str(arrays.get("place")) == _place(path) else None


def _place(path: Path) -> str:
    return "/".join(path.parts[-2:])


def _attack_batch(
    plan: AttackPlan,
    sources: Sequence[Source],
    dataset: Dataset,
    rows: Ints,
    labels: Bytes | None,
    numbers: Ints,
    part: slice,
    seed: int,
    device: torch.device | str,
) -> dict[str, Any]:
    begun = time.perf_counter()
    x = dataset.images.batch(rows[part]).to(device)  # (b, C, H, W)
    marks = None if labels is None else torch.from_numpy(labels[part]).float().to(device)
    index = numbers[part].tolist()
    if plan.combine == "joint" and len(sources) > 1:
        attacks, models = [source.attack for source in sources], [source.model for source in sources]
        banks = [source.bank for source in sources]
        found: list[Attacked] = [attack_jointly(attacks, models, x, marks, banks, index=index, seed=seed)]
    else:
        found = [one.attack(one.model, x, marks, one.bank, index=index, seed=seed) for one in sources]
    made = [one.x_adv for one in found]
    x_adv = made[0]
    if len(made) > 1 and plan.combine != "joint":
        x_adv = combine(x, made, plan.threat, plan.combine)
    spent = add_spent([one.spent for one in found])
    return {
        "pixels": as_pixels(x_adv),
        "forwards": spent.forwards.numpy(),
        "backwards": spent.backwards.numpy(),
        "flat": spent.flat.numpy(),
        "seconds": np.array(time.perf_counter() - begun),
    }
