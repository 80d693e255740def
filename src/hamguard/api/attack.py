"""Attacks on a search, measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, get_args

from hamguard.api.arguments import checked
from hamguard.api.budget import ATTACKED, usual_queries
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.api.text_attacks import text_spec
from hamguard.attacks.attack import Attack
from hamguard.attacks.budget import Budget
from hamguard.attacks.methods.registry import method_facts
from hamguard.attacks.threat import parse_norm
from hamguard.core.checks import check_choice, parse_eps, received
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Modality, Ties
from hamguard.core.types import Norm as Denominator
from hamguard.data.opened import Data
from hamguard.evaluation.attack.generators import check_generator, with_generator
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import AttackSpec, Combine, Reference, check_gradients
from hamguard.evaluation.attack.targets import save_targets
from hamguard.evaluation.encoder import behind_encoder
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.evaluation.search.cross_modal import cross_rows
from hamguard.evaluation.search.score import Convention, check_defined, parse_metric
from hamguard.models.cross_modal import CrossModel
from hamguard.models.store import AnyModel
from hamguard.report.attack_table import attack_tables, edits_table, text_attack_table
from hamguard.report.pictures import Picture, add_picture, may_be_listed
from hamguard.report.table import Table, note_lines
from hamguard.retrieval.metrics import Empty

__all__ = ["AttackRows", "attack"]

Given: TypeAlias = Attack[Any] | AttackSpec | str
"""An attack as a value, as a value with its targets and sources, or as a registered name."""
SHOWN = 8  # edited texts in a table


class AttackRows(Rows):
    """Rows of attacks on one model, with what they are of.

    Attributes:
        ground: the model on its data.
        attacks: each attack: what was asked, attacked images or texts, their codes, its rows. The clean rows of both searches stand
            before those of an attack on texts.
    """

    def __init__(self, ground: Ground, attacks: Iterable[Measured], clean: Iterable[Row] = ()) -> None:
        self.ground, self.attacks = ground, tuple(attacks)
        super().__init__([*clean, *(row for one in self.attacks for row in one.rows)])

    def _some(self, rows: Iterable[Row]) -> Rows:  # type: ignore[override]
        return Rows(rows)

    @property
    def modality(self) -> Modality:
        """What of the queries was attacked."""
        return self.attacks[0].spec.modality

    def tables(self) -> list[Table]:
        """One table for each budget, direction and kind of attack; of texts the rows, and some of the edited texts."""
        if self.modality == "image":
            return attack_tables([one.rows for one in self.attacks], self.ground.name)
        title = (
            f"{self.ground.name}: {self.ground.dataset.title}, {len(self.ground.rows):,} query texts, attacked by text"
        )
        found = [text_attack_table(self, title)]
        if self.edited:
            found.append(edits_table(self.edited[:SHOWN]))
        notes = note_lines(note for row in self for note in row.notes)
        return [*found[:-1], replace(found[-1], notes=tuple(notes))]

    @property
    def edited(self) -> list[tuple[str, str, Sequence[str]]]:
        """Text, edited text and edits of each text that was edited; none where images were attacked."""
        if self.modality == "image":
            return []
        made = self.attacks[0].made
        return [(self.ground.texts[i], made.texts[i], done) for i, done in enumerate(made.edits) if done]

    def save(self, path: Path | str, *, sheet: Path | str | None = None) -> Path:
        """Write them as a rows file, and the list of target labels beside it where there are any.

        Args:
            path: the file.
            sheet: PNG file to draw as `sheet` does; in the folder of `path`, or below it, their report opens with it.

        Raises:
            RequestError: as `sheet`, or a broken `pictures.json` stands beside the rows.
            RunError: a file cannot be written.
        """
        listed = sheet is not None and may_be_listed(path, sheet)
        path, ground = super().save(path), self.ground
        for one in self.attacks:
            if one.targets:
                place = path.with_name(f"{path.stem}.targets.json")
                save_targets(place, one.targets, ground.query.ids, ground.dataset.class_names, ground.seed)
        if sheet is not None:
            drawn = self.sheet(sheet)
            if listed:
                add_picture(path, self._picture(drawn))
        return path

    def sheet(self, path: Path | str, shown: int = 4, *, answers: int = 10) -> Path:
        """Draw queries of the first attack, perturbations, attacked queries and their first answers (.png).

        Raises:
            RequestError: texts were attacked, or a file of another type.
            RunError: the file cannot be written.
        """
        from hamguard.api.sheets import ANSWERS, draw_attack

        if self.modality == "text":
            raise RequestError("a sheet shows attacked images, and these rows are of an attack on texts")
        draw_attack(Path(path), self.ground, self.attacks[0], shown, min(answers, ANSWERS))
        return Path(path)

    def pictures(self, folder: Path) -> list[Picture]:
        """What a report of these rows opens with, drawn into a folder; nothing where texts were attacked."""
        return [self._picture(self.sheet(folder / "attacked.png"))] if self.modality == "image" and self.attacks else []

    def _picture(self, file: Path) -> Picture:
        caption = f"{self.ground.name} under {self.attacks[0].spec.name}: queries before and after, with their answers"
        return Picture(file, caption, "attacks")


@checked
def attack(
    model: str | Path | AnyModel | CrossModel,
    data: str | Data | None = None,
    attack: Given | Sequence[Given] = "mainstay",
    *,
    name: str | None = None,
    budget: Budget | None = None,
    targets: str | None = None,
    source_models: Sequence[str | Path | AnyModel | CrossModel] = (),
    combine: Combine = "joint",
    generator: Path | str | None = None,
    encoder: str | Path | AnyModel | None = None,
    modality: Modality | None = None,
    queries: int | None = None,
    metrics: Sequence[str] = ("map",),
    ties: Ties = "expected",
    norm: Denominator = "relevant",
    empty: Empty = "zero",
    save_images: Path | str | None = None,
    index: Path | str | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> AttackRows:
    """Attack a search and measure how far it fails: `hg.attack(model, data, hg.attacks.mainstay(steps=50))`.

    Every figure is computed from images rounded to 8 bits and encoded again. Beside each attack stand the clean images, random
    codes, noise of the same budget, and the guide code itself. What was stopped goes on when it is called again.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        attack: an attack made in Python, the name of a registered one, or several. A name has its default options: for others make
            the attack, `hg.attacks.mainstay(steps=50)`; rows call it by the same name.
        name: what rows call an attack made in Python; by default the name of its factory.
        budget: threat, steps and restarts of attacks that are named; an attack made in Python has its own.
        targets: how target labels are chosen: `no-overlap`, `other`, `frequent`, `distinct`, `label:NAME`, or a saved list.
        source_models: make the images on these models, and score them on `model`.
        combine: how several of them join: `joint`, `sum`, `sum-project` or `mean`.
        generator: folder of a trained generator, for prosgan.
        encoder: what made the features that a model learned on, a model or a network of your own; `data` are then the images.
        modality: what of a cross-modal model's queries is attacked; by default what the attack was made for. Texts are attacked
            by `hg.attacks.cmla_text(...)` (named `cmla`), by `hg.attacks.cmla_words(...)`, and by an `hg.Attack` of your own.
        queries: only the first so many of the query split; None for all, of photos (96 pixels and more) for the first 64.
        metrics: as for `hg.evaluate`, `map` where none is named; the first also gives the gain.
        ties: order of equal distances, `expected`, `stable`, `worst` or `best`.
        norm: denominator of map@N: `relevant`, `hits` or `min`.
        empty: queries without a hit: `zero` or `skip`.
        save_images: folder for the attacked images (PNG), with manifest and targets.
        index: folder or address of an index of the database, which is then read and not encoded.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        context: device, seed, images at once, how progress is shown, and whether to begin anew (`restart`).

    Returns:
        Rows, and what they are of.

    Raises:
        RequestError: an unknown attack or metric, an attack without what it needs, or images that do not fit.
        StaleError: `save_images` holds the images of another attack, or the index is of another model or split.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    convention, context, metrics = Convention(ties, norm, empty), running(context, model), tuple(metrics or ("map",))
    _check_words(combine, modality, metrics)
    place: dict[str, Any] = {"queries": queries, "protocol": protocol, "root": root, "index": index, "context": context}
    how: dict[str, Any] = {"metrics": metrics, "convention": convention}
    given = _listed(attack, modality)
    victim, data = behind_encoder(model, encoder, data, protocol=protocol, root=root, context=context)
    if modality == "text" or (modality is None and any(_modality(one) == "text" for one in given)):
        if len(given) > 1 or source_models or targets or save_images:
            raise RequestError("an attack on texts is one attack without targets, source models and saved images")
        spec, ground = text_spec(given[0], name or "", budget), Ground.open(victim, data, texts="needed", **place)
        return _measured_texts(ground, spec, how)
    _check_one(given, save_images)
    specs = attack_specs(given, name=name, budget=budget, targets=targets)
    specs = _with_networks(specs, generator, source_models, combine, context)
    ground = _attacked_ground(victim, data, specs, metrics, convention, **place)
    how |= {"save_images": None if save_images is None else Path(save_images)}
    return AttackRows(ground, [measure_attack(ground, spec, **how) for spec in specs])


