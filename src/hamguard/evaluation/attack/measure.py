"""From an attack to rows: attacked queries, their codes, and everything that stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming_pairs
from hamguard.core.context import Context, always
from hamguard.core.errors import RequestError
from hamguard.core.places import cache_folder
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Bytes
from hamguard.evaluation.attack.cross_modal import across_rows
from hamguard.evaluation.attack.files import check_folder, read_pictures, write_manifest, write_pictures
from hamguard.evaluation.attack.generators import noise_like
from hamguard.evaluation.attack.ready import Ready, make_ready
from hamguard.evaluation.attack.rows import Facts, Sides, attack_rows
from hamguard.evaluation.attack.run import AttackedSet, forget, run_attack, run_key
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.targets import Targets, save_targets
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.search.score import EXACT, Convention
from hamguard.images.distortion import Distortion, measure_distortion
from hamguard.models.trial import ZERO_GRADIENT

FEW = 0.05
"""Share of the pictures, or bits, that may be out of order."""


@dataclass(frozen=True)
class Measured:
    """An attack on a model, measured.

    Attributes:
        spec: the attack.
        made: what it made of the queries.
        rows: its rows.
        sides: codes of the clean, noisy, ideal and attacked queries; noise stays the clean ones where no control was asked for.
        distortion: of each image; None across modalities, where `made.distance` says how far items moved.
    """

    spec: AttackSpec
    made: AttackedSet
    rows: Rows
    sides: Sides
    distortion: Distortion | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Measured({self.spec.name}: {len(self.rows)} rows)"

    @property
    def targets(self) -> Targets | None:
        """Target labels, None away from a guide."""
        return self.made.targets


def measure_attack(
    ground: Ground,
    spec: AttackSpec,
    *,
    save_images: Path | None = None,
    replace_images: bool = False,
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
    context: Context | None = None,
) -> Measured:
    """Carry out an attack and measure it.

    Args:
        ground: the scored model on its data.
        spec: the attack, on images or on texts.
        save_images: write the images here as PNG, with manifest and targets; not across modalities.
        replace_images: pictures of another attack that lie there give way to these; where they may not, or it is other things
            that lie there, nothing is carried out.
        metrics: as for `evaluate`.
        convention: ties, denominator, empty queries.
        context: how it is carried out: whether to begin anew, folder of finished batches of unfinished runs (None for the
            user's cache), processes that share the work, how progress is shown; by default the ground's.

    Raises:
        RequestError: an attack that cannot be carried out.
        RunError: NaN gradients, or a full disk.
        StaleError: pictures of another attack lie in `save_images`.
    """
    context = context or ground.context
    ready = make_ready(ground, spec)
    key = run_key(ready.spec, ready.made_on, ground, ready.labels)
    place = (save_images / ".work" if save_images else context.work or cache_folder() / "attacks") / key
    if save_images:
        if spec.across:
            raise RequestError("images are not saved across modalities")
        check_folder(save_images, key, restart=context.restart, replace=replace_images)
    if context.restart:
        forget(place)
    made = read_pictures(save_images, key, ground.query.ids) if save_images and not context.restart else None
    fresh = made is None
    if made is None:
        made = _carried_out(ground, ready, place, context)
        if save_images:  # what is scored is what the files give back
            made = replace(made, items=write_pictures(save_images, made.pixels, ground.query.ids))
    if spec.across:
        rows, sides = across_rows(
            ground, ready, made, work=place / "noise", metrics=metrics, convention=convention, context=context
        )
        forget(place)
        return Measured(ready.spec, made, Rows(rows), sides)
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


def _carried_out(ground: Ground, ready: Ready, place: Path, context: Context) -> AttackedSet:
    spec = ready.spec
    with context.stage(spec.title) as bar:
        return run_attack(
            ground,
            ready.made_on,
            ready.labels,
            work=place,
            combine=spec.combine,
            fold=spec.fold,
            marks=spec.marks,
            context=context.but(stage=always(bar)),
        )


def _facts(ground: Ground, ready: Ready, made: AttackedSet, ball: Threat) -> Facts:
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
        left=spec.left(ground.query.bits),
        notes=_standing(made),
    )


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
            "l2": round(float(distortion.l2[i]), 6), "pixels": int(distortion.pixels[i]),
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
