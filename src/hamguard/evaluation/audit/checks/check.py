"""What a check is: it looks at a case, tries its attack again in other forms, and says whether the figure can be trusted.

Sources: A. Athalye, N. Carlini, D. Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018 (section 3.1), and
N. Carlini et al., "On Evaluating Adversarial Robustness", 2019, here for codes. A check that fails does not say that the model is
broken; it says that the figure should not be trusted without a closer look, or why plain attacks would be fooled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from hamguard.attacks.threat import Norm, Threat
from hamguard.core.digests import digest_json
from hamguard.core.registry import Registry
from hamguard.core.rows import size_text
from hamguard.core.types import Floats
from hamguard.evaluation.audit.bench import Bench, Rescaled
from hamguard.evaluation.audit.plan import Cell, Gradients
from hamguard.evaluation.audit.stages import best_stage
from hamguard.evaluation.audit.worst import Stage, Worst
from hamguard.models.folding import folded

SLACK = 0.01
"""Difference of two MAPs that says nothing: the search is random, and a sample is small."""

RAW = 1e-3
"""Slope at which tanh is a straight line: raw logits."""


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        name: of the check.
        passed: whether the figure may be trusted in this respect; None where what it looks at was left out.
        value: its figure.
        sentence: what it means.
        masks: whether a failure is a sign that gradients are hidden.
        reason: what a failure says, in few words.
    """

    name: str
    passed: bool | None
    value: float | None
    sentence: str
    masks: bool = False
    reason: str = ""


def judged(name: str, value: float, limit: float, said: str, reason: str, *, masks: bool = True) -> Check:
    """A check that passes up to a limit; a failure says why it matters."""
    if value <= limit:
        return Check(name, True, value, said, masks)
    return Check(name, False, value, f"{said}; {reason}", masks, reason)


def falling(name: str, maps: list[float], said: str, reason: str) -> Check:
    """Whether a row of MAPs falls, but for `SLACK`."""
    return judged(name, rise(maps), SLACK, said, reason)


def rise(maps: list[float]) -> float:
    """How far a MAP rises above any before it, 0 where none does.

    >>> round(rise([0.9, 0.5, 0.6]), 6), rise([0.9, 0.5, 0.5])
    (0.1, 0.0)
    """
    return max([0.0, *(later - min(maps[: i + 1]) for i, later in enumerate(maps[1:]))])


@dataclass(frozen=True)
class Form:
    """One form of the attack of a case.

    Attributes:
        cell: guide and loss.
        eps: radius.
        steps: gradients.
        restarts: starts.
        gradients: what they are taken from.
        alpha: slope that outputs are multiplied by as they are; None brings them to one size.
        turn: other numbers give other random starts.
    """

    cell: Cell
    eps: float
    steps: int
    restarts: int = 1
    gradients: Gradients = "rescaled"
    alpha: float | None = None
    turn: int = 0

    def text(self, norm: Norm) -> str:
        """In words."""
        how = f"slope {self.alpha:g}" if self.alpha is not None else "outputs brought to one size"
        how = "raw logits" if self.alpha == RAW else how
        return f"{size_text(norm, self.eps)}, {self.steps} steps, {self.restarts} starts, {how}"


@dataclass
class Case:
    """What checks look at: a model on a bench, the worst that stages made of its queries, and one attack to try again.

    Attributes:
        bench: where attacks are carried out.
        worst: what was found so far, stage by stage.
        form: the attack as it was carried out.
        figures: every MAP that was looked at, by what it is of; with what rows say of it.
    """

    bench: Bench
    worst: Worst
    form: Form
    figures: dict[str, tuple[dict[str, Any], float]] = field(default_factory=dict)
    _tried: dict[Form, Floats] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def best(cls, bench: Bench, worst: Worst) -> Case:
        """A case whose attack is the best gradient stage so far."""
        best = best_stage(worst, worst.open if len(worst.open) else bench.sample())
        cell = Cell(best.guide, best.loss)
        return cls(bench, worst, Form(cell, bench.threat.eps, bench.steps, gradients=best.gradients))

    def make(self, name: str, **parameters: Any) -> Check:
        """Make a check."""
        with self.bench.stage(f"check {name}"):
            return CHECKS[name](self, **parameters)

    def ap(self, **changes: Any) -> Floats:
        """Average precision of the sample under the attack with some changes, see `Form`, `(n,)`; made once."""
        bench, form = self.bench, replace(self.form, **changes)
        if form not in self._tried:
            on: Any = bench.ground.model
            if form.alpha is not None:
                on = Rescaled(folded(on), form.alpha)
            self._tried[form] = bench.run(
                form.cell,
                bench.sample(),
                name=digest_json(repr(form))[:12],
                steps=form.steps,
                restarts=form.restarts,
                threat=Threat(bench.threat.norm, form.eps),
                model=on,
                gradients=form.gradients if form.alpha is None else "plain",
                turn=form.turn,
            ).ap
        return self._tried[form]

    def map(self, **changes: Any) -> float:
        """Mean of `ap`, which rows then show."""
        form, value = replace(self.form, **changes), float(self.ap(**changes).mean())
        facts = {"guide": form.cell.guide, "eps": form.eps, "steps": form.steps, "restarts": form.restarts}
        return self.note(form.text(self.bench.threat.norm), value, **facts)

    @property
    def word(self) -> str:
        """What sentences call the mean score."""
        return self.bench.word

    def note(self, what: str, value: float, **facts: Any) -> float:
        """Enter a figure."""
        self.figures.setdefault(what, ({**facts, "what": what}, value))
        return value

    def stages(self, kind: str) -> list[Stage]:
        """What was done of a kind: `gradient`, `transfer`, `answers`."""
        return [stage for stage in self.worst.stages if stage.kind == kind]

    @property
    def sample(self) -> tuple[Floats, Floats, Floats]:
        """Clean, worst and least average precision of the queries that checks look at, `(n,)` each."""
        numbers: Any = self.bench.sample()
        return self.worst.clean[numbers], self.worst.ap[numbers], self.worst.floor[numbers]


class Probe(Protocol):
    """Looks at a case; its keyword arguments say how."""

    def __call__(self, case: Case, /, **parameters: Any) -> Check:
        """What was found."""


CHECKS: Registry[Probe] = Registry("check", "hamguard.evaluation.audit.checks", public="register_check")


Entered = TypeVar("Entered", bound=Callable[..., Check])


def register(name: str) -> Callable[[Entered], Entered]:
    """Function decorator: enter a check under `name`."""
    return CHECKS.register(name)
