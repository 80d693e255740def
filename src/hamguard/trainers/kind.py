"""`Kind`: what each kind of training has to say, and what a training leaves behind."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice
from hamguard.core.context import Context
from hamguard.core.errors import DamagedError, MissingFileError, RequestError, StaleError
from hamguard.core.files import hold, read_sealed, write_sealed
from hamguard.data.opened import Data, data_facts
from hamguard.models.store import CARD
from hamguard.trainers.job import KINDS, Defaults, Job
from hamguard.training.loop import Task
from hamguard.training.recipe import Recipe

FROZEN = ("freeze", "finetune", "thaw")
"""Fields of the recipe for networks with a backbone that may stay as it is."""


@dataclass(frozen=True)
class Start:
    """A model that a training begins from or learns against.

    Attributes:
        name: what cards call it.
        model: a hash model, a pair of nets, or a foreign network; a training works on its own copy.
        card: its card, where it has one.
        folder: where it lies, where it lies anywhere.
        text_card: of the text side of a pair of nets.
    """

    name: str
    model: Any
    card: Any = None
    folder: Path | None = None
    text_card: Any = None


@dataclass(frozen=True)
class Place:
    """Where a training works: `with Place(...) as place:` lets go of the folder at the end.

    Attributes:
        folder: folder to be.
        run: hash of everything that defines the run; what lies in the folder carries it.
        context: device and processes.
        run_file: name of the file that says which run the folder belongs to.
        facts: what else that file says.
    """

    folder: Path
    run: str
    context: Context
    run_file: str
    facts: Mapping[str, Any]
    _held: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._held:
            os.close(self._held.pop())

    def hold(self) -> None:
        """Keep other processes that train from the folder.

        Raises:
            RunError: one trains there at this moment, or the folder cannot be made.
        """
        if self.context.process_group.leads and not self._held and (handle := hold(self.folder)) is not None:
            self._held.append(handle)

    def claim(self) -> None:
        """Say in the folder which run it belongs to, before anything else is written there.

        Raises:
            RunError: another process trains there at this moment, or the folder cannot be written.
            StaleError: another run has come there since it was looked at.
        """
        if not self.context.process_group.leads:
            return
        self.hold()
        path = self.folder / self.run_file
        if stored_run(path) not in (None, self.run):
            raise StaleError(f"{self.folder} holds another run, which has begun just now; give another `out`")
        write_sealed(path, {"run": self.run, **self.facts})


def stored_run(path: Path) -> str | None:
    """Hash of the run that a folder belongs to; None where it does not say.

    Raises:
        RequestError: the file is damaged.
    """
    try:
        return str(read_sealed(path, "run", old=lambda content: "run" in content).get("run"))
    except MissingFileError:
        return None
    except DamagedError as error:
        raise RequestError(f"{error}; give another `out`, or `restart` to train over it") from error


@dataclass(frozen=True)
class Trained:
    """What a training left behind.

    Attributes:
        model: `HashModel`, `CrossModel`, `Generator`, `Protector` or `ComDefend`, in evaluation mode.
        card: its card.
        history: facts of each epoch.
        fresh: False where the folder held the finished run already.
        text_card: of the text side of a pair.
        kind: what was trained.
        data: what it learned from.
        starts: what it started from.
        leads: whether this is the process that wrote the folder.
    """

    model: Any
    card: Any
    history: tuple[dict[str, float], ...] = ()
    fresh: bool = True
    text_card: Any = None
    kind: str = ""
    data: Data | None = None
    starts: tuple[Start, ...] = ()
    leads: bool = True

    @property
    def seconds(self) -> float:
        """Time that the steps took; each epoch's facts hold the sum so far."""
        return self.history[-1]["seconds"] if self.history else 0.0

    @property
    def items(self) -> int:
        """Pictures of the training part."""
        return len(self.data.split.train) if self.data else 0

    @property
    def unread(self) -> tuple[str, ...]:
        """Why pictures could not be read, a line each."""
        return self.data.dataset.unread if self.data else ()

    @property
    def labeled(self) -> bool:
        """Whether a picture of the data has a label."""
        return self.data is not None and bool(self.data.dataset.labels.any())

    @property
    def overfitted(self) -> int:
        """Epochs in which the alarm of one-step attacks went off."""
        return sum(int(row.get("overfitted", 0)) for row in self.history)


@dataclass(frozen=True)
class Done:
    """A training that came to its end.

    Attributes:
        data: what was learned from.
        history: facts of each epoch.
        place: folder, device, processes.
    """

    data: Data
    history: list[dict[str, float]]
    place: Place


