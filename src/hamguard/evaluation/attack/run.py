"""Pictures of a query part under attack, batch by batch; a run that was killed goes on where it stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.ensemble import add_spent, attack_jointly, combine
from hamguard.attacks.types import Attacked
from hamguard.codes.bank import CodeBank
from hamguard.core.archives import read_npz
from hamguard.core.context import ProcessGroup, Progress, silent
from hamguard.core.digests import digest_array, digest_json
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.files import write_npz
from hamguard.core.types import Bytes, Floats, Ints
from hamguard.evaluation.attack.spec import AttackSpec, Combine, code_digests, describe
from hamguard.evaluation.attack.targets import Targets
from hamguard.evaluation.ground import Ground
from hamguard.images.quantize import as_pixels
from hamguard.models.folding import folded
from hamguard.models.store import AnyModel
from hamguard.training.distributed import wait

ALONE = ProcessGroup()
KEPT = ("pixels", "forwards", "backwards", "flat", "seconds")


@dataclass(frozen=True)
class AttackedSet:
    """What an attack made of Q queries.

    Attributes:
        items: attacked images, `(Q, H, W)` or `(Q, H, W, 3)` uint8, or bags of words, `(Q, D)` float32.
        forwards: forward passes spent on each, `(Q,)`.
        backwards: backward passes, `(Q,)`.
        seconds: time that the attack took, all batches together.
        flat: how many backward passes gave nothing but zeros, `(Q,)`; empty where nobody counted.
        distance: how far each item moved by the attack's own measure (D, or number of edits), `(Q,)`; empty where it has none.
        texts: edited texts, where words were edited.
        edits: what was done to each of them.
        targets: target labels, None away from a guide.
    """

    items: Any
    forwards: Ints
    backwards: Ints
    seconds: float
    flat: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    distance: Floats = field(default_factory=lambda: np.zeros(0))
    texts: Sequence[str] = ()
    edits: Sequence[Sequence[str]] = ()
    targets: Targets | None = None

    @property
    def pixels(self) -> Bytes:
        """Attacked images, `(Q, H, W)` or `(Q, H, W, 3)` uint8."""
        found: Bytes = self.items
        return found

    @property
    def standing(self) -> Floats:
        """Images that stood still, as 1 and 0, `(Q,)`: a gradient was asked for, and every one was exactly zero."""
        flat = self.flat if len(self.flat) else np.zeros_like(self.backwards)
        still: Floats = ((self.backwards > 0) & (flat == self.backwards)).astype(np.float64)
        return still

    @property
    def passes(self) -> tuple[int, int]:
        """Mean forward and backward passes an item, rounded up."""
        return int(np.ceil(self.forwards.mean())), int(np.ceil(self.backwards.mean()))


@dataclass(frozen=True)
class Source:
    """A model that images are made on: the attack with its guide made ready for it, and the codes that guides vote over."""

    attack: Any
    model: AnyModel
    bank: CodeBank


def run_key(spec: AttackSpec, sources: Sequence[Source], ground: Ground, labels: Bytes | None) -> str:
    """Content hash of everything that decides the pixels."""
    code = code_digests(spec.attack)
    return digest_json(
        {
            "attack": describe(spec.attack),
            "combine": spec.combine,
            "fold": spec.fold,
            "seed": ground.seed,
            "batch": ground.batch_size,
            "sources": [[source.model.digest, source.bank.digest] for source in sources],
            "pictures": [ground.dataset.images.digest, digest_array(ground.rows)],
            "labels": digest_array(labels) if labels is not None else None,
            **({"code": code} if code else {}),
        }
    )


def run_attack(
    ground: Ground,
    sources: Sequence[Source],
    labels: Bytes | None,
    *,
    work: Path,
    numbers: Ints | None = None,
    seed: int | None = None,
    combine: Combine = "joint",
    fold: bool = False,
    progress: Progress = silent,
    process_group: ProcessGroup = ALONE,
) -> AttackedSet:
    """Attack queries of a ground.

    Args:
        ground: the images, how many at once, device.
        sources: one model, or several that the images are made on together.
        labels: labels of the images, or target labels, `(n, C)`; None where there are none.
        work: folder of finished batches; batches that lie there are not made again.
        numbers: which queries, `(n,)`; None for all. Random numbers come from the number of a query, whatever is left out.
        seed: seed of the attack; None for the ground's.
        combine: how several sources are joined.
        fold: take gradients from copies whose batch norms are folded.
        progress: told how far the work is.
        process_group: processes that share the batches; each of them returns all images.

    Raises:
        RequestError: what the guide needs is missing.
        RunError: the gradient is NaN, or the disk is full.
        StoppedError: a person stopped the run; finished batches stay.
    """
    parts, group, step = [], process_group, ground.batch_size
    numbers = np.arange(len(ground.query)) if numbers is None else numbers
    if fold:
        sources = [replace(source, model=folded(source.model)) for source in sources]

    def attacked(start: int) -> dict[str, Any]:
        part = slice(start, min(start + step, len(numbers)))
        marks = None if labels is None else labels[part]
        return _attack_batch(ground, sources, marks, numbers[part], ground.seed if seed is None else seed, combine)

    starts = range(0, len(numbers), step)
    if group.size > 1:
        for start in starts[group.rank :: group.size]:
            if kept_batch(work / f"{start:07d}.npz", KEPT, min(step, len(numbers) - start)) is None:
                keep_batch(work / f"{start:07d}.npz", attacked(start))
        wait(group)  # from here on every batch lies there for everybody
    for start in starts:
        stop = min(start + step, len(numbers))
        path = work / f"{start:07d}.npz"
        part = kept_batch(path, KEPT, stop - start)
        if part is None:
            try:
                part = attacked(start)
            except KeyboardInterrupt as stopped:
                raise StoppedError(
                    f"stopped: {start:,} of {len(numbers):,} pictures are attacked; the same command goes on from there"
                ) from stopped
            keep_batch(path, part)
        parts.append(part)
        progress(stop / len(numbers), f"{stop:,} of {len(numbers):,} pictures")
    wait(group)  # nobody forgets a batch that another still reads
    joined = {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in KEPT}
    seconds = float(joined["seconds"].sum())
    return AttackedSet(joined["pixels"], joined["forwards"], joined["backwards"], seconds, joined["flat"])


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
    ground: Ground, sources: Sequence[Source], labels: Bytes | None, numbers: Ints, seed: int, how: Combine
) -> dict[str, Any]:
    begun = time.perf_counter()
    x = ground.dataset.images.batch(ground.rows[numbers]).to(ground.device)  # (b, C, H, W)
    marks = None if labels is None else torch.from_numpy(labels).float().to(ground.device)
    index = numbers.tolist()
    if how == "joint" and len(sources) > 1:
        attacks, models = [source.attack for source in sources], [source.model for source in sources]
        banks = [source.bank for source in sources]
        found: list[Attacked] = [attack_jointly(attacks, models, x, marks, banks, index=index, seed=seed)]
    else:
        found = [one.attack(one.model, x, marks, one.bank, index=index, seed=seed) for one in sources]
    made = [one.x_adv for one in found]
    x_adv = made[0]
    if len(made) > 1 and how != "joint":
        x_adv = combine(x, made, sources[0].attack.threat, how)
    spent = add_spent([one.spent for one in found])
    return {
        "pixels": as_pixels(x_adv),
        "forwards": spent.forwards.numpy(),
        "backwards": spent.backwards.numpy(),
        "flat": spent.flat.numpy(),
        "seconds": np.array(time.perf_counter() - begun),
    }
