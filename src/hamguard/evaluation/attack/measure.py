"""From a plan to rows: targets, guide, attacked pictures, their codes, and everything that stands beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.generated import GeneratedAttack
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.universal import Universal
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming_pairs, pack
from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Bytes, Ints
from hamguard.evaluation.attack.files import check_folder, read_pictures, write_manifest, write_pictures
from hamguard.evaluation.attack.generators import check_generator, noise_like, with_generator
from hamguard.evaluation.attack.plan import AttackPlan, attack_facts, build_attack, check_gradients, threat_facts
from hamguard.evaluation.attack.rows import Facts, Sides, attack_rows
from hamguard.evaluation.attack.run import ALONE, AttackedPictures, Source, forget, run_attack, run_key
from hamguard.evaluation.attack.targets import Targets, choose_targets, save_targets
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.score import EXACT, Convention
from hamguard.images.distortion import Distortion, measure_distortion
from hamguard.models.trial import ZERO_GRADIENT
from hamguard.training.encode import fits

Progress = Callable[[float, str], None]

FEW = 0.05
"""Share of the pictures, or bits, that may be out of order."""


@dataclass(frozen=True)
class Measured:
    """An attack on a model, measured.

    Attributes:
        plan: what was asked for.
        rows: its rows.
        sides: codes of the clean, noisy, ideal and attacked queries.
        pixels: attacked queries, `(Q, H, W)` or `(Q, H, W, 3)` uint8.
        targets: target labels, None away from a guide.
        distortion: of each picture.
    """

    plan: AttackPlan
    rows: list[Row]
    sides: Sides
    pixels: Bytes
    targets: Targets | None = None
    distortion: Distortion | None = field(default=None, repr=False)


def measure_attack(
    ground: Ground,
    plan: AttackPlan,
    *,
    sources: Sequence[Loaded] = (),
    work: Path,
    save_images: Path | None = None,
    restart: bool = False,
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
    process_group: ProcessGroup = ALONE,
    progress: Progress | None = None,
) -> Measured:
    """Carry out a plan and measure it.

    Args:
        ground: the scored model on its data.
        plan: the attack.
        sources: models that the pictures are made on, in the plan's order; empty for the scored model.
        work: folder for finished batches of unfinished runs.
        save_images: write the pictures here as PNG, with manifest and targets.
        restart: replace what lies there, and forget finished batches.
        metrics: as for `evaluate`.
        convention: ties, denominator, empty queries.
        process_group: processes that share the work on the pictures.
        progress: told how far the attack is.

    Raises:
        RequestError: a plan that cannot be carried out.
        RunError: NaN gradients, or a full disk.
    """
    attack = with_generator(build_attack(plan), plan)
    aware = bool(attack.guide.needs_labels)
    _check_labels(ground, plan, aware)
    check_gradients(plan.method, [one.model for one in sources] or [ground.model])
    targets = _targets(ground, plan)
    labels = targets.labels if targets else ground.query.labels if ground.query.labels.any() else None
    _check_sources(attack, plan, ground, sources)
    if aware and plan.reference == "train":
        _ = ground.reference  # encoded once for all guides, and no part of their time
    begun = time.perf_counter()
    own = _source(attack, ground, plan, ground.loaded, labels)
    ideal = _ideal(ground, own, plan, labels)  # before the attack, which would find the guide's codes kept
    guiding = None if isinstance(attack, Universal) else round(time.perf_counter() - begun, 3)
    made_on = [_source(attack, ground, plan, one, labels) for one in sources] or [own]
    key = run_key(
        plan, attack, made_on, ground.dataset, ground.rows, labels, ground.seed, ground.batch_size
    )  # fmt: skip
    folder = save_images / ".work" if save_images else work
    if save_images:
        check_folder(save_images, key, restart=restart)
    if restart:
        forget(folder / key)
    clean = ground.dataset.images.pixels(ground.rows)
    found = read_pictures(save_images, key, ground.query.ids) if save_images and not restart else None
    fresh = found is None
    if found is None:
        found = run_attack(
            plan, made_on, ground.dataset, ground.rows, labels, work=folder / key, seed=ground.seed,
            batch_size=ground.batch_size, device=ground.device, process_group=process_group, progress=progress,
        )  # fmt: skip
        if save_images:  # what is scored is what the files give back
            found = replace(found, pixels=write_pictures(save_images, found.pixels, ground.query.ids))
    attacked = ground.codes_of(found.pixels)
    distortion = measure_distortion(clean, found.pixels)
    ball = attack.threat or noise_like(distortion.rmse)
    sides = Sides(ground.query, ground.noisy(ball), ideal, attacked)
    if save_images and targets:  # beside pictures that lay there already, too: the list may have been changed since
        save_targets(save_images / "targets.json", targets, ground.query.ids, ground.dataset.class_names, ground.seed)
    if save_images and fresh:
        facts_of_run = {"run": key, "attack": attack_facts(plan, attack), "threat": threat_facts(plan, attack)}
        _write_facts(save_images, facts_of_run, found, sides, distortion, ground, targets)
    named = {**attack_facts(plan, attack), "reference_codes": own.bank.digest if aware else None}
    facts = Facts(
        _base(ground, targets), named, threat_facts(plan, attack),
        round(found.seconds, 3), _mean_up(found.forwards), _mean_up(found.backwards), ball, guiding, _standing(found),
    )  # fmt: skip
    rows = attack_rows(
        facts, sides, _searched(ground), distortion, targets=targets.labels if targets else None,
        metrics=metrics, convention=convention, seed=ground.seed,
    )  # fmt: skip
    forget(folder if save_images else folder / key)
    return Measured(plan, rows, sides, found.pixels, targets, distortion)


def _source(attack: Any, ground: Ground, plan: AttackPlan, of: Loaded, labels: Bytes | None) -> Source:
    """The attack made ready on training data: guides that learn (prototype) and perturbations that are fitted (universal)."""
    learns, model = isinstance(attack, Universal), of.model
    if not (attack.guide.needs_labels or learns):
        return Source(attack, model, ground.query.select(np.arange(0)))  # nothing votes
    if isinstance(attack.guide, CrossCodes) and attack.guide.material == "batch":
        bank = ground.codes_of_part("query", of)
    elif model is ground.model and plan.reference == "train":
        bank = ground.reference
    else:
        bank = ground.codes_of_part(plan.reference, of)
    if isinstance(attack, GeneratedAttack) and model.digest != attack.victim:
        return Source(attack.against(bank, ground.seed), model, bank)
    if not learns:
        return Source(attack.prepared(bank, ground.seed), model, bank)
    learned = ground.split.train
    marks = ground.dataset.labels[learned]
    if plan.toward and labels is not None:
        if len(np.unique(labels, axis=0)) > 1:
            raise RequestError("one universal perturbation has one target; name it: --targets label:NAME")
        marks = np.repeat(labels[:1], len(learned), axis=0)

    def pictures(numbers: Sequence[int]) -> torch.Tensor:
        return ground.dataset.images.batch(learned[np.asarray(numbers)]).to(ground.device)

    fitted = attack.fit(model, pictures, torch.from_numpy(marks).float().to(ground.device), bank, ground.seed)
    return Source(fitted, model, bank)


def _check_sources(attack: Any, plan: AttackPlan, ground: Ground, sources: Sequence[Loaded]) -> None:
    if isinstance(attack, GeneratedAttack):
        check_generator(attack, plan, ground.dataset, ground.model, [one.model for one in sources])
    if isinstance(attack, Universal) and len(sources) > 1 and plan.combine == "joint":
        raise RequestError("a universal perturbation is fitted on one model; give --combine sum, sum-project or mean")
    for one in sources:
        if not fits(one.model, ground.dataset.images):
            have, want = ground.dataset.images.size, tuple(one.model.size)
            raise RequestError(
                f"{one.name} takes pictures of {want[0]}x{want[1]} pixels, the data have {have[0]}x{have[1]}"
            )


def _check_labels(ground: Ground, plan: AttackPlan, aware: bool) -> None:
    if not ground.labeled and (aware or plan.toward):
        raise RequestError(
            f"{plan.method} needs labels, and {ground.dataset.name} has none; label-free: hag, or "
            "fgsm, ifgsm, pgd, mifgsm, adaptive with --guide own"
        )


def _targets(ground: Ground, plan: AttackPlan) -> Targets | None:
    if not plan.toward:
        return None
    part = ground.split.train if plan.reference == "train" else ground.split.database
    return choose_targets(
        str(plan.rule), ground.query.labels, ground.database.labels, reference=ground.dataset.labels[part],
        ids=ground.query.ids, class_names=ground.dataset.class_names, seed=ground.seed,
    )  # fmt: skip


def _ideal(ground: Ground, own: Source, plan: AttackPlan, labels: Bytes | None) -> CodeBank:
    """The guide codes on the scored model: what an attack reaches that follows its guide to the end."""
    marks = None if labels is None else torch.from_numpy(labels).float()
    guide = own.attack.guide(ground.query.codes, marks, own.bank, range(len(ground.query)), ground.seed)
    code = guide if isinstance(guide, torch.Tensor) else guide.vote  # (Q, K)
    return replace(ground.query, packed=pack(code if plan.toward else -code))


def _write_facts(
    folder: Path, facts: dict[str, Any], found: AttackedPictures, sides: Sides, distortion: Distortion, ground: Ground,
    targets: Targets | None,
) -> None:  # fmt: skip
    """The manifest of saved pictures, written last."""
    names, moved = ground.dataset.class_names, hamming_pairs(sides.attacked.packed, sides.clean.packed)

    def words(row: Bytes) -> list[str]:
        return [names[c] for c in np.flatnonzero(row)]

    each: list[dict[str, Any]] = [
        {
            "row": int(ground.rows[i]), "labels": words(ground.query.labels[i]),
            "target": words(targets.labels[i]) if targets else None, "bits_moved": int(moved[i]),
            "linf": round(float(distortion.linf[i]), 6), "rmse": round(float(distortion.rmse[i]), 6),
            "forwards": int(found.forwards[i]), "backwards": int(found.backwards[i]),
            **({"flat": int(found.flat[i])} if len(found.flat) else {}),
        }
        for i in range(len(moved))
    ]  # fmt: skip
    where = {
        "model": ground.name, "model_hash": ground.model.digest, "dataset": ground.dataset.title,
        "split": ground.split.digest, "seed": ground.seed, "seconds": found.seconds,
    }  # fmt: skip
    write_manifest(folder, ground.query.ids, {**facts, **where}, each)


def _searched(ground: Ground) -> dict[str, CodeBank]:
    """Clean database codes by the name of each search with images."""
    names = ("image->image", "image->text") if ground.cross else ("",)
    return {name: ground.search(name)[1] for name in names}


def _base(ground: Ground, targets: Targets | None) -> Row:
    row, hashes = ground.base, dict(ground.base.hashes)
    if ground.cross:  # one model in all its rows, whichever side was attacked
        hashes |= {"model": ground.cross.digest, "image_side": ground.model.digest}
    notes = list(row.notes)
    if targets:
        hashes["targets"] = targets.digest
        notes += targets.notes
        shared = int(((targets.labels & ground.query.labels).any(1)).sum())
        if shared:
            notes.append(f"{shared} of {len(ground.query)} pictures share a label with their target already")
    return replace(row, hashes=hashes, notes=tuple(notes))


def _standing(found: AttackedPictures) -> tuple[str, ...]:
    """A note where the search stood still on more pictures than may be out of order."""
    still = found.standing
    if still.mean() <= FEW:
        return ()
    return (f"for {int(still.sum()):,} of {len(still):,} pictures {ZERO_GRADIENT}",)


def _mean_up(counts: Ints) -> int:
    return int(np.ceil(counts.mean()))