class Kind(ABC):
    """One kind of thing that is trained: its words, its task, and what its card says beside what all cards say.

    Attributes:
        name: of the kind.
        what: what its methods are called in messages.
        default: method where none is named.
        named: whether a method's name alone tells the kind.
        own: fields of `Job` that only some kinds have, of this one.
        starts: fewest and most models that it starts from, with what is said where the number is wrong.
        follows: whether it takes the data of the model that it starts from, where no others are asked for.
        reach: sections that `--set` can reach; empty text for the fields of `Job` itself.
        takes_features: whether it learns on features in the place of pictures, too.
        idle: fields of the recipe that mean nothing here; giving one is an error.
        in_recipe: said of unknown keys of a recipe file.
        verb, doing: what is done, for messages.
        items: what is learned from, for messages.
        run_file: name of the file that says which run a folder belongs to.
        card_file: name of the card, which a finished folder has.
        other: what a folder holds that is of another run.
        leaves: further files that a run leaves, which go where it is trained again.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    default: ClassVar[str]
    named: ClassVar[bool] = True
    own: ClassVar[tuple[str, ...]] = ()
    starts: ClassVar[tuple[int, int, str]] = (0, 0, "starts from no other model")
    follows: ClassVar[bool] = False
    reach: ClassVar[tuple[str, ...]] = ("settings", "training")
    takes_features: ClassVar[bool] = False
    idle: ClassVar[tuple[str, ...]] = FROZEN
    in_recipe: ClassVar[str] = ""
    verb: ClassVar[str] = "train"
    doing: ClassVar[str] = "training"
    items: ClassVar[str] = "pictures"
    run_file: ClassVar[str] = "run.json"
    card_file: ClassVar[str] = CARD
    other: ClassVar[str] = "another run"
    leaves: ClassVar[tuple[str, ...]] = ()

    # Words

    @abstractmethod
    def methods(self) -> Sequence[str]:
        """Names of all methods."""

    @abstractmethod
    def settings_type(self, method: str) -> type[Asked]:
        """Settings of a method."""

    def presets(self, method: str) -> Iterable[str]:
        """Names of the published forms of a method."""
        return ()

    def preset(self, method: str, name: str | None) -> Defaults:
        """Values of a published form over the method's own defaults; None for our own form.

        Raises:
            RequestError: there is none of that name.
        """
        if name is not None:
            check_choice(f"preset of {method}", name, self.presets(method))
        return {}

    def defaults(self, method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values where neither preset nor person says anything: of fields of `Job`, and of `settings` and `training`."""
        return {}

    def refused(self, method: str, given: Mapping[str, Any]) -> list[str]:
        """Further faults of a request that was written in words."""
        return []

    def of(self, method: str) -> str:
        """Whose key is unknown, for messages: ` of saat`."""
        return ""

    def check(self, job: Job) -> None:  # noqa: B027 - most kinds have nothing to add
        """Check what only the job as a whole can tell.

        Raises:
            RequestError: values that do not go together.
        """

    # Work

    def alone(self, job: Job) -> str:
        """What is trained by one process only: `a generator`; empty where several can work together."""
        return ""

    def steps(self, job: Job) -> bool:
        """Whether the job is trained by the loop."""
        return True

    def recipe(self, job: Job, items: int) -> Recipe:
        """The recipe with the batch that it means on a set of `items`."""
        return job.training.model_copy(update={"batch_size": job.training.batch_of(items)})

    def open_start(self, folder: Path | str, context: Context) -> Start:
        """The model at `folder` to begin from or learn against.

        Raises:
            RequestError: there is none, or it is damaged.
        """
        begun = self.load(Path(folder))
        return Start(str(folder), begun.model, begun.card, Path(folder), begun.text_card)

    @abstractmethod
    def make_task(self, job: Job, data: Data, start: Sequence[Start], place: Place) -> Task:
        """The task at its very beginning.

        Raises:
            RequestError: something does not fit together.
        """

    def score(self, job: Job, task: Any, data: Data, place: Place) -> Callable[[], float] | None:
        """What selects a model while it is trained; None where nothing does."""
        return None

    def data_facts(self, data: Data) -> dict[str, Any]:
        """What a card says of the data."""
        return data_facts(data.dataset, data.split)

    @abstractmethod
    def finish(self, job: Job, task: Any, start: Sequence[Start], done: Done) -> dict[str, Any]:
        """Check what was learned, and say what its card says beside, or instead of, what all cards say.

        Raises:
            RunError: the network returns NaN.
            CollapseError: the codes became constant.
        """

    @abstractmethod
    def save(self, task: Any, place: Place, facts: dict[str, Any]) -> Trained:
        """Write the folder, its card last; processes that do not lead write nothing.

        Raises:
            RunError: the folder cannot be written.
        """

    @abstractmethod
    def load(self, folder: Path) -> Trained:
        """What a finished folder holds.

        Raises:
            RequestError: something is missing or damaged.
        """


def trainer_of(job: Job) -> Kind:
    """What knows how such a thing is trained."""
    kind = KINDS[job.kind]()
    assert isinstance(kind, Kind), f"{job.kind} is registered with words alone"
    return kind


def with_card(start: Sequence[Start]) -> Start:
    """The one model that a defense begins from.

    Raises:
        RequestError: it says nothing of its training.
    """
    (begun,) = start
    if begun.card is None:
        raise RequestError(
            f"{begun.name} has no card, so it cannot be trained on; begin from a model of hg.train or hg.load"
        )
    return begun
