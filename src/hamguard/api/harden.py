"""Models that hold under attack: trained on with a defense, and compared with what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from hamguard.api.arguments import checked
from hamguard.api.budget import ATTACKED, CHECKED, of_photos, usual_queries
from hamguard.api.running import running
from hamguard.api.train import Place, training
from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice, parse_eps
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.data.opened import Data
from hamguard.defenses.cross_modal import CROSS_DEFENSES
from hamguard.evaluation.defense.hardening import STEPS, Compared, measure_hardening, measure_pair
from hamguard.evaluation.ground import Ground
from hamguard.models.cross_modal import CrossModel, has_texts
from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel, Card, read_card
from hamguard.trainers.hardened import GENTLE, epochs_of_budget, learns_gently
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Trained
from hamguard.trainers.words import read_job

__all__ = ["Compared", "compare", "harden", "hardening"]

PICTURES, BATCH = 250, 16
"""Training photos of an epoch and of a step where nobody says: ten epochs of two inner steps then take ten minutes of one core."""
AUDITED, SANE, PHOTO_STEPS = 64, 32, 20
"""Queries of the worst case and of the checks where nobody says (of photos `CHECKED`), and gradients of attacks on photos."""


@overload
def harden(
    model: CrossModel, data: Data | str | None = None, method: str = ..., *, out: Place, **more: Any
) -> CrossModel: ...


@overload
def harden(
    model: AnyModel | Place,
    data: Data | str | None = None,
    method: str = "saat",
    *,
    out: Place,
    threat: Threat = ...,
    epochs: int | None = None,
    cost: float | None = None,
    preset: str | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
    **settings: Any,
) -> HashModel: ...


@checked
def harden(
    model: AnyModel | CrossModel | Place,
    data: Data | str | None = None,
    method: str = "saat",
    *,
    out: Place,
    threat: Threat = Linf(8 / 255),
    epochs: int | None = None,
    cost: float | None = None,
    preset: str | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
    **settings: Any,
) -> Any:
    """Train a model on, so that its codes hold under attack: `hg.harden(model, data, "saat", out="models/safe")`.

    A run that was stopped goes on when it is called again; one that is finished is read. The database is to be encoded again with
    the new model.

    Args:
        model: a trained or loaded model, or its folder; it is not changed.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        method: defense, also one that was registered here; `static`, `control` or `minmax` for a model of images and texts.
        out: folder to write.
        threat: how far attacked images may move.
        epochs: passes over the training part, 10; of photos (96 pixels and more) ten times 250 of it, where nobody says otherwise.
        cost: instead of epochs: cost in multiples of the training of the model.
        preset: `paper` for the recipe of the authors' code.
        batch_size: images a step, over all processes.
        seed: of order, views and draws; that of the context where it is not given.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        context: where to compute, how progress is shown, and whether to begin anew (`restart`).
        settings: any setting of the defense or field of the recipe: `steps=5`, `lr=1e-3`.

    Returns:
        The hardened model, in evaluation mode; its `card` says how.

    Raises:
        RequestError: unknown words, all of them named; a model without a card, images that do not fit, or an `out` that holds other
            things.
        StaleError: `out` holds another run.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: all images got one code.
        StoppedError: a person stopped it; what was done is kept.
    """
    flags = {
        "method": method,
        "preset": preset,
        "seed": seed if seed is not None or context is None else context.seed,
        "eps": threat.eps,
        "norm": threat.norm,
        "data.protocol": protocol,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    return hardening(model, data, Path(out), flags=flags, sets=settings, cost=cost, root=root, context=context).model


def hardening(
    model: AnyModel | CrossModel | Place,
    data: Data | str | None,
    out: Path,
    *,
    flags: Mapping[str, Any],
    sets: Sequence[str] | Mapping[str, Any] = (),
    cost: float | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> Trained:
    """Harden as words say; `harden` with the words of a command line.

    Args:
        model: as in `harden`.
        data: as in `harden`.
        out: folder to write.
        flags: dotted key of a `Job` to value, None where nothing was asked for.
        sets: `key=value` words, or keys and values.
        cost: as in `harden`.
        root: folder of the named data sets.
        context: as in `harden`.

    Raises:
        RequestError: and the others, as in `harden`.
    """
    kind = "hardened-pair" if is_pair(model) else "hardened"
    flags = {**flags, "eps": parse_eps(flags["eps"]) if isinstance(flags["eps"], str) else flags["eps"]}
    check_pair_options(model, str(flags.get("method")), ["cost"] if cost is not None else [])
    card: Card | None = read_card(model) if isinstance(model, (str, Path)) else getattr(model, "card", None)
    if kind == "hardened" and card is not None:
        job = read_job({}, flags, sets, kind=kind)
        if learns_gently(job, card):
            flags = {**flags, "training.lr": GENTLE}
        many = (card.data.get("split") or {}).get("train", 0) > PICTURES
        if cost is None and of_photos(card.size) and many and takes_minutes(job, sets):
            flags = {**flags, "settings.pictures": PICTURES, "training.batch_size": job.training.batch_size or BATCH}
            running(context).tell(
                f"an epoch sees {PICTURES} training photos, others in the next, as adversaries of photos take long; "
                "`epochs`, `cost` or `pictures` ask for more"
            )
    if cost is not None:
        normal = card.recipe.get("epochs") if card is not None and not card.defense else None
        epochs = epochs_of_budget(cost, read_job({}, flags, sets, kind=kind), normal)
        sets = _without_epochs(sets)
        flags = {**flags, "training.epochs": epochs}
    return training(data, out, flags=flags, sets=sets, starts=[model], root=root, kind=kind, context=context)


def takes_minutes(job: Job, sets: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether nobody said how much a defense may cost."""
    asked = {*job.training.model_fields_set, *(name.partition(".")[2] or name for name in _names(sets))}
    return not asked & {"epochs", "pictures"} and job.preset in (None, "default")


