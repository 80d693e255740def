"""Sanity of a defense: seven checks that show whether the figure that it is quoted with is its robustness or the attack's failure.

All checks look at the first queries of a run, with the attack that papers quote: the center guide (without labels the own code),
relaxed codes, the adaptive search. The audit asks the same of its own worst case; these ask it of one attack, cheaply, so that
every defense of a table can carry them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import check_ball
from hamguard.core.checks import check_range
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.places import cache_folder
from hamguard.core.rows import Row
from hamguard.evaluation.attack.run import forget
from hamguard.evaluation.attack.spec import check_gradients
from hamguard.evaluation.audit.answers import answer_stage, search_of
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.checks.battery import SANITY
from hamguard.evaluation.audit.checks.check import Case, Check, Form
from hamguard.evaluation.audit.plan import SAMPLE, STEPS, Cell
from hamguard.evaluation.audit.stages import begin, substitute_of, transfer_stages
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.originals import scored_as
from hamguard.models.store import AnyModel

ANSWERS = 100
"""Pictures that the query-only attack asks for each query, where nothing else is asked for."""


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


def run_sanity(ground: Ground, budget: Budget, *, sample: int = SAMPLE, start: AnyModel | None = None) -> Sane:
    """Make all seven checks.

    Args:
        ground: the defended model on its data.
        budget: threat, gradients of the attack, and pictures that the query-only attack asks the search for each query.
        sample: queries that are looked at, the first of the run, at least 2.
        start: the model before the defense, for pictures made on it; without, a substitute is trained that imitates the codes.

    Raises:
        RequestError: labels of some pictures but of no query, a model without a gradient, or a budget that is no ball.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    check_range("sample", sample, 2)
    check_ball(budget.threat, "sanity")
    if not ground.labeled and ground.dataset.labels.any():
        raise RequestError(f"no query of {ground.dataset.name}, or no picture that is searched, has a label")
    check_gradients("adaptive", [ground.model, *([start] if start else [])])
    budget, few = budget.filled(steps=STEPS, queries=ANSWERS), ground.first(sample)
    key = digest_json(
        {
            "budget": asdict(budget),
            "sample": sample,
            "model": ground.model.digest,
            "start": start.digest if start else None,
            "split": ground.split.digest,
            "seed": ground.seed,
            "pictures": ground.dataset.images.digest,
        }
    )
    folder = (ground.context.work or cache_folder() / "audits") / f"sanity-{key[:16]}"
    bench = Bench(few, budget, folder, sample)
    cell = Cell("center" if ground.reference.labels.any() else "own", "inner")
    worst = begin(bench)
    words = "the model before the defense" if start else "a substitute that imitates the codes"
    transfer_stages(bench, worst, {words: start or substitute_of(bench)}, cell)
    answer_stage(bench, worst, search_of(few))
    case = Case(bench, worst, Form(cell, bench.threat.eps, bench.steps))
    checks = tuple(case.make(name, **parameters) for name, parameters in SANITY.items())
    forget(folder)
    return Sane(checks, sanity_rows(case, checks))


def marked(rows: Sequence[Row], sane: Sane) -> list[Row]:
    """The rows, each attacked one with a note where a check of its model failed."""
    if not sane.failed:
        return list(rows)
    note = f"sanity of the defense fails: {', '.join(sane.failed)}"
    return [replace(row, notes=(*row.notes, note)) if row.attack else row for row in rows]


def sanity_rows(case: Case, checks: Sequence[Check]) -> list[Row]:
    """One row a check, then one a figure that was looked at."""
    bench = case.bench
    base = replace(bench.ground.base, task="sanity", threat=bench.facts, n=bench.count)
    rows = []
    for check in checks:
        facts = {"method": "sanity", "check": check.name, "passed": check.passed}
        rows.append(replace(base, attack=facts, metric="check", value=check.value, notes=(check.sentence,)))
    for what, (facts, value) in case.figures.items():
        row = replace(scored_as(base, bench.ground.database), task=base.task)
        metric = "t-map" if what.startswith("t-MAP") else row.metric
        rows.append(replace(row, attack={"method": "sanity", **facts}, metric=metric, value=value))
    return rows
