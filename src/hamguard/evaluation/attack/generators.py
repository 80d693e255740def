"""A generator folder as an attack: does it belong to this model, these pictures and these labels?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.attacks.generated import NoGenerator, generated
from hamguard.attacks.threat import Threat
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.types import Floats
from hamguard.data.dataset import Dataset
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.models.folders import from_card
from hamguard.models.generator_store import load_generator, read_generator_card
from hamguard.models.store import AnyModel
from hamguard.trainers.generator import GeneratorSettings


def with_generator(spec: AttackSpec, folder: str | None, norm: str | None = None) -> AttackSpec:
    """The attack with a trained generator, where it needs one; any other as it is.

    Args:
        spec: the attack.
        folder: of the generator.
        norm: that was asked for without a radius; None where none was.

    Raises:
        RequestError: no generator, a damaged one, one for another threat, or a generator for a method that takes none.
        StaleError: its weights and card do not belong together.
    """
    attack = spec.attack
    if not isinstance(attack.search, NoGenerator):
        if folder is not None and spec.generator is None:
            raise RequestError(f"{spec.name} takes no generator; leave out `generator`")
        return spec
    if folder is None:
        raise RequestError(attack.search.lacks)
    generator, prototype, card = load_generator(folder)
    threat = Threat(card.norm or "linf", card.eps) if card.budget == "hard" and card.eps else None
    if attack.search.asked is None and norm not in (None, "linf") and (threat is None or threat.norm != norm):
        raise RequestError(f"{folder} was not trained for {norm}; leave out `threat`")
    training = from_card(
        GeneratorSettings, {key: card.settings[key] for key in card.settings if key.startswith("prototype")}
    )
    made = generated(
        attack, generator, prototype, threat, digest=card.weights_hash, victim=card.victim, training=training.prototype
    )
    return replace(spec, attack=made, generator=folder)


def check_generator(spec: AttackSpec, dataset: Dataset, model: AnyModel) -> None:
    """Check that a generator belongs to the models and data at hand.

    Args:
        spec: the generator's attack, and what pictures are made on.
        dataset: the pictures and labels.
        model: the scored model.

    Raises:
        RequestError: pictures of another size, other labels, or several sources.
        StaleError: it was trained against another model.
    """
    if spec.generator is None:
        return
    card, folder, sources = read_generator_card(spec.generator), spec.generator, spec.sources
    images, names = dataset.images, list(dataset.class_names)
    if (card.channels, *card.size) != (images.channels, *images.size):
        have, want = _shape(images.channels, images.size), _shape(card.channels, card.size)
        raise RequestError(f"{folder} was trained for pictures of {want}, the data have {have}")
    if card.class_names != names:
        if len(card.class_names) != len(names):
            raise RequestError(f"{folder} was trained for {len(card.class_names)} labels, the data have {len(names)}")
        place = next(i for i, pair in enumerate(zip(card.class_names, names, strict=True)) if pair[0] != pair[1])
        raise RequestError(
            f"{folder} was trained for other labels: number {place} is {card.class_names[place]}, here {names[place]}"
        )
    if len(sources) > 1:
        raise RequestError(f"a generator is trained against one model; give one `source_models`, got {len(sources)}")
    maker = sources[0].model if sources else model
    if card.victim != maker.digest:
        named = card.victim_name or "another model"
        raise StaleError(
            f"{folder} was trained against {named} ({card.victim}), not against this model ({maker.digest}); "
            f"to measure how it transfers, give `source_models` {named}"
        )


def noise_like(rmse: Floats) -> Threat:
    """The ball of uniform noise with the same RMSE, for pictures that were made within no ball.

    Uniform noise in [-e, e] has an RMSE of e / sqrt(3) before it is cut to [0, 1] and rounded, so e is sqrt(3) times the mean
    RMSE of the attacked pictures, and at most 1.

    Args:
        rmse: of each attacked picture, `(n,)`.
    """
    return Threat("linf", float(min(1.0, max(1 / 255, np.sqrt(3) * rmse.mean()))))


def _shape(channels: int, size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels in {'gray' if channels == 1 else 'color'}"


def placeless(attack: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The facts of an attack with the name of its generator's folder, not where that lay: rows that are kept for others.

    >>> placeless({"method": "prosgan", "generator": "/somewhere/prosgan-1"})
    {'method': 'prosgan', 'generator': 'prosgan-1'}
    """
    if attack is None:
        return None
    folder = attack.get("generator")
    return {**attack, **({"generator": Path(folder).name} if isinstance(folder, str) else {})}
