"""Published tables run again, beside the published figures, and what the paper says of them judged."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.api.arguments import checked
from hamguard.core.checks import check_choice
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.evaluation.reproduce import run as recipes
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Comparison, Experiment, Scale
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import Found
from hamguard.report.reproduce_table import PublishedLine, Said, published_table

if TYPE_CHECKING:
    from hamguard.report.table import Table

__all__ = ["Reproduced", "recipe_text", "reproduce"]

WORDS: Mapping[Scale, str] = {"small": "at small scale", "photos": "on photos", "paper": "at paper scale"}


@dataclass(frozen=True)
class Reproduced:
    """An experiment that was run again.

    Attributes:
        title: paper and table.
        judged: published and own figures, and the relations that the paper claims.
        folder: where report.html, rows.jsonl, comparison.json and the tables lie.
        seconds: time that it took.
    """

    title: str
    judged: Comparison = field(repr=False)
    folder: Path
    seconds: float

    @property
    def values(self) -> list[dict[str, object]]:
        """Lines and relations as JSON values."""
        return _values(self.judged)

    def table(self) -> Table | None:
        """Published figures beside ours; None where the paper has relations alone."""
        return published_table(_lines(self.judged), self.title, _whys(self.judged)) if self.judged.lines else None

    @property
    def lines(self) -> list[str]:
        """Each relation with its verdict, those that are no claims of the paper marked, and where all lies."""
        marks = {"claim": "", "ours": "ours: ", "contradicted": "not the paper's: "}
        said = [f"{one.verdict.upper()}: {marks[one.kind]}{one.claim} ({one.figures})" for one in self.judged.relations]
        where = f"{self.folder / 'report.html'}  rows: {self.folder / 'rows.jsonl'}  ({self.seconds:,.0f} s)"
        return [*said, where]


def recipe_text(name: str, scale: str = "small") -> str:
    """The recipe of an experiment, to be copied and changed.

    Raises:
        RequestError: unknown name or scale.
    """
    chosen: Scale = check_choice("scale", scale, recipes.SCALES)  # type: ignore[assignment]
    return recipes.recipe_of(EXPERIMENTS[name], chosen).read_text(encoding="utf-8")


@checked
def reproduce(
    name: str,
    *,
    scale: str = "small",
    out: Path | str | None = None,
    cells: Path | str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> Reproduced | None:
    """Run a published experiment again: published figure, ours, difference, interval, and each relation that the paper claims.

    Args:
        name: of the experiment; `hamguard reproduce --list` lists them.
        scale: `small`, minutes on two cores; `photos`, the same time, published radii on real photos and a network of ImageNet; or
            `paper`, the published data, networks and budgets.
        out: folder of rows, tables and page; `runs/NAME-SCALE` by default.
        cells: folder of finished cells, shared by experiments; `cells` beside `out` by default.
        root: folder of the named data sets.
        context: device, and how progress is told.

    Returns:
        The comparison; None in a process that does not lead.

    Raises:
        RequestError: unknown name or scale, or an `out` that is a file.
    """
    from hamguard.api.study import study  # a recipe is printed without what a run needs

    chosen: Scale = check_choice("scale", scale, recipes.SCALES)  # type: ignore[assignment]
    experiment = EXPERIMENTS[name]
    folder = Path("runs") / f"{name}-{scale}" if out is None else Path(out)
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; a folder is needed to write to")
    recipe = recipes.recipe_of(experiment, chosen)
    begun, spent = time.monotonic(), _core_seconds()
    if chosen != "paper" and context is not None:
        form = f"{WORDS[chosen]}: {experiment.differs(chosen)}. About {experiment.minutes_at(chosen)} minutes on two cores."
        context.tell(f"{experiment.what}; {form}")
    shared = folder.parent / "cells" if cells is None else cells
    done = study(recipe, folder, cells=shared, root=root, context=context)
    if done is None:
        return None  # another process speaks
    judged = experiment.judge(Found(done, done.cells, done.per_query), chosen)
    title = f"{experiment.source}: {experiment.what}"
    seconds = time.monotonic() - begun
    _write(folder, title, experiment, chosen, judged, seconds, _core_seconds() - spent)
    return Reproduced(title, judged, folder, seconds)


def _core_seconds() -> float:
    """Seconds of work of this process and of those that it began and that ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _write(
    folder: Path, title: str, experiment: Experiment, scale: Scale, judged: Comparison, seconds: float, cores: float
) -> None:
    """The page with both figures in front, and all tables as CSV and LaTeX."""
    from hamguard import __version__
    from hamguard.core.files import read_json, write_json
    from hamguard.report.cells import Section
    from hamguard.report.collect import collect
    from hamguard.report.export import export_tables
    from hamguard.report.reproduce_table import relation_table
    from hamguard.report.rows_page import rows_report, write_rows_page

    tables = []
    if judged.lines:
        tables.append(published_table(_lines(judged), "Published and ours", _whys(judged)))
    said = [Said(one.claim, one.verdict, one.figures, one.kind, one.printed) for one in judged.relations]
    tables.append(relation_table(said))
    differs = experiment.differs(scale)
    form = f"{WORDS[scale]}: {differs}." if differs else "published data, networks and budgets."
    words = (form[0].upper() + form[1:],)
    report = rows_report(collect([folder]), title)
    front = Section("Published figures beside ours", words, tables)
    verdicts = [f"{one.claim}: {one.verdict} ({one.figures})." for one in judged.relations if one.kind == "claim"]
    report = replace(report, sections=[front, *report.sections], sentences=verdicts)
    write_rows_page(report, folder / "report.html")
    export_tables(report, folder / "tables")
    values = _values(judged)
    facts = {"experiment": experiment.name, "scale": scale, "version": __version__, "seconds": round(seconds)}
    try:  # a run that went on adds to what was spent before
        before = read_json(folder / "comparison.json", "comparison")
    except RequestError:
        before = {}
    if (before.get("experiment"), before.get("scale")) == (experiment.name, scale):
        cores += float(before.get("core_seconds") or 0)
    facts["core_seconds"] = round(cores)
    facts |= {"why": judged.why, "block_why": dict(judged.block_why)}
    lines_of = [one for one in values if "setting" in one]
    write_json(folder / "comparison.json", {**facts, "lines": lines_of, "relations": values[len(lines_of) :]})


