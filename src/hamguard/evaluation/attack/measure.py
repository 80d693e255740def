"""From an attack to rows: targets, guide, attacked images, their codes, and everything that stands beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.generated import GeneratorPass, against
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming_pairs, pack
from hamguard.core.context import ProcessGroup, Progress
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Bytes
from hamguard.data.cache import cache_folder
from hamguard.evaluation.attack.files import check_folder, read_pictures, write_manifest, write_pictures
from hamguard.evaluation.attack.generators import check_generator, noise_like, with_generator
from hamguard.evaluation.attack.rows import Facts, Sides, attack_rows
from hamguard.evaluation.attack.run import ALONE, AttackedSet, Source, forget, run_attack, run_key
from hamguard.evaluation.attack.spec import AttackSpec, check_gradients
from hamguard.evaluation.attack.targets import Targets, choose_targets, save_targets
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.score import EXACT, Convention
from hamguard.images.distortion import Distortion, measure_distortion
from hamguard.models.trial import ZERO_GRADIENT
from hamguard.training.encode import fits

FEW = 0.05
"""Share of the pictures, or bits, that may be out of order."""


@dataclass(frozen=True)
class Measured:
    """An attack on a model, measured.

    Attributes:
        spec: the attack.
        made: what it made of the queries.
        rows: its rows.
        sides: codes of the clean, noisy, ideal and attacked queries.
        distortion: of each image.
    """

    spec: AttackSpec
    made: AttackedSet
    rows: Rows
    sides: Sides
    distortion: Distortion = field(repr=False)

    @property
    def targets(self) -> Targets | None:
        """Target labels, None away from a guide."""
        return self.made.targets


@dataclass(frozen=True)
class _Ready:
    """An attack made ready for a ground.

    Attributes:
        spec: with its generator.
        own: made ready for the scored model.
        made_on: made ready for the models that the images are made on.
        ideal: the guide codes on the scored model, what an attack reaches that follows its guide to the end.
        labels: of the queries, or target labels, `(Q, C)`; None where there are none.
        targets: target labels, None away from a guide.
        guide_seconds: time that the guide took to make its codes for all queries, its training included.
    """

    spec: AttackSpec
    own: Source
    made_on: list[Source]
    ideal: CodeBank
    labels: Bytes | None
    targets: Targets | None
    guide_seconds: float | None


def measure_attack(
    ground: Ground,
    spec: AttackSpec,
    *,
    save_images: Path | None = None,
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
    work: Path | None = None,
    progress: Progress | None = None,
    process_group: ProcessGroup = ALONE,
) -> Measured:
    """Carry out an attack and measure it.

    Args:
        ground: the scored model on its data; its context says whether to begin anew.
        spec: the attack.
        save_images: write the images here as PNG, with manifest and targets.
        metrics: as for `evaluate`.
        convention: ties, denominator, empty queries.
        work: folder for finished batches of unfinished runs; by default the context's, else in the user's cache.
        progress: told how far the attack is; by default a stage of the context.
        process_group: processes that share the work on the images.

    Raises:
        RequestError: an attack that cannot be carried out.
        RunError: NaN gradients, or a full disk.
    """
    ready = _ready(ground, spec)
    key = run_key(ready.spec, ready.made_on, ground, ready.labels)
    place = (save_images / ".work" if save_images else work or ground.context.work or cache_folder() / "attacks") / key
    if save_images:
        check_folder(save_images, key, restart=ground.context.restart)
    if ground.context.restart:
        forget(place)
    made = read_pictures(save_images, key, ground.query.ids) if save_images and not ground.context.restart else None
    fresh = made is None
    if made is None:
        with ground.context.stage(spec.title) as bar:
            made = run_attack(
                ground,
                ready.made_on,
                ready.labels,
                work=place,
                combine=spec.combine,
                fold=spec.fold,
                progress=progress or bar,
                process_group=process_group,
            )
        if save_images:  # what is scored is what the files give back
            made = replace(made, items=write_pictures(save_images, made.pixels, ground.query.ids))
    made = replace(made, targets=ready.targets)
    distortion = measure_distortion(ground.dataset.images.pixels(ground.rows), made.pixels)
    ball = ready.spec.threat or noise_like(distortion.rmse)
    sides = Sides(ground.query, ground.noisy(ball), ready.ideal, ground.codes_of(made.pixels))
    if save_images and made.targets:  # beside images that lay there already, too: the list may have been changed since
        names = ground.dataset.class_names
        save_targets(save_images / "targets.json", made.targets, ground.query.ids, names, ground.seed)
    if save_images and fresh:
        _write_facts(save_images, key, ready.spec, made, sides, distortion, ground)
    rows = attack_rows(
        _facts(ground, ready, made, ball),
        sides,
        _searched(ground),
        distortion,
        targets=made.targets.labels if made.targets else None,
        metrics=metrics,
        convention=convention,
        seed=ground.seed,
    )
    forget(place.parent if save_images else place)
    return Measured(ready.spec, made, Rows(rows), sides, distortion)


def _facts(ground: Ground, ready: _Ready, made: AttackedSet, ball: Threat) -> Facts:
    """What all rows of the attack say."""
    spec = ready.spec
    reference = ready.own.bank.digest if spec.aware else None
    return Facts(
        _base(ground, made.targets),
        {**spec.facts, "reference_codes": reference},
        spec.threat_facts,
        round(made.seconds, 3),
        *made.passes,
        noise=ball,
        guide_seconds=ready.guide_seconds,
        control=spec.is_noise,
        notes=_standing(made),
    )


def _ready(ground: Ground, spec: AttackSpec) -> _Ready:
    """Check everything, draw targets, and make the attack ready for the models that it is made on."""
    spec = with_generator(spec, spec.generator)
    _check_labels(ground, spec)
    if spec.follows_gradients:
        check_gradients(spec.name, [one.model for one in spec.sources] or [ground.model])
    targets = _targets(ground, spec)
    labels = targets.labels if targets else ground.query.labels if ground.query.labels.any() else None
    _check_sources(ground, spec)
    if spec.aware and spec.reference == "train":
        _ = ground.reference  # encoded once for all guides, and no part of their time
    begun = time.perf_counter()
    own = _source(ground, spec, ground.loaded, labels)
    ideal = _ideal(ground, own, labels)  # before the attack, which would find the guide's codes kept
    guiding = None if spec.attack.learns else round(time.perf_counter() - begun, 3)
    made_on = [_source(ground, spec, one, labels) for one in spec.sources] or [own]
    return _Ready(spec, own, made_on, ideal, labels, targets, guiding)


def _source(ground: Ground, spec: AttackSpec, of: Loaded, labels: Bytes | None) -> Source:
    """The attack made ready on training data: guides that learn (prototype) and perturbations that are fitted (universal)."""
    attack, model = spec.attack, of.model
    if not (spec.aware or attack.learns):
        return Source(attack, model, ground.query.select(np.arange(0)))  # nothing votes
    if isinstance(attack.guide, CrossCodes) and attack.guide.material == "batch":
        bank = ground.codes_of_part("query", of)
    elif model is ground.model and spec.reference == "train":
        bank = ground.reference
    else:
        bank = ground.codes_of_part(spec.reference, of)
    if isinstance(attack.search, GeneratorPass) and model.digest != attack.search.victim:
        return Source(against(attack, bank, ground.seed), model, bank)
    if not attack.learns:
        return Source(attack.prepared(bank, ground.seed), model, bank)
    learned = ground.split.train
    marks = ground.dataset.labels[learned]
    if spec.toward and labels is not None:
        if len(np.unique(labels, axis=0)) > 1:
            raise RequestError("one universal perturbation has one target; name it: `targets` label:NAME")
        marks = np.repeat(labels[:1], len(learned), axis=0)

    def images(numbers: Sequence[int]) -> torch.Tensor:
        return ground.dataset.images.batch(learned[np.asarray(numbers)]).to(ground.device)

    goals = torch.from_numpy(marks).float().to(ground.device)
    return Source(attack.prepared(bank, ground.seed, model=model, images=images, labels=goals), model, bank)


def _check_sources(ground: Ground, spec: AttackSpec) -> None:
    if isinstance(spec.attack.search, GeneratorPass):
        check_generator(spec, ground.dataset, ground.model)
    if spec.attack.learns and len(spec.sources) > 1 and spec.combine == "joint":
        raise RequestError("a universal perturbation is fitted on one model; give `combine` sum, sum-project or mean")
    for one in spec.sources:
        if not fits(one.model, ground.dataset.images):
            have, want = ground.dataset.images.size, tuple(one.model.size)
            raise RequestError(
                f"{one.name} takes pictures of {want[0]}x{want[1]} pixels, the data have {have[0]}x{have[1]}"
            )


def _check_labels(ground: Ground, spec: AttackSpec) -> None:
    if not ground.labeled and (spec.aware or spec.toward):
        raise RequestError(
            f"{spec.name} needs labels, and {ground.dataset.name} has none; label-free: hag, or "
            "fgsm, ifgsm, pgd, mifgsm, adaptive with --guide own"
        )


def _targets(ground: Ground, spec: AttackSpec) -> Targets | None:
    if spec.rule is None:
        return None
    part = ground.split.train if spec.reference == "train" else ground.split.database
    return choose_targets(
        spec.rule,
        ground.query.labels,
        ground.database.labels,
        reference=ground.dataset.labels[part],
        ids=ground.query.ids,
        class_names=ground.dataset.class_names,
        seed=ground.seed,
    )


def _ideal(ground: Ground, own: Source, labels: Bytes | None) -> CodeBank:
    marks = None if labels is None else torch.from_numpy(labels).float()
    guide = own.attack.guide(ground.query.codes, marks, own.bank, range(len(ground.query)), ground.seed)
    code = guide if isinstance(guide, torch.Tensor) else guide.vote  # (Q, K)
    return replace(ground.query, packed=pack(code if own.attack.toward else -code))


def _write_facts(
    folder: Path, key: str, spec: AttackSpec, made: AttackedSet, sides: Sides, distortion: Distortion, ground: Ground
) -> None:
    """The manifest of saved pictures, written last."""
    targets = made.targets
    names, moved = ground.dataset.class_names, hamming_pairs(sides.attacked.packed, sides.clean.packed)

    def words(row: Bytes) -> list[str]:
        return [names[c] for c in np.flatnonzero(row)]

    each: list[dict[str, Any]] = [
        {
            "row": int(ground.rows[i]), "labels": words(ground.query.labels[i]),
            "target": words(targets.labels[i]) if targets else None, "bits_moved": int(moved[i]),
            "linf": round(float(distortion.linf[i]), 6), "rmse": round(float(distortion.rmse[i]), 6),
            "forwards": int(made.forwards[i]), "backwards": int(made.backwards[i]),
            **({"flat": int(made.flat[i])} if len(made.flat) else {}),
        }
        for i in range(len(moved))
    ]  # fmt: skip
    where = {
        "model": ground.name, "model_hash": ground.model.digest, "dataset": ground.dataset.title,
        "split": ground.split.digest, "seed": ground.seed, "seconds": made.seconds,
    }  # fmt: skip
    facts = {"run": key, "attack": spec.facts, "threat": spec.threat_facts}
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


def _standing(found: AttackedSet) -> tuple[str, ...]:
    """A note where the search stood still on more pictures than may be out of order."""
    still = found.standing
    if still.mean() <= FEW:
        return ()
    return (f"for {int(still.sum()):,} of {len(still):,} pictures {ZERO_GRADIENT}",)