def _check_one(given: Sequence[Given], save_images: Path | str | None) -> None:
    if len(given) > 1 and save_images:
        raise RequestError(f"save_images takes one attack, got {len(given)}")


def _with_networks(
    specs: Sequence[AttackSpec], generator: Path | str | None, models: Sequence[Any], combine: Combine, context: Context
) -> list[AttackSpec]:
    """The same attacks with a trained generator, and made on other models, where there are any."""
    folder = None if generator is None else str(generator)
    specs = [with_generator(spec, spec.generator or folder) for spec in specs]
    sources = tuple(Loaded.open(one, texts="any", device=context.device) for one in models)
    return [replace(spec, sources=sources, combine=combine) for spec in specs] if sources else specs


def _check_words(combine: str, modality: str | None, metrics: Sequence[str]) -> None:
    check_choice("combine", combine, get_args(Combine))
    if modality is not None:
        check_choice("modality", modality, get_args(Modality))
    for text in metrics:
        parse_metric(text)


def _attacked_ground(
    model: str | Path | AnyModel | CrossModel | Loaded,
    data: str | Data | None,
    specs: Sequence[AttackSpec],
    metrics: Sequence[str],
    convention: Convention,
    *,
    queries: int | None,
    protocol: str | None,
    root: Path | str | None,
    index: Path | str | None,
    context: Context,
) -> Ground:
    """The model on its data, once all is checked that can be checked before anything is encoded."""
    loaded = Loaded.open(model, texts="any", device=context.device)
    for spec in specs:
        if spec.follows_gradients:
            check_gradients(spec.name, [one.model for one in spec.sources] or [loaded.model])
    if not isinstance(data, Data):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    if data.dataset.labels.any():
        for text in metrics:
            check_defined(text, convention, len(data.split.database))
    for spec in specs:
        check_generator(spec, data.dataset, loaded.model)  # one for another model or size
    queries = usual_queries(queries, data, ATTACKED, context)
    return Ground.open(loaded, data, queries=queries, texts="any", index=index, context=context)


