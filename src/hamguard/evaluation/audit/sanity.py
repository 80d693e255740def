"""Sanity of a defense: seven checks that show whether the figure that it is quoted with is its robustness or the attack's failure.

Sources: A. Athalye, N. Carlini, D. Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, and N. Carlini et
al., "On Evaluating Adversarial Robustness", 2019, here for codes. All checks look at the first queries of a run, with the attack
that papers quote: the center guide (without labels the own code), relaxed codes, the adaptive search. The audit asks the same of
its own worst case; these checks ask it of one attack, cheaply, so that every defense of a table can carry them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank
from hamguard.core.asked import Asked
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.plan import AttackPlan, check_gradients
from hamguard.evaluation.attack.run import forget
from hamguard.evaluation.audit.answers import answer_stage
from hamguard.evaluation.audit.bench import Bench, Progress
from hamguard.evaluation.audit.checks import SLACK, Check, judged, size_text
from hamguard.evaluation.audit.plan import AuditPlan, Cell
from hamguard.evaluation.audit.stages import begin
from hamguard.evaluation.audit.substitute import train_substitute
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.search.score import random_bank
from hamguard.models.folding import folded
from hamguard.models.store import AnyModel
from hamguard.retrieval.metrics import average_precision

Told = Callable[[str], None]

SHARES = (0.25, 0.5, 1.0, 2.0)
"""Parts of the budget at which the fall is looked at, before the large one."""

LARGE = {"linf": 64 / 255, "l2": 16.0}
"""Budget at which no defense can hold, or four times the asked one where that is more."""

SLOPES = (0.1, 0.2, 0.5, 1.0)
"""Slopes of the relaxation; below 1 saturated outputs have a gradient again."""

RAW = 1e-3
"""Slope at which tanh is a straight line: raw logits."""

HIDDEN = 0.1
"""By how much another slope, or raw logits, may be stronger than slope 1 before slope 1 counts as blind; the audit's limit, too."""

REST = 0.1
"""Share of the way to the floor that may be left at the large budget."""

MORE = 100
"""Gradients of the long attack, or three times the asked ones where that is more."""


class SanityPlan(Asked):
    """What a person asks for.

    Attributes:
        eps: radius in pixel units.
        norm: `linf` or `l2`.
        steps: gradients of the attack.
        sample: queries that are looked at, the first of the run.
        answers: pictures that the query-only attack asks the search, for each query.
    """

    eps: float = 8 / 255
    norm: Literal["linf", "l2"] = "linf"
    steps: int = Field(30, ge=1)
    sample: int = Field(64, ge=2)
    answers: int = Field(100, ge=1)

    @property
    def threat(self) -> Threat:
        """The allowed set."""
        return Threat(self.norm, self.eps)

    @property
    def large(self) -> float:
        """The budget at which nothing holds."""
        most = max(LARGE[self.norm], 4 * self.eps)
        return min(1.0, most) if self.norm == "linf" else most


@dataclass(frozen=True)
class Sane:
    """What the checks found.

    Attributes:
        checks: seven, in the order of the specification.
        rows: one a check, and one a figure behind it.
    """

    checks: tuple[Check, ...]
    rows: list[Row]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.passed is False)


