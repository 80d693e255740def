"""Queries under attack, images or texts, batch by batch; a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack, bags_of
from hamguard.attacks.ensemble import add_spent, attack_jointly, combine
from hamguard.attacks.losses.cmla import distortion
from hamguard.attacks.types import Attacked
from hamguard.attacks.words import WordEdits
from hamguard.codes.bank import CodeBank
from hamguard.core.archives import read_npz
from hamguard.core.context import Context, Progress, silent
from hamguard.core.digests import digest_array, digest_bytes, digest_json
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

ITEMS, COUNTS, FAR = "items", ("forwards", "backwards", "flat"), "distance"
TIMES = ("seconds", "core_seconds")


@dataclass(frozen=True)
class AttackedSet:
    """What an attack made of Q queries.

    Attributes:
        items: attacked images, `(Q, H, W)` or `(Q, H, W, 3)` uint8, or bags of words, `(Q, D)` float32.
        forwards: forward passes spent on each, `(Q,)`.
        backwards: backward passes, `(Q,)`.
        seconds: time that the attack took, all batches together.
        flat: how many backward passes gave nothing but zeros, `(Q,)`; empty where nobody counted.
        distance: how far each item moved (D, or number of edits), `(Q,)`; empty where it was read from files.
        texts: edited texts, where words were edited.
        edits: what was done to each of them.
        targets: target labels, None away from a guide.
        kept: what it was after fewer gradients.
        core_seconds: time that the processor worked on it, whatever else ran beside; None where it was read from files.
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
    kept: Mapping[int, AttackedSet] = field(default_factory=dict)
    core_seconds: float | None = None

    def at(self, mark: int) -> AttackedSet:
        """After some number of gradients, the last where it was not looked at on its way."""
        return self.kept.get(mark, self)

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
    """Content hash of everything that decides what an attack makes."""
    code, texts = code_digests(spec.attack), spec.modality == "text"
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
            **(
                {"texts": digest_bytes(*(text.encode(errors="surrogatepass") for text in ground.texts))}
                if texts
                else {}
            ),
            **({"marks": spec.marks} if spec.marks else {}),
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
    marks: Sequence[int] = (),
    context: Context | None = None,
) -> AttackedSet:
    """Attack queries of a ground: its images or its texts, as the attack says.

    Args:
        ground: what asks, how many at once, device.
        sources: one model, or several that the images are made on together.
        labels: labels of the queries, or target labels, `(n, C)`; None where there are none.
        work: folder of finished batches; batches that lie there are not made again.
        numbers: which queries, `(n,)`; None for all. Random numbers come from the number of a query, whatever is left out.
        seed: seed of the attack; None for the ground's.
        combine: how several sources are joined.
        fold: take gradients from copies whose batch norms are folded.
        marks: numbers of gradients after which `AttackedSet.at` has them, too; for one source.
        context: how progress is shown, and the processes that share the batches, each of which returns all items; None for
            the ground's.

    Raises:
        RequestError: what the guide needs is missing.
        RunError: the gradient is NaN, or the disk is full.
        StoppedError: a person stopped the run; finished batches stay.
    """
    context = context or ground.context
    parts, group, step = [], context.process_group, ground.batch_size
    numbers = np.arange(len(ground.query)) if numbers is None else numbers
    if fold:
        sources = [replace(source, model=folded(source.model)) for source in sources]
    first = sources[0].attack
    names, what = kept_names(first, marks), "pictures" if first.modality == "image" else "texts"

    def attacked(start: int, progress: Progress = silent) -> dict[str, Any]:
        part = slice(start, min(start + step, len(numbers)))
        goals = None if labels is None else labels[part]
        own = ground.seed if seed is None else seed
        watch = within(progress, part, len(numbers), gradients_of(first), f"{what}, gradient")
        return _attack_batch(ground, sources, goals, numbers[part], own, combine, marks, watch)

    starts = range(0, len(numbers), step)
    if group.size > 1:
        for start in starts[group.rank :: group.size]:
            if kept_batch(work / f"{start:07d}.npz", names, min(step, len(numbers) - start)) is None:
                keep_batch(work / f"{start:07d}.npz", attacked(start))
        wait(group)  # from here on every batch lies there for everybody
    with context.stage(first.name or "attack") as progress:
        for start in starts:
            stop = min(start + step, len(numbers))
            path = work / f"{start:07d}.npz"
            part = kept_batch(path, names, stop - start)
            if part is None:
                try:
                    part = attacked(start, progress)
                except KeyboardInterrupt as stopped:
                    raise StoppedError(
                        f"stopped: {start:,} of {len(numbers):,} {what} are attacked; the same command goes on from there"
                    ) from stopped
                keep_batch(path, part)
            parts.append(part)
            progress(stop / len(numbers), f"{stop:,} of {len(numbers):,} {what}")
    wait(group)  # nobody forgets a batch that another still reads
    return _joined(parts, first, marks)