def _measured_texts(ground: Ground, spec: AttackSpec, scores: Mapping[str, Any]) -> AttackRows:
    """An attack on the texts that ask, with the clean rows of both of their searches before it."""
    clean = cross_rows(ground, **scores, tasks=("text->image", "text->text"))
    return AttackRows(ground, [measure_attack(ground, spec, **scores)], clean)


def _listed(attack: Given | Sequence[Given], modality: Modality | None = None) -> list[Given]:
    given: list[Any] = [*attack] if isinstance(attack, (list, tuple)) else [attack]
    if not given:
        raise RequestError("give an attack, a name or a list of them; an empty list was given")
    for one in given:
        if not isinstance(one, (str, AttackSpec, Attack)):
            made = "; call it: it is a factory" if callable(one) else ""
            raise RequestError(
                f"an attack is an hg.Attack, a registered name, or a list of them, got {received(one)}{made}"
            )
        if modality == "image" and _modality(one) == "text":
            raise RequestError("this attack moves texts; leave out modality='image'")
    return given


def _modality(given: Given) -> Modality:
    """What an attack was made for; named ones move images unless something else is asked for."""
    return "image" if isinstance(given, str) else given.modality


def attack_specs(
    attack: Given | Sequence[Given],
    *,
    name: str | None = None,
    budget: Budget | None = None,
    targets: str | None = None,
) -> list[AttackSpec]:
    """Attacks with their names, budgets and targets; arguments as of `attack`.

    Raises:
        RequestError: an unknown name, or something that is no attack.
    """
    given = _listed(attack)
    if name is not None and (len(given) > 1 or isinstance(given[0], str)):
        raise RequestError("name is for one attack that was made in Python")
    specs = []
    for one in given:
        if isinstance(one, str):
            words: dict[str, Any] = {"targets": targets}
            if budget is not None:
                words |= {"eps": budget.threat.eps, "norm": budget.threat.norm}
                words |= {"steps": budget.steps, "restarts": budget.restarts}
            specs.append(AttackSpec.read(one, **words))
        elif isinstance(one, AttackSpec):
            specs.append(one if targets is None else replace(one, targets=targets))
        else:
            if budget is not None:
                raise RequestError("budget is for attacks that are named; an attack made in Python has its own")
            assert isinstance(one, Attack)
            specs.append(AttackSpec(one, name or "", targets=targets))
    return specs


def read_attacks(
    methods: Sequence[str],
    *,
    eps: Sequence[str] = (),
    norm: str | None = None,
    steps: int | None = None,
    restarts: int | None = None,
    preset: str = "default",
    guide: str | None = None,
    targets: str | None = None,
    reference: Reference = "train",
    options: Mapping[str, Any] | None = None,
    combine: Combine = "joint",
    fold: bool = True,
    generator: Path | str | None = None,
) -> list[AttackSpec]:
    """Attacks that words name, each method at each radius; arguments as of `AttackSpec.read`, and the folder of a generator.

    Raises:
        RequestError: an unknown or wrong word; the message lists what is allowed.
    """
    needing = [name for name in methods if method_facts(name).needs_generator]
    if generator and not needing:
        raise RequestError(f"`generator` belongs to prosgan, got `methods` {', '.join(methods)}")
    norm = None if norm is None else parse_norm(norm)
    words: dict[str, Any] = {"norm": norm, "steps": steps, "restarts": restarts, "preset": preset, "guide": guide}
    words |= {"targets": targets, "options": options}
    found = []
    for size in eps or [""]:
        for name in methods:
            spec = AttackSpec.read(name, eps=parse_eps(size) if size else None, **words)
            spec = replace(spec, reference=reference, combine=combine, fold=fold)
            folder = str(generator) if generator and name in needing else None
            found.append(with_generator(spec, folder, norm) if folder else spec)
    return found
