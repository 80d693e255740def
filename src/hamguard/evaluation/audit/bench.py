"""Where an audit works: a ground, the battery's guides made ready, folders of finished batches, scores of single queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import Threat
from hamguard.attacks.through import Through
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.core.context import Context, Progress, always, silent
from hamguard.core.digests import digest_array
from hamguard.core.seeds import derive_seed
from hamguard.core.types import Bytes, Floats, Ints
from hamguard.evaluation.attack.run import AttackedSet, Source, run_attack
from hamguard.evaluation.audit.plan import BATTERY, STEPS, Cell, Gradients
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.originals import scores, word_of
from hamguard.models.folding import folded
from hamguard.models.store import AnyModel

LEVEL = 2.0
"""Median size of the outputs that attacks see: there tanh bends and still has a slope. Trained hash models lie around it."""

SEEN = 256  # training pictures that tell the size of a model's outputs


@dataclass(frozen=True)
class Rescaled:
    """A model whose outputs are multiplied by one positive number: the same codes, other gradients of a loss.

    Attributes:
        model: the model.
        factor: the number.
    """

    model: Any
    factor: float

    @property
    def bits(self) -> int:
        """Code length K."""
        return int(self.model.bits)

    @property
    def digest(self) -> str:
        """Of model and factor."""
        return f"{self.model.digest}-times-{self.factor:g}"

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pixels `(B, C, H, W)` in [0, 1]."""
        z: Tensor = self.factor * self.model.logits(x)
        return z


@dataclass(frozen=True)
class Outcome:
    """What one attack made of n queries.

    Attributes:
        made: pictures and passes.
        ap: score of each, `(n,)`.
    """

    made: AttackedSet
    ap: Floats

    @property
    def spent(self) -> tuple[Ints, Ints, float]:
        """Forward passes, backward passes, seconds."""
        return self.made.forwards, self.made.backwards, self.made.seconds