def compare(
    start: AnyModel | CrossModel | Place,
    hardened: Trained,
    *,
    steps: int | None = None,
    queries: int | None = None,
    audit: int | None = None,
    sanity: int | None = None,
    context: Context | None = None,
) -> Compared:
    """A model before and after a defense, under the same attacks, each with its own codes of the database.

    Args:
        start: the model before.
        hardened: what `hardening` gave.
        steps: gradients of the attacks; 100, of photos (96 pixels and more) 20, where nobody says.
        queries: only the first so many of the query split; None for all, of photos for the first 64.
        audit: queries of the worst case over the audit's gradients; 0: none. 64, of photos 16, where nobody says.
        sanity: queries of the checks of the hardened model; 0: no checks. 32, of photos 16, where nobody says.
        context: device, seed, how progress is shown.

    Returns:
        Rows of both, and the checks.

    Raises:
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    context = running(context).but(batch_size=128, restart=False)
    defense, data = hardened.card.defense, hardened.data
    pair = hardened.text_card is not None
    queries = usual_queries(queries, data, ATTACKED, context) if data is not None else queries
    photos = of_photos(hardened.card.size)
    if steps is None:
        steps = PHOTO_STEPS if photos else STEPS
    audit = (CHECKED if photos else AUDITED) if audit is None else audit
    sanity = (CHECKED if photos else SANE) if sanity is None else sanity

    def ground(model: AnyModel | CrossModel | Place) -> Ground:
        return Ground.open(model, data, queries=queries, texts="needed" if pair else "none", context=context)

    if pair:
        radii = defense["eps"], defense["settings"]["text_eps"]
        before, after = (measure_pair(ground(one), *radii, steps) for one in (start, hardened.model.place))
        return Compared(before, after, steps=steps)
    budget = Budget(Threat(defense["norm"], defense["eps"]), steps=steps)
    return measure_hardening(ground(start), ground(hardened.model.place), budget, audit=audit, sanity=sanity)


def is_pair(model: AnyModel | CrossModel | Place) -> bool:
    """Whether a model has a text side."""
    return has_texts(model) if isinstance(model, (str, Path)) else isinstance(model, CrossModel)


def check_pair_options(model: AnyModel | CrossModel | Place, method: str, given: Sequence[str]) -> None:
    """Refuse what does not belong to a model with a text side.

    Args:
        model: as in `harden`.
        method: of the defense.
        given: options that belong to hash models alone.

    Raises:
        RequestError: another defense, or some of these.
    """
    if not is_pair(model):
        return
    named = str(model) if isinstance(model, (str, Path)) else model.place or "at hand"
    check_choice(f"defense of the cross-modal model {named}", method, CROSS_DEFENSES)
    if given:
        raise RequestError(f"{', '.join(given)}: does not belong to cross-modal models, which are hardened for linf")


def _without_epochs(sets: Sequence[str] | Mapping[str, Any]) -> Sequence[str] | Mapping[str, Any]:
    names = ("epochs", "training.epochs")
    if isinstance(sets, Mapping):
        return {key: value for key, value in sets.items() if key not in names}
    return [word for word, name in zip(sets, _names(sets), strict=True) if name not in names]


def _names(sets: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """What settings are named, in order."""
    return list(sets) if isinstance(sets, Mapping) else [word.partition("=")[0].strip() for word in sets]