def _lines(judged: Comparison) -> list[PublishedLine]:
    """Lines as a report takes them, those of a block together."""
    blocks = list(dict.fromkeys(line.block for line in judged.lines))
    lines = sorted(judged.lines, key=lambda line: blocks.index(line.block))
    return [
        PublishedLine(
            line.block,
            line.setting,
            line.published,
            line.ours.value if line.ours else None,
            line.difference,
            line.ours.ci95 if line.ours else None,
            _queries(line.ours),
            line.digits,
            line.why,
        )
        for line in lines
    ]


def _queries(figure: Figure | None) -> str:
    """Number of queries, and of seeds where there are several."""
    if figure is None or not figure.n:
        return ""
    return f"{figure.n:,} x {len(figure.seeds)} seeds" if len(figure.seeds) > 1 else f"{figure.n:,}"


def _whys(judged: Comparison) -> list[str]:
    """Why ours differs: of all lines, then of each block."""
    whys = [f"Why ours differ: {judged.why}"] if judged.why else []
    return whys + [f"{block}: {why}" for block, why in judged.block_why.items()]


def _values(judged: Comparison) -> list[dict[str, object]]:
    """Lines and relations as JSON values."""
    found: list[dict[str, object]] = []
    for line in judged.lines:
        ours = line.ours
        found.append(
            {
                "setting": line.setting,
                "published": line.published,
                "ours": ours.value if ours else None,
                "difference": line.difference,
                "ci95": ours.ci95 if ours else None,
                "n": ours.n if ours else None,
                "seeds": len(ours.seeds) if ours else None,
                "digits": line.digits,
                "block": line.block,
                "why": line.why,
            }
        )
    return found + [asdict(one) for one in judged.relations]