@dataclass(frozen=True)
class Sloped:
    """A model whose outputs are multiplied by a slope: `tanh(alpha z)` for losses of relaxed codes."""

    model: Any
    alpha: float
    digest: str

    @property
    def bits(self) -> int:
        """Code length K."""
        return int(self.model.bits)

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pixels `(B, C, H, W)` in [0, 1]."""
        z: Tensor = self.alpha * self.model.logits(x)
        return z


@dataclass
class Trial:
    """The attack that papers quote, at any budget; equal requests are carried out once.

    Attributes:
        bench: where it works.
        figures: MAP of the sample under everything that was tried, by what it was.
    """

    bench: Bench
    figures: dict[str, float] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def guide(self) -> str:
        """The guide: center, which is every label-aware guide where a picture has one label; own without labels."""
        ground = self.bench.ground
        return "center" if ground.query.labels.any() and ground.reference.labels.any() else "own"

    def map(
        self, *, eps: float | None = None, steps: int | None = None, restarts: int = 1, alpha: float | None = None,
        made_on: AnyModel | None = None, name: str = "",
    ) -> float:  # fmt: skip
        """MAP of the sample under one form of the attack."""
        bench, plan = self.bench, self.bench.plan
        eps, steps = eps or plan.eps, steps or plan.steps
        how = "outputs brought to one size" if alpha is None else "raw logits" if alpha == RAW else f"slope {alpha:g}"
        key = name or f"{size_text(plan.norm, eps)}, {steps} steps, {restarts} starts, {how}"
        if key in self.figures:
            return self.figures[key]
        cell = Cell(self.guide, "inner")
        on: Any = made_on or bench.ground.model
        bank: CodeBank | None = bench.ground.codes_of_part("train", made_on) if made_on else None
        if alpha is not None:
            on = Sloped(folded(bench.ground.model), alpha, f"{bench.ground.model.digest}-slope-{alpha:g}")
        got = bench.run(
            cell, bench.sample(), name=digest_json(key)[:12], steps=steps, restarts=restarts,
            threat=Threat(plan.norm, eps), model=on, bank=bank,
            gradients="rescaled" if alpha is None else "plain",
        )  # fmt: skip
        self.facts[key] = {"guide": self.guide, "eps": eps, "steps": steps, "restarts": restarts, "what": key}
        self.figures[key] = float(got.ap.mean())
        return self.figures[key]

    def note(self, what: str, value: float) -> float:
        """Enter a figure that another attack gave."""
        self.facts[what], self.figures[what] = {"what": what}, value
        return value


def run_sanity(
    ground: Ground,
    plan: SanityPlan,
    *,
    start: AnyModel | None = None,
    work: Path,
    told: Told = lambda _: None,
    progress: Progress | None = None,
) -> Sane:
    """Make all seven checks.

    Args:
        ground: the defended model on its data.
        plan: the budget.
        start: the model before the defense, for pictures made on it; without, a substitute is trained that imitates the codes.
        work: folder of finished batches; emptied at the end.
        told: told which check begins.
        progress: told how far it is.

    Raises:
        RequestError: no labels, so nothing can be scored, or a model without a gradient.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    if not (ground.query.labels.any() and ground.database.labels.any()):
        raise RequestError(f"{ground.dataset.name} has no labels, so nothing can be relevant; the checks compare MAPs")
    check_gradients("adaptive", [ground.model, *([start] if start else [])])
    few = replace(ground, query=ground.query.select(np.arange(min(plan.sample, len(ground.query)))))
    asked = AuditPlan(eps=plan.eps, norm=plan.norm, steps=plan.steps, answers=plan.answers, sample=plan.sample)
    key = digest_json(
        {
            "plan": plan.model_dump(mode="json"), "model": ground.model.digest, "start": start.digest if start else None,
            "split": ground.split.digest, "seed": ground.seed, "pictures": ground.dataset.images.digest,
        }
    )  # fmt: skip
    folder = work / f"sanity-{key[:16]}"
    trial = Trial(Bench(few, asked, folder, progress))
    checks = []
    for check in CHECKS:
        told(f"sanity: {check.__name__.replace('_', ' ')}")
        checks.append(check(trial, plan, start))
    forget(folder)
    return Sane(tuple(checks), _rows(trial, plan, checks))