@dataclass
class Bench:
    """A model under attack by one battery after the other.

    Attributes:
        ground: the model on its data.
        budget: threat, gradients and pictures asked.
        work: folder of finished batches; what lies there is not made again.
        few: how many queries checks look at, the first of the run.
    """

    ground: Ground
    budget: Budget
    work: Path
    few: int
    progress: Progress = field(default=silent, init=False, repr=False)
    _guides: dict[tuple[str, str], Attack] = field(default_factory=dict, init=False, repr=False)
    _victims: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def threat(self) -> Threat:
        """The allowed set."""
        return self.budget.threat

    @property
    def steps(self) -> int:
        """Gradients of an attack."""
        return self.budget.steps or STEPS

    @property
    def facts(self) -> dict[str, Any]:
        """What rows say of the threat."""
        return {"norm": self.threat.norm, "eps": self.threat.eps, "grid": "8 bit"}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage of the run: what attacks in it tells `progress` how far it is."""
        with self.ground.context.stage(name) as self.progress:
            yield
        self.progress = silent

    @property
    def context(self) -> Context:
        """How attacks in a stage are carried out."""
        return self.ground.context.but(stage=always(self.progress))

    @property
    def word(self) -> str:
        """What sentences call the mean score: MAP, or without labels the share whose originals are found."""
        return word_of(self.ground.database)

    @property
    def battery(self) -> tuple[Cell, ...]:
        """The attacks that are tried; without labels those that leave the own code."""
        return tuple(cell for cell in BATTERY if self.ground.labeled or not cell.aware)

    def blind(self, cell: Cell) -> Cell:
        """A cell as it is, or without labels with the own code in the place of its guide."""
        return cell if self.ground.labeled else Cell("own", cell.loss)

    @property
    def count(self) -> int:
        """Number of queries Q."""
        return len(self.ground.query)

    @cached_property
    def clean(self) -> Floats:
        """Score of the clean queries, `(Q,)`: average precision; without labels, whether the original is found."""
        return scores(self.ground.query, self.ground.database)

    @cached_property
    def clean_pixels(self) -> Bytes:
        """The clean queries, `(Q, H, W)` or `(Q, H, W, 3)` uint8."""
        return self.ground.dataset.images.pixels(self.ground.rows)

    @cached_property
    def floors(self) -> dict[str, Floats]:
        """Score of the opposite of each guide's code, `(Q,)` each: where an attack on that guide ends."""
        found = {}
        marks = torch.from_numpy(self.ground.query.labels).float()
        own = self.ground.query.codes
        for name in dict.fromkeys(cell.guide for cell in self.battery):
            guide = self._prepared(Cell(name, "inner"), self.ground.model, self.ground.reference).guide
            code = guide(own, marks, self.ground.reference, range(self.count), self.ground.seed)
            found[name] = self.ap_of_codes(code)
        return found

    def ap_of_codes(self, code: object) -> Floats:
        """Scores of the opposites of guide codes `(Q, K)`."""
        bank = replace(self.ground.query, packed=pack(-code))  # type: ignore[operator]
        return scores(bank, self.ground.database)

    def ap(self, pixels: Bytes, numbers: Ints) -> Floats:
        """Scores of changed queries, `(n,)`: encoded again, searched, scored under their own labels or by their originals."""
        return scores(self.ground.codes_of(pixels, numbers), self.ground.database)

    def run(
        self,
        cell: Cell,
        numbers: Ints,
        *,
        name: str = "",
        steps: int | None = None,
        restarts: int = 1,
        threat: Threat | None = None,
        model: AnyModel | None = None,
        bank: CodeBank | None = None,
        gradients: Gradients = "rescaled",
        turn: int = 0,
    ) -> Outcome:
        """Attack some queries by a cell of the battery.

        Args:
            cell: guide and loss.
            numbers: which queries, `(n,)`.
            name: of the folder of finished batches; None takes the cell's.
            steps: gradients; the plan's where not given.
            restarts: starts.
            threat: the allowed set; the plan's where not given.
            model: model that the pictures are made on; the audited one where not given.
            bank: codes of the training part by that model.
            gradients: what they are taken from.
            turn: other numbers give other random starts.

        Returns:
            Pictures, passes, and scores on the audited model.
        """
        on = model or self.ground.model
        votes = bank or self.ground.reference
        ready = self._prepared(cell, on, votes)
        attack = replace(cell.attack(threat or self.threat, steps or self.steps, restarts), guide=ready.guide)
        source = Source(attack, self.victim(on, gradients), votes)
        folder = f"{name or cell.name.replace(', ', '-').replace(' ', '-')}-{digest_array(numbers)[:12]}"
        seed = derive_seed(self.ground.seed, "turn", turn) if turn else self.ground.seed
        made = run_attack(
            self.ground,
            [source],
            self.ground.query.labels[numbers],
            work=self.work / folder,
            numbers=numbers,
            seed=seed,
            context=self.context,
        )
        return Outcome(made, self.ap(made.pixels, numbers))

    def sample(self) -> Ints:
        """Numbers of the queries that checks look at, `(n,)`: the first of the run."""
        return np.arange(min(self.few, self.count))

    def _prepared(self, cell: Cell, model: AnyModel, bank: CodeBank) -> Attack:
        key = (cell.guide, bank.digest)
        if key not in self._guides:
            self._guides[key] = cell.attack(self.threat, 1).prepared(bank, self.ground.seed)
        return self._guides[key]

    def output_level(self, model: AnyModel) -> float:
        """Median size of a model's outputs on training pictures."""
        train = self.ground.split.train
        rows = train[np.linspace(0, len(train) - 1, min(SEEN, len(train))).astype(np.int64)]
        with torch.no_grad():
            return float(model.logits(self.ground.dataset.images.batch(rows).to(self.ground.device)).abs().median())

    def victim(self, model: AnyModel, gradients: Gradients = "rescaled") -> Any:
        """The copy of a model that gradients are taken from: folded where it stays as it is, its outputs brought to `LEVEL`."""
        key = (model.digest, gradients)
        if key not in self._victims:
            level = self.output_level(model)
            copy: Any = Through(model) if gradients == "through" else folded(model)
            self._victims[key] = copy if gradients == "plain" or level == 0 else Rescaled(copy, LEVEL / level)
        return self._victims[key]

    def masks(self) -> bool:
        """Whether the model has steps or saturating functions that stop gradients."""
        x = self.ground.dataset.images.batch(self.ground.rows[:2]).to(self.ground.device)
        return Through(self.ground.model).meets(x) > 0
