"""Robustness measures of one or several models, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.attacks.budget import BUDGET, Budget
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.rows import eps_text
from hamguard.data.opened import Data
from hamguard.evaluation.measures.audit import rank_rows, read_audit
from hamguard.evaluation.measures.registry import STEPS, Found, Line, check_measures
from hamguard.evaluation.measures.run import check_budget, measure_model, read_options
from hamguard.evaluation.search.same_queries import listed_models, open_grounds
from hamguard.models.store import AnyModel
from hamguard.report.measure_table import MeasureFigure, draw_measures, measure_table, rank_table
from hamguard.report.table import Table, as_html
from hamguard.report.wording import short_names

__all__ = ["MeasureResult", "measure"]

QUERIES = 20
"""Images by default: with the default draws a 32-bit ResNet-20 on 32 pixels takes about two core-minutes."""


@dataclass(frozen=True)
class MeasureResult:
    """What was measured of each model.

    Attributes:
        title: data, number of queries, and budget.
        found: by short name of the model, by measure.
        names: short name of a model to its name in rows.
        ranks: how each measure ranks queries and models beside audits; empty without audits.
    """

    title: str
    found: Mapping[str, Mapping[str, Found]]
    names: Mapping[str, str]
    ranks: Rows

    @property
    def measured(self) -> Rows:
        """Rows of the measures alone; what two attacks of a model share stands once."""
        return Rows(row for own in self.found.values() for one in own.values() for row in one.rows).once()

    @property
    def rows(self) -> Rows:
        """All rows, those of ranks last."""
        return Rows([*self.measured, *self.ranks])

    @property
    def lines(self) -> dict[str, dict[str, Line]]:
        """The figures that people read, with a value an image: by short name of the model, by name of the figure."""
        return {
            name: {line.name: line for one in own.values() for line in one.lines} for name, own in self.found.items()
        }

    def tables(self) -> list[Table]:
        """A line a figure and a column a model; with audits, a second table of how measures rank."""
        figures = {
            name: {
                key: MeasureFigure(line.name, line.means, line.robust, line.unit, line.row) for key, line in own.items()
            }
            for name, own in self.lines.items()
        }
        tables = [measure_table(figures, self.title, self.measured)]
        return [*tables, rank_table(figures, self.ranks, self.names)] if self.ranks else tables

    def draw(self, path: Path | str) -> None:
        """Draw flip and success curves, and bars by class, as far as they were measured.

        Args:
            path: `.png`, `.svg` or `.pdf` to write.

        Raises:
            RequestError: another kind of file.
            RunError: it cannot be written.
        """
        curves = {
            name: {key: curve for one in own.values() for key, curve in one.curves.items()}
            for name, own in self.found.items()
        }
        bars = {
            name: {key: bar for one in own.values() for key, bar in one.bars.items()}
            for name, own in self.found.items()
        }
        draw_measures(curves, Path(path), self.title, bars)

    def sheet(self, path: Path | str) -> None:
        """Draw the pictures that were measured: saliency maps before and after an attack.

        Args:
            path: `.png`, `.svg` or `.pdf` to write.

        Raises:
            RequestError: nothing that has pictures was measured, or another kind of file.
            RunError: it cannot be written.
        """
        from hamguard.api.sheets import draw_pictures

        lines = [(name, line) for name, own in self.found.items() for one in own.values() for line in one.pictures]
        draw_pictures(Path(path), lines, self.title)

    def __repr__(self) -> str:
        measured = ", ".join(dict.fromkeys(key for own in self.found.values() for key in own))
        return f"MeasureResult({self.title}; {', '.join(self.found)}: {measured}; {len(self.rows)} rows)"

    def _repr_html_(self) -> str:
        return "".join(map(as_html, self.tables()))


@checked
def measure(
    models: str | Path | AnyModel | Sequence[str | Path | AnyModel] | Mapping[str, AnyModel],
    data: str | Data | None = None,
    budget: Budget = BUDGET,
    *,
    measures: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    audits: Sequence[str | Path] = (),
    queries: int | None = QUERIES,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> MeasureResult:
    """Robustness: success rates, least budgets, flip radii, flip curves, sensitivity, Lipschitz, CLEVER.

    Every measure is a figure about a model and one value a query. None is a guarantee.

    Args:
        models: a model as `hg.load` takes it, several, or models by the names that rows call them; all are asked with the same
            query images.
        data: what `hg.data` gave, or a source; None for what each model was trained on.
        budget: linf radius of attacks and of the balls of Lipschitz and CLEVER; `steps`, gradients of each attack, 50 where it does
            not say.
        measures: names, which `hamguard measure --list` lists; all defaults that the data allow where none is named.
        options: of measures, by name: `{"clever": {"draws": "50x64"}}`.
        audits: folders of `hg.audit(..., out=...)`, one a model in their order: how do the measures rank beside the worst case?
        queries: only the first so many of the query split; None for all.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        context: device, seed, batch size, how progress is shown.

    Raises:
        RequestError: an unknown measure or option, a measure that needs labels on data without, a budget that is not linf, models
            with other query images, or audits of other models.
        RunError: a gradient is not finite.
    """
    asked = listed_models(models)
    check_measures(measures)
    check_budget(budget)
    read_options(options or {})
    if audits and len(audits) != len(asked):
        raise RequestError(
            f"`audits` is given once for each model, in their order: {len(asked)} models, {len(audits)} folders"
        )
    context = running(context, asked[0] if asked else None)
    grounds = open_grounds(asked, data, protocol=protocol, root=root, queries=queries, context=context)
    results = [read_audit(Path(folder), ground) for folder, ground in zip(audits, grounds, strict=bool(audits))]
    full = [ground.name for ground in grounds]
    short = dict(zip(short_names(full), full, strict=True))
    found = {
        name: measure_model(one, budget, measures, options=options) for name, one in zip(short, grounds, strict=True)
    }
    first, steps = grounds[0], budget.steps or STEPS
    size = eps_text({"norm": budget.threat.norm, "eps": budget.threat.eps})
    title = f"{first.dataset.title}, {len(first.query):,} queries, {size}, {steps} gradients"
    done = MeasureResult(title, found, short, Rows())
    if not results:
        return done
    ranks = rank_rows(list(done.lines.values()), results, seed=context.seed)
    return MeasureResult(title, found, short, Rows(ranks))
