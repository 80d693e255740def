"""An attack made ready for a ground: everything checked, targets drawn, guides trained, perturbations fitted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hamguard.attacks.generated import GeneratorPass, against
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import bytes_of, pack
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes
from hamguard.evaluation.attack.generators import check_generator, with_generator
from hamguard.evaluation.attack.run import Source
from hamguard.evaluation.attack.spec import AttackSpec, check_gradients
from hamguard.evaluation.attack.targets import Targets, choose_targets
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.hashing.objective import Objective
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.shipped import model_place
from hamguard.trainers.hash_model import CLASSES
from hamguard.training.encode import fits


@dataclass(frozen=True)
class Ready:
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


def make_ready(ground: Ground, spec: AttackSpec) -> Ready:
    """Check everything, draw targets, and make the attack ready for the models that it is made on.

    Raises:
        RequestError: an attack that cannot be carried out.
        RunError: NaN gradients in what is fitted.
    """
    spec = with_generator(spec, spec.generator)
    _check_labels(ground, spec)
    if spec.follows_gradients and spec.modality == "image":
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
    return Ready(spec, own, made_on, ideal, labels, targets, guiding)


def _source(ground: Ground, spec: AttackSpec, of: Loaded, labels: Bytes | None) -> Source:
    """The attack made ready on training data: guides that learn (prototype) and perturbations that are fitted (universal)."""
    attack, modality = spec.attack, spec.modality
    model: Any = of.model
    if modality == "text":
        assert of.cross is not None, "texts that are asked for have a text side"
        model = of.cross.reader
    if not (spec.aware or attack.learns):
        none, bits = ground.query.select(np.arange(0)), of.model.bits  # nothing votes
        if bits != none.bits:  # of the model that images are made on: one attack has one key, whoever is asked
            none = CodeBank(np.zeros((0, bytes_of(bits)), np.uint8), bits, none.labels)
        return Source(attack, model, none)
    if isinstance(attack.guide, CrossCodes) and attack.guide.material == "batch":
        bank = ground.codes_of_part("query", of)
    elif spec.reference == "classes":
        bank = class_codes(of)
    elif of.model is ground.model and spec.reference == "train":
        bank = ground.reference
    elif of.model is ground.model and ground.cross is None:
        bank = ground.database  # encoded already
    else:
        bank = ground.codes_of_part(spec.reference, of)
    bank = bank.swapped() if modality == "text" and isinstance(bank, PairBank) else bank
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


def class_codes(of: Loaded) -> CodeBank:
    """Fixed codes of the classes that a trained folder keeps, with the one label of each.

    Raises:
        RequestError: there are none.
        StaleError: they belong to another model.
    """
    place = str(getattr(of.model, "place", ""))
    path = model_place(place) / CLASSES if place else None
    if path is None or not path.is_file():
        raise RequestError(
            f"{of.name} keeps no codes of its classes; models trained by {_fixed()} do. Leave out `reference` classes"
        )
    return CodeBank.load(path, model_hash=of.model.digest)


def _fixed() -> str:
    """Methods whose classes have fixed codes."""
    have = [name for name, kind in OBJECTIVES.items() if kind.class_codes is not Objective.class_codes]
    return ", ".join(have)


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
    if spec.modality == "text" and spec.aware and not ground.labeled:
        raise RequestError(f"{spec.name} needs labels, and {ground.dataset.name} has none")
    if not ground.labeled and (spec.aware or spec.toward):
        raise RequestError(
            f"{spec.name} needs labels, and {ground.dataset.name} has none; label-free: hag, or "
            "fgsm, ifgsm, pgd, mifgsm, adaptive with --guide own"
        )


def _targets(ground: Ground, spec: AttackSpec) -> Targets | None:
    if spec.rule is None:
        return None
    part = ground.split.database if spec.reference == "database" else ground.split.train
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
    clean = ground.query_of(own.attack.modality)
    guide = own.attack.guide(clean.codes, marks, own.bank, range(len(clean)), ground.seed)
    code = guide if isinstance(guide, torch.Tensor) else guide.vote  # (Q, K)
    return replace(clean, packed=pack(code if own.attack.toward else -code))
