"""One self-contained page for any rows: an opening, sentences, tables, curves, pictures, threat models, settings and remarks."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hamguard import __version__
from hamguard.report.cells import SIGNS, Plot, Pool, Section
from hamguard.report.citing import bibtex_for, used_names
from hamguard.report.collect import DISPUTED, FOREIGN, OLD, Collected, some
from hamguard.report.curve_plots import effort_plots, precision_plots
from hamguard.report.folding import fitted
from hamguard.report.heatmap import draw_heat_maps
from hamguard.report.opening import Opening, opening
from hamguard.report.page import picture_uri, render_page
from hamguard.report.pictures import SECTIONS, Picture
from hamguard.report.plain_words import sentences
from hamguard.report.plots import draw_panels
from hamguard.report.room import bounded, first_notes
from hamguard.report.sections_more import (
    across,
    audits,
    cost,
    curve_points,
    differences,
    effect_on_files,
    measures,
    other,
    protection,
)
from hamguard.report.sections_search import attacks, defenses, retrieval, transfer
from hamguard.report.settings import settings, threat_models
from hamguard.report.table import Table

MEANING = {
    FOREIGN: "other weights than those of the same model name elsewhere",
    OLD: "measured by another version of hamguard",
    DISPUTED: "the same question has another answer in another file",
}


DATA = 40  # data sets that are named above the tables


@dataclass(frozen=True)
class RowsReport:
    """Everything on a page of rows.

    Attributes:
        title: heading.
        subject: what was measured, in a line.
        opening: sentences in plain words, a chart and a picture.
        sentences: what came out, each with its figures.
        sections: tables and plots; together the tables hold every row.
        ends: threat models and settings.
        notes: what the rows say a reader must know.
        remarks: what does not fit together.
        signs: signs in the tables with their meaning.
        pictures: those that stand beside the rows.
        bibtex: what is to be cited for the methods in the rows, and hamguard's own.
    """

    title: str
    subject: str
    opening: Opening
    sentences: Sequence[str]
    sections: Sequence[Section]
    ends: Sequence[Section]
    notes: Sequence[str]
    remarks: Sequence[str]
    signs: Sequence[str]
    pictures: Sequence[Picture] = ()
    bibtex: Sequence[str] = ()

    @property
    def further(self) -> list[str]:
        """Sentences that the page does not open with."""
        return [text for text in self.sentences if text not in self.opening.sentences]

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order of the page."""
        return [table for section in (*self.sections, *self.ends) for table in section.tables]


def rows_report(collected: Collected, title: str = "Report") -> RowsReport:
    """Sentences, tables and plots of rows.

    Args:
        collected: rows of `collect` or `collect_rows`.
        title: heading of the page.

    Returns:
        A report in whose tables every row stands at least once.
    """
    entries = collected.entries
    pool = Pool(entries)
    points, spent, judged = curve_points(pool), cost(pool), audits(pool)
    four, files, modal = protection(pool), effect_on_files(pool), across(pool)
    compared, measured, moved = differences(pool), measures(pool), transfer(pool, entries)
    found, defended = retrieval(pool), defenses(pool, entries)
    shown = {number for section in (moved, defended) for table in section.tables for number in table.shown}
    attacked = attacks(pool, shown)
    plots = effort_plots(entries)
    curves = Section("Curves", (), points.tables, [*precision_plots(entries), *plots])
    sections = [
        found,
        attacked,
        defended,
        compared,
        moved,
        four,
        files,
        judged,
        modal,
        measured,
        spent,
        curves,
        other(pool),
    ]
    kept = [section for section in sections if section.tables or section.plots]
    ends = [section for section in (threat_models(entries), settings(collected)) if section.tables]
    notes = list(dict.fromkeys(note for e in entries if e.row.metric != "check" for note in e.row.notes))
    marks = {mark for entry in entries for mark in entry.marks}
    signs = [f"{sign} {mark}: {MEANING[mark]}" for mark, sign in SIGNS.items() if mark in marks]
    bibtex = bibtex_for(used_names(collected.rows))
    return RowsReport(
        title,
        _subject(collected),
        opening(entries, collected.pictures),
        sentences(entries),
        kept,
        ends,
        notes,
        collected.remarks,
        signs,
        collected.pictures,
        bibtex,
    )


def _subject(collected: Collected) -> str:
    rows = collected.rows
    data = list(dict.fromkeys(row.dataset for row in rows if row.dataset))
    models = {(row.dataset, row.model) for row in rows if row.model and row.hashes.get("model")}
    files = len(collected.sources)
    return (
        f"{len(rows):,} measurement{'' if len(rows) == 1 else 's'} from {files:,} file{'' if files == 1 else 's'}; data: "
        f"{some(data, DATA) or 'not named'}; {len(models):,} model{'' if len(models) == 1 else 's'}. hamguard {__version__}."
    )


def write_rows_page(report: RowsReport, path: Path | str) -> None:
    """Write the page; it holds its pictures and asks for nothing from outside itself.

    Of very many rows the largest tables stand with their first lines and the count of the rest (`room.bounded`).

    Args:
        report: what stands on it; text is text, never markup.
        path: HTML file to write.

    Raises:
        RequestError: the file does not end in .html.
        RunError: the file cannot be written.
    """
    check_page_name(path)
    count = len(report.sections)
    parts = bounded([*report.sections, *report.ends])
    notes, left = first_notes(report.notes)
    report = replace(report, sections=parts[:count], ends=parts[count:], notes=notes)
    drawn = {id(plot): _drawn(plot) for section in report.sections for plot in section.plots}
    first = report.opening.picture
    groups = [
        (
            heading,
            [
                (one.caption, picture_uri(one.file))
                for one in report.pictures
                if one.section == key and one is not first
            ],
        )
        for key, heading in SECTIONS.items()
    ]
    shown = {"drawn": drawn, "groups": [g for g in groups if g[1]], "first": first and picture_uri(first.file)}
    render_page("rows.html", path, report=report, left=left, fit=fitted, **shown)


def check_page_name(path: Path | str) -> None:
    """Check the name of a page before the work that fills it.

    Raises:
        RequestError: it does not end in .html.
    """
    from hamguard.core.errors import RequestError

    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"a page is written as .html, got {Path(path).name}")


def _drawn(plot: Plot) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        if plot.maps:
            draw_heat_maps([list(plot.maps)], path)
        else:
            draw_panels(plot.panels, path, below=True)
        return picture_uri(path)
