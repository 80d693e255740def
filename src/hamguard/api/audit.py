"""The worst case of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from hamguard.api.arguments import checked
from hamguard.api.budget import AUDITED, CHECKED, usual_queries
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.attacks.budget import BUDGET, Budget
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html
from hamguard.data.opened import Data
from hamguard.evaluation.audit.audit import Audited, run_audit
from hamguard.evaluation.audit.checks.battery import check_names
from hamguard.evaluation.audit.plan import SAMPLE, AuditPlan
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.store import AnyModel
from hamguard.report.audit import draw_audit
from hamguard.report.audit_table import audit_table, check_lines, score_of, worst_code
from hamguard.report.table import Table, as_html, note_lines
from hamguard.report.wording import SCORES

PICTURE = "audit.png"

__all__ = ["AuditResult", "audit"]


@dataclass(frozen=True)
class AuditResult(Audited):
    """An audit: rows, verdict, checks, worst images."""

    rows: Rows

    @classmethod
    def of(cls, found: Audited) -> AuditResult:
        """What `run_audit` found, as it shows itself."""
        return cls(**{one.name: getattr(found, one.name) for one in fields(found)} | {"rows": Rows(found.rows)})

    def table(self) -> Table:
        """Every stage, the worst of all, and the least that a code finds."""
        return audit_table(self.rows)

    @property
    def lines(self) -> list[str]:
        """Checks, notes and verdict as lines."""
        checks = ["checks", *check_lines(self.rows)] if self.checks else []
        notes = note_lines(note for row in self.rows if row.metric != "check" for note in row.notes)
        return [*checks, *notes, f"Verdict: {' '.join(self.verdict.sentences)}"]

    def draw(self, path: Path | str, title: str = "") -> None:
        """Draw the worst score after each stage, and the score against images asked.

        Args:
            path: `.png`, `.svg` or `.pdf` to write.
            title: line above; the model where not given.

        Raises:
            RequestError: another kind of file.
            RunError: it cannot be written.
        """
        score = score_of(self.rows)
        floor, chance = worst_code(self.rows), self.rows.first(f"random_{score}")
        assert floor and chance
        ends = (floor.value or 0.0, chance.value or 0.0)
        title = f"{title or floor.model}: {self.verdict.grade}"
        draw_audit(self.stages, self.curve, *ends, path, score=SCORES[score], title=title)

    def __repr__(self) -> str:
        return f"AuditResult({self.verdict.grade}; {len(self.rows)} rows): {self.verdict.sentences[0]}"

    def _repr_html_(self) -> str:
        return as_html(self.table()) + lines_html(self.lines)


@checked
def audit(
    model: str | Path | AnyModel,
    data: str | Data | None = None,
    budget: Budget = BUDGET,
    *,
    source_models: Sequence[str | Path | AnyModel] = (),
    substitute: bool = True,
    answers: bool = True,
    distances: bool = True,
    endpoint: str = "",
    index: Path | str | None = None,
    checks: Sequence[str] = (),
    sample: int | None = None,
    queries: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    out: Path | str | None = None,
    context: Context | None = None,
) -> AuditResult:
    """The worst case of a search over every guide, every loss, more gradients, other models, and answers alone.

    There is nothing to tune. Each attack sees only the queries that still hold, and the worst image of each query is kept. Checks
    then ask whether the figure is really the worst case, and name the reason where it is not. An audit that was stopped goes on
    when it is called again.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        budget: the threat; `steps`, gradients of each attack, 30 where it does not say; `queries`, images that the query-only
            attack asks the search for each query, 300 where it does not say.
        source_models: models whose attacked images are tried, too.
        substitute: without a source model, train one that imitates the codes.
        answers: attack by answers of the search alone, too.
        distances: whether the search tells distances, or only what it found.
        endpoint: search to ask instead of the model's own, `package.module:factory` of a function of (pixels, k).
        index: folder or address of an index of the database: it is read in the place of encoding, and what attacks by answers asks.
        checks: names of the checks to make; all of them where none is named, and no check for `("none",)`.
        sample: queries that the checks look at, at least 2; 64, or 16 of photos (96 pixels and more), where nobody says.
        queries: only the first so many of the query split; None for all, or for the first 32 of photos.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        out: folder for rows, verdict, worst images and `audit.png`; unfinished work is kept in it.
        context: device, seed, batch size, how progress is shown, and whether to begin anew (`restart`).

    Returns:
        Rows, verdict, checks and worst images.

    Raises:
        RequestError: no labels, a model without a gradient, images that do not fit, an unknown check, or an `out` that holds other
            things.
        StaleError: `out` holds another audit, or the index is of another model or split.
        RunError: NaN gradients, a search that fails for good, or a full disk.
        StoppedError: a person stopped it; what was finished stays.
    """
    check_names(checks)
    if endpoint and index is not None:
        raise RequestError("`endpoint` and `index` are two searches to ask; give one")
    context = running(context, model)
    sources = [Loaded.open(one, device=context.device) for one in source_models]
    loaded = Loaded.open(model, device=context.device)
    if not isinstance(data, Data):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    usual = usual_queries(queries, data, AUDITED, context)
    plan = AuditPlan(
        budget,
        answers=answers,
        distances=distances,
        sample=(SAMPLE if usual == queries else CHECKED) if sample is None else sample,
        checks=tuple(checks),
        sources=tuple(one.name for one in sources),
        substitute=substitute,
        endpoint=endpoint,
    )
    ground = Ground.open(loaded, data, queries=usual, index=index, context=context)
    found = run_audit(ground, plan, sources=[one.model for one in sources], out=None if out is None else Path(out))
    result = AuditResult.of(found)
    if out is not None:
        result.draw(Path(out) / PICTURE)
    return result
