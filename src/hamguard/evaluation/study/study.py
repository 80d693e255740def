"""A study at work: its data, its trained models, and what its cells left for the parts that join several of them.

Every cell is known by the content of what was asked: hashes of data, split and weights, and the whole request. It is worked out
once, kept in a folder that studies share, and found again after a kill. With several processes (torchrun) the images of an attack
are divided among them; a cell is written by the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hamguard.core.context import Context, ProcessGroup
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError, RunError
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.data.opened import Data
from hamguard.evaluation.attack.measure import Measured
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.protection.four_searches import Sides
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.plan import AttackCell, DefenseCell, ModelCell, StudyPlan, expand, generator_request
from hamguard.evaluation.study.recipe import StudyRecipe
from hamguard.models.store import load_any
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Start, trainer_of
from hamguard.trainers.run import run_job
from hamguard.training.distributed import wait
from hamguard.training.encode import packed_codes

Drawn = Callable[[Path, Ground, Measured], None]
Shown = Callable[[Path, Sides], None]


@dataclass(frozen=True)
class Queries:
    """An attack on a model, query by query.

    Attributes:
        row: its main row: the first metric, under the target labels where it approaches a target.
        rows: all its rows.
        attacked: the same figure of each attacked query, `(Q,)`, NaN where one is not in the mean; None where the row is no mean.
    """

    row: Row
    rows: list[Row]
    attacked: Floats | None


@dataclass(frozen=True)
class Beside:
    """What cells leave beside their rows.

    Attributes:
        pictures: caption and file of each sheet.
        clean: main row of each model's search.
        queries: by (model, attack), what comparisons ask for.
        curves: by `MODEL clean` or `MODEL attacked MODALITY`, those of a cross-modal model.
    """

    pictures: list[tuple[str, Path]] = field(default_factory=list)
    clean: dict[str, Row] = field(default_factory=dict)
    queries: dict[tuple[str, str], Queries] = field(default_factory=dict)
    curves: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, other: Beside) -> None:
        """Take what another process found."""
        self.pictures.extend(other.pictures)
        self.clean.update(other.clean)
        self.queries.update(other.queries)
        self.curves.update(other.curves)


@dataclass(frozen=True)
class Study:
    """A recipe at work.

    Attributes:
        recipe: what was asked for.
        cells: finished pieces, and how the work is carried out.
        root: folder of the named data sets.
        drawn: draws the sheet of an attack into a file.
        shown: draws images before and after a protection into a file.
        found: what finished cells left.
    """

    recipe: StudyRecipe
    cells: Cells
    root: Path | str | None = None
    drawn: Drawn | None = None
    shown: Shown | None = None
    found: Beside = field(default_factory=Beside)
    _opened: dict[str, Data] = field(default_factory=dict, repr=False)
    _folders: dict[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def plan(self) -> StudyPlan:
        """Every model and attack."""
        return expand(self.recipe)

    @property
    def context(self) -> Context:
        """Device, processes, and whom to tell."""
        return self.cells.context

    def watching(self) -> Context:
        """How an attack inside a cell is carried out."""
        return self.cells.watching().but(work=self.store / "work", restart=False)

    @property
    def store(self) -> Path:
        """Folder of cells, models and unfinished work."""
        return self.cells.folder

    def data(self, name: str) -> Data:
        """A data set of the recipe, opened once.

        Raises:
            RequestError: the data are not here, or do not agree with themselves.
        """
        if name not in self._opened:
            self._opened[name] = self.recipe.sources[name].open(self.root)
        return self._opened[name]

    def place(self, kind: str, name: str, facts: Any) -> Path:
        """Folder of something trained: what it is for people, the hash of all facts for us, so that recipes share it."""
        return self.store / kind / f"{name}-{digest_json([facts, self.context.process_group.size])}"

    def folder(self, ground: Ground) -> Path | None:
        """Model folder of a model of this study; None for a foreign model."""
        folder = Path(self._folders[ground.name])
        return folder if ground.card is not None and folder.is_dir() else None

    def ground(self, name: str, cell: ModelCell, *, folder: Path | str = "", queries: int | None = None) -> Ground:
        """A model of the study on its data.

        Args:
            name: what rows call it.
            cell: the model, or the one that it was hardened from.
            folder: where it lies; where it lay before by default.
            queries: the first so many; as many as the recipe says by default.
        """
        place = self._folders.setdefault(name, str(folder))
        recipe, context = self.recipe, Context(device=self.context.device, seed=cell.seed)
        if recipe.batch_size:
            context = context.but(batch_size=recipe.batch_size)
        loaded = Loaded.open(place, name=name, texts=recipe.texts, device=context.device)
        asked = queries or recipe.queries
        return Ground.open(loaded, self.data(cell.data), queries=asked, texts=recipe.texts, context=context)


def facts_of(ground: Ground, *more: Any) -> list[Any]:
    """What decides a cell of a model."""
    model = ground.cross or ground.model
    return [model.digest, ground.split.digest, len(ground.query), ground.seed, ground.batch_size, *more]


def check_before(study: Study) -> None:
    """Open all data and load all given models: what is wrong with them costs no training.

    Raises:
        RequestError: data that are not here or carry no labels, a model that is none, does not fit its data or returns NaN, or one
            that cannot be trained on though a defense asks for it.
    """
    recipe, models = study.recipe, study.plan.models
    wanted = [cell.data for cell in models]
    for part in recipe.protections.values():
        wanted += [*(part.data or recipe.sources), *([part.made_on] if part.made_on else [])]
    for name in dict.fromkeys(wanted):
        dataset = study.data(name).dataset
        if not dataset.labels.any():
            table = f"data.{name}".rstrip(".")
            raise RequestError(
                f"table {table}: {dataset.name} has no labels, so nothing is relevant; a grid needs them"
            )
    for cell in models:
        if cell.request is not None:
            continue
        data = study.data(cell.data)
        try:
            model, card = load_any(cell.load)
            packed_codes(model, data.dataset.images, data.split.query[:1])
        except (RequestError, RunError) as error:
            raise RequestError(f"table models.{cell.table}: {error}") from error
        if cell.defenses and (card is None or not Path(cell.load).is_dir()):
            table = f"defenses.{cell.defenses[0].table}"
            raise RequestError(f"table {table}: {cell.load} is no model folder, so it cannot be trained on")


def trained(study: Study, cell: ModelCell) -> Ground:
    """The trained (or loaded) model of a cell on its data.

    Raises:
        RequestError: something does not fit together.
        RunError: the loss became NaN.
        StoppedError: a person stopped the run.
    """
    if cell.request is None:
        return study.ground(cell.name, cell, folder=cell.load)
    data = study.data(cell.data)
    folder = study.place("models", cell.request.method, [cell.request.digest, data.split.digest])
    run_job(cell.request, data, folder, context=study.cells.watching(f"{cell.name}: training"))
    return study.ground(cell.name, cell, folder=folder)


def hardened(study: Study, cell: ModelCell, start: Ground, defense: DefenseCell) -> Ground:
    """The hardened model of a cell.

    Raises:
        RequestError: something does not fit together.
        RunError: the loss became NaN.
        StoppedError: a person stopped the run.
    """
    data, job, begun = study.data(cell.data), defense.request, study.folder(start)
    assert begun is not None, "check_before refuses it"
    model = start.cross or start.model
    folder = study.place("models", defense.name, [job.digest, data.split.digest, model.digest])
    context = study.cells.watching(f"{defense.name}: training")
    from_there = replace(trainer_of(job).open_start(begun, context), name=start.name)
    run_job(job, data, folder, start=[from_there], context=context)
    return study.ground(defense.name, cell, folder=folder)


def generator(study: Study, ground: Ground, cell: ModelCell, attack: AttackCell) -> Path | None:
    """Folder of the generator that an attack needs against this model; None where it needs none."""
    if attack.generator is None:
        return None
    request = generator_request(attack.generator, cell.data, study.recipe.sources[cell.data], cell.seed)
    folder = study.place("generators", "prosgan", [request.digest, ground.model.digest])
    title = f"{ground.name}: training the generator of {attack.table}"
    if study.context.process_group.leads:
        victim = Start(ground.name, ground.model, ground.card)
        alone = study.cells.watching(title).but(process_group=ProcessGroup())
        run_job(request, ground.data, folder, start=[victim], context=alone)
    wait(study.context.process_group)
    return folder


def protector(study: Study, name: str, request: Job, learned_on: str, eps: float) -> Path:
    """Folder of the protector of a table."""
    data = study.data(learned_on)
    folder = study.place("protectors", f"{name}-{learned_on}-{eps:.4g}", [request.digest, data.split.digest])
    title = f"{name} at {eps:.4g}: training the protector on {learned_on}"
    run_job(request, data, folder, context=study.cells.watching(title))
    return folder
