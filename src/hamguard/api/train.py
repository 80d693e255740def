"""What is trained: hash models, pairs of nets, generators, purifiers and protectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

from hamguard.api.arguments import checked
from hamguard.api.running import choose_device, running
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.data.opened import Data, reopening
from hamguard.evaluation.model_data import absolute_source, open_for_model, require_source
from hamguard.hashing.registry import UNSUPERVISED
from hamguard.models.comdefend import ComDefend
from hamguard.models.cross_modal import CrossModel
from hamguard.models.hash_model import HashModel, check_images
from hamguard.models.prosgan import Generator
from hamguard.models.protector import Protector
from hamguard.models.store import AnyModel
from hamguard.trainers.job import Job, for_images
from hamguard.trainers.kind import Kind, Start, Trained, trainer_of
from hamguard.trainers.networks import features_of
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job, read_recipe
from hamguard.training.distributed import join_processes, leave_processes

__all__ = ["Trained", "train", "training"]

Place: TypeAlias = str | Path
UNLABELED: Mapping[str, Any] = {"method": "itq", "model.bits": 128}
"""What images without labels are trained with where no method is named: bits enough for half-size copies to find their original."""


@overload
def train(
    data: Data | str | None = None,
    method: Literal["prosgan"] = ...,
    *,
    victim: AnyModel | Place,
    out: Place,
    **more: Any,
) -> Generator: ...


@overload
def train(
    data: Data | str | None, method: Literal["dcmh", "dsph", "ssah"], *, out: Place, **more: Any
) -> CrossModel: ...


@overload
def train(data: Data | str | None, method: Literal["ppl", "features"], *, out: Place, **more: Any) -> Protector: ...


@overload
def train(data: Data | str | None, method: Literal["comdefend"], *, out: Place, **more: Any) -> ComDefend: ...


@overload
def train(
    data: Data | str | None = None,
    method: str | None = None,
    *,
    out: Place,
    bits: int | None = None,
    backbone: str | None = None,
    weights: Place | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    preset: str | None = None,
    seed: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
    **settings: Any,
) -> HashModel: ...


@checked
def train(
    data: Data | str | None = None,
    method: str | None = None,
    *,
    out: Place,
    bits: int | None = None,
    backbone: str | None = None,
    weights: Place | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    preset: str | None = None,
    seed: int | None = None,
    victim: AnyModel | Place | None = None,
    surrogates: Sequence[HashModel | Place] = (),
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
    **settings: Any,
) -> Any:
    """Train into a folder: `model = hg.train(data, "csq", bits=32, out="models/mine", epochs=5)`.

    A run that was stopped goes on when it is called again; one that is finished is read.

    Args:
        data: what `hg.data` gave, or a source; None for `digits`, and for what the victim was trained on.
        method: hash method, also one that was registered here; by default `csq`, and of images without labels `itq`, which learns
            from all of them, with 128 bits, or one a feature where the network has fewer.
            `dcmh`, `dsph` or `ssah` for images and texts; `prosgan` for a generator of attacks, `comdefend` for a purifier, `ppl`
            or `features` for a protector.
        out: folder to write.
        bits: code length K of a hash model.
        backbone: its network; by the size of the images where it is not given.
        weights: its first weights: `pretrained`, a .safetensors file, `torchvision`, or `none` for random ones.
        epochs: passes over the training part.
        batch_size: images a step, over all processes.
        preset: a published form of the method, `paper` or `code`.
        seed: of weights, order and draws; that of the context where it is not given.
        victim: of `prosgan`: the model to attack.
        surrogates: of `ppl` and `features`: models to learn against; without, `ppl` makes one.
        protocol: named split of a source.
        root: folder of the named data sets.
        context: where to compute, how progress is shown, and whether to begin anew (`restart`).
        settings: any setting of the method or field of the recipe: `eta=0.5`, `lr=1e-3`, `patience=3`; `freeze=True` for the head
            alone, on features of the backbone that are kept for the next training.

    Returns:
        What was trained, in evaluation mode; its `card` says how.

    Raises:
        RequestError: unknown words, all of them named; data without labels where they are needed; an `out` that holds other things.
        StaleError: `out` holds another run.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: all images got one code.
        StoppedError: a person stopped it; what was done is kept.
    """
    flags = {
        "method": method,
        "preset": preset,
        "seed": seed if seed is not None or context is None else context.seed,
        "data.protocol": protocol,
        "model.bits": bits,
        "model.backbone": backbone,
        "model.weights": None if weights is None else str(weights),
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    starts = [one for one in (victim, *surrogates) if one is not None]
    return training(data, Path(out), flags=flags, sets=settings, starts=starts, root=root, context=context).model


def training(
    data: Data | str | None,
    out: Path,
    *,
    flags: Mapping[str, Any],
    sets: Sequence[str] | Mapping[str, Any] = (),
    recipe: Place | None = None,
    starts: Sequence[AnyModel | CrossModel | Place] = (),
    root: Path | str | None = None,
    kind: str = "",
    context: Context | None = None,
) -> Trained:
    """Train what words say; `train` with the words of a command line or a recipe file.

    Args:
        data: as in `train`.
        out: folder to write.
        flags: dotted key of a `Job` to value, None where nothing was asked for.
        sets: `key=value` words, or keys and values.
        recipe: TOML file with the fields of a `Job`; flags win over it.
        starts: the model to harden, the victim, or the surrogates.
        root: folder of the named data sets.
        kind: what is trained; by default what the method trains.
        context: as in `train`.

    Raises:
        RequestError: and the others, as in `train`.
    """
    written = read_recipe(recipe) if recipe is not None else {}
    asked = dict(flags) | ({} if data is None or isinstance(data, Data) else {"data.source": data})
    job = read_job(written, asked, sets, kind=kind)  # a wrong word costs no work
    context, trainer = together(running(context)), trainer_of(job)
    try:
        check_alone(trainer, job, context)
        opened = [start_of(trainer, one, context) for one in starts]
        if isinstance(data, Data):
            asked |= data_flags(data)
            job = read_job(written, asked, sets, kind=kind)
        elif trainer.follows and opened:
            begun = opened[0]
            require_source(data, begun.card)
            job = read_job(written, asked | own_flags(begun.card, data, asked), sets, kind=kind)
            images = begun.model.image if isinstance(begun.model, CrossModel) else begun.model
            asked_protocol = asked.get("data.protocol")
            data = open_for_model(begun.card, images, data, root=root, protocol=asked_protocol, context=context)
        else:
            data = _open(job, root, context, opened)
        if trainer.name == "model":
            job, data = _suited(job, data, (written, asked, sets), context)
        return _run(job, data, out, opened, context)
    finally:
        leave_processes()


def _suited(job: Job, data: Data, words: tuple[Any, Any, Any], context: Context) -> tuple[Job, Data]:
    """A hash training with what images decide where nobody said it: method, code length, and which of them are learned from.

    Args:
        job: what was asked for.
        data: the images.
        words: recipe, flags and `--set` that the job was read from.
        context: told what was decided.
    """
    written, asked, sets = words[0], dict(words[1]), words[2]
    unlabeled, bits_given = not data.dataset.labels.any(), _names("model.bits", *words)
    if unlabeled and not _names("method", *words):
        context.tell(f"{data.dataset.title} has no labels: {UNLABELED['method']}, as no method is named")
        asked |= {**UNLABELED, **({"model.bits": job.network.bits} if bits_given else {})}
        job = read_job(written, asked, sets, kind=job.kind)
    fitted = job.method in UNSUPERVISED
    if fitted and UNSUPERVISED.facts(job.method)["bits_of_features"] and not bits_given:
        most = features_of(for_images(job, data.dataset.images.size).network, data)
        if job.network.bits > most:
            context.tell(f"{most} bits: {job.method} gives at most one a feature of the network, which has {most}")
            asked["model.bits"] = most
    learns_alone = unlabeled and (fitted or not job.parsed.needs_labels)
    drawn = data.split.protocol in ("seeded", "copies") and len(data) > 3  # by default, not by a table or by its maker
    if learns_alone and job.data.protocol is None and drawn:
        data = data.under("unlabeled")
        asked["data.protocol"] = "unlabeled"
    return read_job(written, asked, sets, kind=job.kind), data


def _names(
    key: str, written: Mapping[str, Any], asked: Mapping[str, Any], sets: Sequence[str] | Mapping[str, Any]
) -> bool:
    """Whether recipe, flags or `--set` say the value of a key of `Job`: `method`, `model.bits`."""
    words = set(sets) if isinstance(sets, Mapping) else {word.partition("=")[0].strip() for word in sets}
    section, _, name = key.rpartition(".")
    in_recipe = name in (written.get(section, {}) if section else written)
    return in_recipe or asked.get(key) is not None or not words.isdisjoint({key, name})


def _open(job: Job, root: Path | str | None, context: Context, opened: Sequence[Start]) -> Data:
    """The data that a job names; images as large as a surrogate takes them, where it sees whole ones."""
    whole = bool(opened) and not getattr(job.parsed, "part", 0)
    for one in opened:
        check_images(one.model)
    with context.stage("reading pictures") as progress:
        return job.data.open(
            root,
            lambda done, total: progress(done / max(1, total), f"{done:,} of {total:,}"),
            opened[0].model.size[0] if whole else None,
        )


def _run(job: Job, data: Data, out: Path, starts: Sequence[Start], context: Context) -> Trained:
    try:
        return run_job(job, data, out, start=starts, context=context)
    except RequestError as error:
        lost = "; ".join(note for note in data.dataset.notes if "cannot be read" in note)  # often the cause
        if lost:
            raise RequestError(f"{error} ({lost})") from error
        raise


def together(context: Context) -> Context:
    """The context of this process among those that `torchrun` started, each on its own device."""
    group = join_processes()
    if group.size == 1:
        return context
    device = context.device
    if getattr(device, "type", str(device)) == "cuda":
        device = choose_device(f"cuda:{group.rank}")
    return context.but(process_group=group, device=device)


def check_alone(kind: Kind, job: Job, context: Context) -> None:
    """Refuse several processes where one is needed, before anything is read.

    Raises:
        RequestError: there are several.
    """
    if context.process_group.size > 1 and (alone := kind.alone(job)):
        raise RequestError(f"{alone} is trained by one process; leave out torchrun")


def start_of(kind: Kind, model: Any, context: Context) -> Start:
    """A model to start from: at a place, or one that was trained, loaded or wrapped.

    Raises:
        RequestError: there is none at that place, or it is damaged.
    """
    if isinstance(model, (str, Path)):
        return kind.open_start(model, context)
    place = str(getattr(model, "place", ""))
    name, card = place or str(getattr(model, "name", "") or type(model).__name__), getattr(model, "card", None)
    return Start(name, model, card, Path(place) if place else None, getattr(model, "text_card", None))


def data_flags(data: Data) -> dict[str, Any]:
    """Where data can be opened again, as words of a job; the name of data that were made, which are found under none."""
    again = reopening(data.dataset, data.split)
    if again["source"] is None:
        return {"data.source": data.dataset.title}
    return {f"data.{key}": value for key, value in again.items()}


def own_flags(card: Any, data: str | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a model's card as words of a job, where no others were asked for."""
    named = str(card.data.get("source") or "") if card is not None else ""
    same = data is None or absolute_source(data) == absolute_source(named)
    own = card.data if card is not None and same else {}
    words = {f"data.{key}": own.get(key) for key in ("protocol", "split_seed", "size", "drop_duplicates")}
    return {key: value for key, value in (words | {"data.source": data or named}).items() if asked.get(key) is None}