def gradients_of(attack: Any) -> int:
    """Gradients that a picture costs at most; 0 where the attack does not say."""
    search = getattr(attack, "search", None)
    views, restarts = getattr(search, "views", ()), getattr(search, "restarts", 1)
    return int(getattr(search, "steps", 0) or 0) * int(restarts or 1) * max(1, len(views))


def within(progress: Progress, part: slice, count: int, most: int, what: str) -> Callable[[int], None]:
    """What a batch tells while it is attacked, so that a bar moves before the first batch is done.

    Args:
        progress: told the share of all items that is done.
        part: the items of the batch.
        count: how many items there are.
        most: how often the batch tells something at most; 0: that is not known, and it tells nothing.
        what: what it then has done so many of.
    """

    def watch(done: int) -> None:
        if most:
            share = (part.start + (part.stop - part.start) * min(1.0, done / most)) / count
            progress(share, f"{part.start:,} of {count:,} {what} {done:,} of {most:,}")

    return watch


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


def kept_names(attack: Attack[Any], marks: Sequence[int]) -> list[str]:
    """Names of the arrays of a finished batch."""
    each = [f"{name}{end}" for end in ("", *(f"-{mark}" for mark in marks)) for name in (ITEMS, *COUNTS, FAR)]
    return [*each, *TIMES, *(["edited"] if isinstance(attack.search, WordEdits) else [])]


def _attack_batch(
    ground: Ground,
    sources: Sequence[Source],
    labels: Bytes | None,
    numbers: Ints,
    seed: int,
    how: Combine,
    marks: Sequence[int],
    watch: Callable[[int], None],
) -> dict[str, Any]:
    begun, worked, attack = time.perf_counter(), time.process_time(), sources[0].attack
    x = ground.items(attack.modality, numbers)  # (b, C, H, W), or b texts
    goals = None if labels is None else torch.from_numpy(labels).float().to(ground.device)
    at: dict[str, Any] = {"index": numbers.tolist(), "seed": seed}
    clean = x if isinstance(x, Tensor) else bags_of(sources[0].model, x)
    if how == "joint" and len(sources) > 1:
        attacks, models = [source.attack for source in sources], [source.model for source in sources]
        banks = [source.bank for source in sources]
        found: list[Attacked] = [attack_jointly(attacks, models, clean, goals, banks, **at)]
    else:
        at |= {"watch": watch} if len(sources) == 1 and isinstance(attack, Attack) else {}
        found = [one.attack(one.model, x, goals, one.bank, marks=marks, **at) for one in sources]
    last = found[0]
    if len(found) > 1:
        together = combine(clean, [one.x_adv for one in found], attack.threat, how)  # type: ignore[arg-type]
        last = replace(last, x_adv=together, spent=add_spent([one.spent for one in found]))
    batch = _arrays(attack, last, clean)
    for mark in marks:
        batch |= {f"{name}-{mark}": array for name, array in _arrays(attack, last.kept[mark], clean).items()}
    if last.edited is not None:
        pairs = zip(last.edited.texts, last.edited.edits, strict=True)
        batch["edited"] = np.array([json.dumps([text, *edits]) for text, edits in pairs])
        batch[FAR] = np.array([len(edits) for edits in last.edited.edits], np.float64)
    spent = time.perf_counter() - begun, time.process_time() - worked
    return {**batch, **{name: np.array(one) for name, one in zip(TIMES, spent, strict=True)}}


def _arrays(attack: Attack[Any], found: Attacked, clean: Tensor) -> dict[str, Any]:
    """A batch as it is kept: pixels as bytes, bags as they are, what was spent, how far each item moved."""
    moved, spent = distortion(found.x_adv, clean).cpu().double().numpy(), found.spent
    items = as_pixels(found.x_adv) if attack.modality == "image" else found.x_adv.cpu().numpy()
    return {ITEMS: items, **{name: getattr(spent, name).numpy() for name in COUNTS}, FAR: moved}


def _joined(parts: Sequence[Mapping[str, Any]], attack: Attack[Any], marks: Sequence[int]) -> AttackedSet:
    """Batches as a run."""
    joined = {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in kept_names(attack, marks)}
    steps = getattr(attack.search, "steps", 0)
    seconds, cores = (float(joined[name].sum()) for name in TIMES)

    def whole(end: str, share: float) -> AttackedSet:
        items, forwards, backwards, flat, moved = (joined[f"{name}{end}"] for name in (ITEMS, *COUNTS, FAR))
        return AttackedSet(items, forwards, backwards, seconds * share, flat, moved, core_seconds=cores * share)

    done, kept = whole("", 1.0), {mark: whole(f"-{mark}", mark / steps) for mark in marks}
    edited = [json.loads(str(one)) for one in joined.get("edited", ())]
    return replace(
        done, texts=tuple(one[0] for one in edited), edits=tuple(tuple(one[1:]) for one in edited), kept=kept
    )