def falls_with_eps(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """1. MAP falls with the budget, and at the large one it is where codes end that follow their guide.

    The figure is the larger of the highest rise between budgets and of the share of the way that is left at the large one.
    """
    budgets = [*(plan.eps * share for share in SHARES if plan.eps * share < plan.large), plan.large]
    maps = [trial.map(eps=eps) for eps in budgets]
    rise = max([0.0, *(later - min(maps[: i + 1]) for i, later in enumerate(maps[1:]))])
    clean, floor = float(trial.bench.clean.mean()), float(trial.bench.floors[trial.guide].mean())
    left = max(0.0, (maps[-1] - floor) / (clean - floor)) if clean - floor > SLACK else 0.0
    listed = ", ".join(f"{size_text(plan.norm, e)}: {m:.3f}" for e, m in zip(budgets, maps, strict=True))
    said = f"MAP at {listed}; {left:.0%} of the way to {floor:.3f} is left at the largest"
    if rise > SLACK:
        return Check(
            "falls-with-eps",
            False,
            rise,
            f"{said}; the MAP rises with the budget",
            True,
            "the MAP rises with the budget",
        )
    reason = "something other than the budget stops the attack"
    return judged("falls-with-eps", left, REST, said, reason)


def more_steps(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """2. More gradients, and more starts, leave no more MAP than fewer; the figure is the largest rise."""
    few, much = max(1, min(10, plan.steps // 3)), max(MORE, 3 * plan.steps)
    one, base, long = trial.map(steps=few), trial.map(), trial.map(steps=much)
    starts = trial.map(restarts=3)
    value = max(0.0, base - one, long - min(one, base), starts - base)
    said = (
        f"MAP of {one:.3f} after {few} gradients, {base:.3f} after {plan.steps}, {long:.3f} after {much}, "
        f"{starts:.3f} from 3 starts"
    )
    return judged("more-steps", value, SLACK, said, "a longer attack is weaker")


def transfer_is_weaker(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """3. Pictures made on the model before the defense do less harm than those made on the defended one; figure: how much more."""
    words = "the model before the defense" if start else "a substitute that imitates the codes"
    other = start or train_substitute(trial.bench)
    found, own = trial.map(made_on=other, name=f"made on {words}"), trial.map()
    said = f"MAP of {found:.3f} under pictures made on {words}, {own:.3f} under its own"
    return judged("transfer", max(0.0, own - found), SLACK, said, "gradients of this model mislead")


def answers_are_weaker(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """4. An attacker who sees only answers of the search does less harm than gradients; figure: how much more."""
    bench = trial.bench
    curve = answer_stage(bench, begin(bench), lambda _: None)
    assert curve is not None
    found = trial.note(f"query-only, {plan.answers} pictures asked", float(curve.ap[-1].mean()))
    own = trial.map()
    said = f"MAP of {found:.3f} after {plan.answers} pictures asked, {own:.3f} under gradients"
    return judged("query-only", max(0.0, own - found), SLACK, said, "gradients of this model mislead")


def slopes_agree(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """5. Flatter relaxations and raw logits are not far stronger than slope 1; figure: by how much the strongest is.

    Training with a quantization term pushes outputs to where tanh is flat, and plain attacks then stand still.
    """
    maps = {f"slope {alpha:g}": trial.map(alpha=alpha) for alpha in SLOPES}
    maps["raw logits"] = trial.map(alpha=RAW)
    plain, worst = maps[f"slope {SLOPES[-1]:g}"], min(maps, key=lambda one: maps[one])
    listed = ", ".join(f"{value:.3f} with {name}" for name, value in maps.items())
    said = f"MAP of {listed}"
    return judged(
        "slopes", plain - maps[worst], HIDDEN, said, "saturated outputs hide gradients; quote the worst slope"
    )


def targets_are_reached(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """6. Attacks toward targets gain with the budget, too; figure: what the large budget gains less than the asked one.

    A defense may hold queries at home and still let them be led to a chosen place, so t-MAP stands beside MAP.
    """
    ground = trial.bench.ground
    if trial.guide == "own":
        return Check("targeted", None, None, "no labels, so there are no targets")
    found = []
    for eps in (plan.eps, plan.large):
        asked = AttackPlan(method="mainstay", eps=eps, norm=plan.norm, steps=plan.steps, targets="no-overlap")
        rows = measure_attack(ground, asked, work=trial.bench.work / "targeted").rows
        values = {
            str((row.attack or {}).get("method")): row.value
            for row in rows
            if row.metric == "t-map" and row.value is not None
        }
        found.append((values["None"], values["mainstay"]))
        trial.note(f"t-MAP toward targets at {size_text(plan.norm, eps)}", values["mainstay"])
    (clean, near), (_, far) = found
    trial.note("t-MAP of the clean pictures", clean)
    said = (
        f"t-MAP of {clean:.3f} clean, {near:.3f} at {size_text(plan.norm, plan.eps)}, "
        f"{far:.3f} at {size_text(plan.norm, plan.large)}"
    )
    return judged(
        "targeted",
        max(0.0, near - far, clean - near),
        SLACK,
        said,
        "an attack toward targets does not gain with the budget",
    )


def controls_are_in_order(trial: Trial, plan: SanityPlan, start: AnyModel | None) -> Check:
    """7. Random codes find less than clean pictures, and noise of that size does less harm than the attack; figure: the excess."""
    ground = trial.bench.ground
    chance = average_precision(random_bank(ground.query, ground.seed), random_bank(ground.database, ground.seed + 1))
    noise = average_precision(ground.noisy(plan.threat), ground.database)
    blind, noisy = trial.note("random codes", float(chance.mean())), trial.note("noise", float(noise.mean()))
    clean, own = float(trial.bench.clean.mean()), trial.map()
    said = f"MAP of {clean:.3f} clean, {blind:.3f} with random codes, {noisy:.3f} under noise, {own:.3f} under attack"
    excess = max(0.0, blind - clean, own - noisy)
    return judged(
        "controls", excess, SLACK, said, "the search is no better than chance, or the attack no better than noise"
    )


CHECKS = (
    falls_with_eps, more_steps, transfer_is_weaker, answers_are_weaker, slopes_agree, targets_are_reached, controls_are_in_order,
)  # fmt: skip
"""All seven, in order."""


def marked(rows: Sequence[Row], sane: Sane) -> list[Row]:
    """The rows, each attacked one with a note where a check of its model failed."""
    if not sane.failed:
        return list(rows)
    note = f"sanity of the defense fails: {', '.join(sane.failed)}"
    return [replace(row, notes=(*row.notes, note)) if row.attack else row for row in rows]


def _rows(trial: Trial, plan: SanityPlan, checks: Sequence[Check]) -> list[Row]:
    ground = trial.bench.ground
    base = ground.base
    threat = {"norm": plan.norm, "eps": plan.eps, "grid": "8 bit"}
    base = replace(base, task="sanity", threat=threat, n=len(ground.query))
    rows = [
        replace(
            base, attack={"method": "sanity", "check": check.name, "passed": check.passed}, metric="check",
            value=check.value, notes=(check.sentence,),
        )
        for check in checks
    ]  # fmt: skip
    for what, value in trial.figures.items():
        metric = "t-map" if what.startswith("t-MAP") else "map"
        rows.append(
            replace(base, attack={"method": "sanity", **trial.facts[what]}, metric=metric, ties="expected", value=value)
        )
    return rows
