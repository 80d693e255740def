"""The page of any rows: every row stands on it, every figure is that of a row, and it asks for nothing from outside."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.report.collect import Collected, collect, collect_rows
from hamguard.report.curve_plots import effort_plots, precision_plots
from hamguard.report.export import export_tables
from hamguard.report.pictures import Picture
from hamguard.report.printers import as_csv, as_tex, escape
from hamguard.report.rows_page import RowsReport, rows_report, write_rows_page
from hamguard.report.table import Cell, Table
from hamguard.report.wording import number, scaled
from tests.report.rows_helpers import LINF, attacked, row, study
from tests.report.test_effect_page import read

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*.jsonl"))
HOSTILE = 'a<script src="https://example.org/x.js">_%&#$^~{}\\|"</td>'


def every_row_is_shown(collected: Collected, report: RowsReport) -> None:
    """Each row stands in a cell, and the figure of that cell is the row's."""
    left = {entry.number: entry.row for entry in collected.entries}
    for table in report.tables:
        for cell in (cell for line in table.rows for cell in line):
            assert len(cell.shown) == len(cell.figures)
            for one, figures in zip(cell.shown, cell.figures, strict=True):
                entry = collected.entries[one].row
                assert figures == (scaled(entry) or (None, None, None))
                text = "no value" if entry.value is None else number(figures[0] or 0.0, entry.metric)
                assert text in cell.text
                left.pop(one, None)
    assert not left


@pytest.mark.parametrize("path", [*RESULTS, None], ids=lambda p: p.stem if p else "all together")
def test_every_row_of_our_results_is_shown(path: Path | None) -> None:
    if not RESULTS:
        pytest.skip("no results here")
    collected = collect([path] if path else RESULTS)
    report = rows_report(collected)
    every_row_is_shown(collected, report)
    assert len(report.sentences) <= 11
    said = re.findall(r"\d\.\d{3}", " ".join(report.sentences))
    values = {f"{x:.3f}" for r in collected.rows if r.value is not None for x in (r.value, *(r.ci95 or ()))}
    assert set(said) <= values, "every figure of a sentence is that of a row"


def test_every_row_of_a_study_is_shown_where_it_belongs() -> None:
    collected = collect_rows(study())
    report = rows_report(collected)
    every_row_is_shown(collected, report)
    titles = [section.title for section in report.sections]
    assert titles == ["Retrieval of clean models", "Attacks", "Defenses", "Training cost", "Other measurements"]
    tables = {table.title: table for table in report.tables}
    line = [cell.whole for cell in tables["Attacks on models/a on digits, away: MAP under the true labels"].rows[0]]
    assert line[:3] == ["mainstay", "Linf 8/255, 10 steps", "100"]
    assert line[3:7] == ["0.210 [0.190, 0.230]", "0.793 [0.773, 0.813]", "0.051 [0.031, 0.071]", "0.792 [0.772, 0.812]"]
    assert [cell.text for cell in tables["Other measurements"].rows[0]][-1] == "0.432"
    plain, defended = tables["Defenses on digits"].rows
    assert (plain[0].text, plain[-1].text) == ("models/a", "0.210") and (defended[0].text, defended[-1].text) == (
        "models/b",
        "0.550",
    )
    retrieval, away, gain = report.sentences
    assert retrieval.startswith(
        "digits: asked with unchanged pictures, models/a scores MAP 0.812, where 1 is a perfect list"
    )
    assert (
        "mainstay, which changes no pixel by more than 8/255, lowers that to 0.210; random noise of the same size leaves 0.793"
        in away
    )
    assert "scores 0.550, models/a without defense 0.210; on unchanged pictures 0.701 in place of 0.812" in gain
    assert tuple(report.sentences) == report.opening.sentences and report.further == []


def test_differences_have_a_table_of_their_own() -> None:
    def gap(value: float, low: float, high: float, versus: str, **more: Any) -> Row:
        facts = {"method": "mainstay", "preset": "default", "toward": False, "guide": "mainstay", "versus": versus}
        return replace(row(value, metric="map-difference", attack=facts, threat=LINF, **more), ci95=(low, high))

    hard = {"model": "models/b", "defense": {"method": "saat"}, "hashes": {"model": "h2", "split": "s1"}}
    rows = [
        row(0.8), attacked(0.2), gap(-0.1, -0.2, -0.05, "hag"), gap(-0.1, -0.3, 0.1, "hag"), gap(0.3, 0.2, 0.4, "models/a", **hard),
        row(0.25, metric="precision-difference", at=10, attack={"method": "pgd", "versus": "hag"}, threat=LINF),
    ]  # fmt: skip
    collected = collect_rows(rows)
    report = rows_report(collected)
    every_row_is_shown(collected, report)
    (section,) = [section for section in report.sections if section.title == "Differences"]
    (table,) = section.tables
    assert table.columns == (
        "model", "attack", "budget", "against", "queries", "MAP difference", "precision@10 difference", "interval leaves out 0",
    )  # fmt: skip
    lines = [[cell.whole for cell in line] for line in table.rows]
    assert lines == [
        ["models/a", "mainstay", "Linf 8/255, 10 steps", "hag", "100", "-0.100 [-0.200, -0.050]", "", "yes"],
        ["models/a", "mainstay (2)", "Linf 8/255, 10 steps", "hag", "100", "-0.100 [-0.300, 0.100]", "", "no"],
        ["models/b", "mainstay", "Linf 8/255, 10 steps", "models/a", "100", "0.300 [0.200, 0.400]", "", "yes"],
        ["models/a", "pgd", "Linf 8/255, 10 steps", "hag", "100", "", "0.250 [0.230, 0.270]", "yes"],
    ]
    assert "Other measurements" not in [section.title for section in report.sections]


def test_rows_of_any_kind_are_shown() -> None:
    odd = [
        Row(),
        row(None),
        row(0.5, model=None, dataset=None, task=None, n=None),
        row(1e-9, metric=None),
        row(2.0, task="C->C", attack={"method": "ppl"}),
        row(2.0, task="image->text", metric="odd"),
        attacked(0.3, attack={}, threat={}),
        attacked(
            0.3,
            attack={"made_on": "models/z", "guide": ["x"], "intra": "y", "asked": {"a": 1}},
            threat={"eps": "big", "steps": "many"},
        ),
        attacked(0.3, metric="check", attack={"passed": "perhaps", "check": 3}),
        row(0.3, metric="left top", task="a->original", at=10, attack={"method": "protect", "view": 7}),
        row(0.5, metric="spearman-drop[x]", attack={"method": "pgd"}, threat={"norm": None, "eps": True}),
    ]
    collected = collect_rows(odd)
    every_row_is_shown(collected, rows_report(collected))


def test_the_page_is_whole_and_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "sheet.png")
    rows = [replace(r, model=HOSTILE, notes=(HOSTILE,)) if r.model == "models/a" else r for r in study()]
    rows += [attacked(0.2 + i / 50, model=HOSTILE, threat={**LINF, "steps": 5 * i + 20}) for i in range(3)]
    rows += [row(0.7, n=50, version="0.0.9")]
    collected = collect_rows(rows, source=HOSTILE, pictures=[Picture(tmp_path / "sheet.png", HOSTILE, "sheets")])
    report = rows_report(collected, HOSTILE)
    write_rows_page(report, tmp_path / "report.html")
    text, seen = read(tmp_path / "report.html")
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "iframe", "object", "embed", "base", "form", "svg"}
    for tag, attributes in seen.tags:
        for key, value in attributes.items():
            if key in ("src", "href", "srcset", "action", "data", "poster", "background"):
                wanted = "data:image/png;base64," if tag == "img" else "#"
                assert (value or "").startswith(wanted)
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in style and "@import" not in style and "http" not in style
    assert "prefers-color-scheme: dark" in style and "@media print" in style and "max-width: 34rem" in style
    assert sum(tag == "img" for tag, _ in seen.tags) == 2, "the curve over steps and the sheet, which opens the page"
    assert seen.text.count(HOSTILE) > 6
    for sentence in (*report.opening.sentences, *report.sentences, *report.remarks, *report.signs):
        assert sentence in seen.text
    for table in report.tables:
        assert table.title in seen.text
    order = [
        "Retrieval of clean models",
        "Attacks",
        "Curves",
        "Threat models",
        "Settings",
        "Remarks",
    ]
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert [heads.index(one) for one in order] == sorted(heads.index(one) for one in order)
    assert "0.700‡" in seen.text


def test_marks_stand_in_the_tables() -> None:
    rows = [row(0.8), row(0.7, n=50), row(0.3, n=60, hashes={"model": "h9"}), row(0.6, n=70, version="0.0.9")]
    report = rows_report(collect_rows(rows))
    assert [line[3].text for line in report.tables[0].rows] == ["0.800", "0.700", "0.300†", "0.600‡"]
    assert [sign[:1] for sign in report.signs] == ["†", "‡"]


def test_a_page_is_html() -> None:
    with pytest.raises(RequestError, match=r"a page is written as \.html, got report\.pdf"):
        write_rows_page(rows_report(collect_rows(study())), "report.pdf")


def test_audits_files_and_protection_have_sentences() -> None:
    worst = {"method": "audit", "labels": "aware"}
    note = "This search can be broken: MAP falls."
    rows = [row(0.8), attacked(0.1, attack=worst, notes=(note,))]
    rows += [
        attacked(0.0, metric="check", task="audit", attack={"method": "self-check", "check": c, "passed": c == "a"})
        for c in "ab"
    ]
    for task, value in (("C->C", 0.9), ("C->A", 0.2), ("A->C", 0.3), ("A->A", 0.4)):
        rows.append(row(value, task=task, train="C", attack={"method": "ppl"}, threat={"norm": "linf", "eps": 0.1}))
    for value, model in ((0.6, "models/x"), (0.5, "models/y")):
        protect = {"method": "protect", "view": None}
        rows.append(row(value, metric="left top", at=10, task="protected->original", model=model, attack=protect))
    said = rows_report(collect_rows(rows)).sentences
    assert "leaves models/a a score of 0.100 in place of 0.800" in said[1]
    assert said[1].endswith("its verdict: this search can be broken.")
    assert said[-1].endswith(
        "1 of 2 checks failed, which ask whether attacks are as strong as they can be: b (models/a)."
    )
    assert "finds unchanged ones with MAP 0.900" in said[2] and "it finds with 0.200" in said[3]
    assert (
        "models/x, the search that is hit most of 2, misses the original among its first 10 answers for 60.0% of 100"
        in said[4]
    )
    assert "models/y, the search that is hit least of 2," in said[5] and "for 50.0%" in said[5]


def test_curves_join_rows_that_differ_in_one_thing() -> None:
    rows = [attacked(0.5 - i / 10, threat={**LINF, "eps": (i + 1) / 255}) for i in range(3)]
    rows += [
        attacked(0.6, threat={**LINF, "eps": 1 / 255}, seed=1),
        attacked(0.4, method="noise", attack={"method": "noise"}),
    ]
    (plot,) = effort_plots(collect_rows(rows).entries)
    (panel,) = plot.panels
    (stroke,) = panel.strokes
    assert panel.across == "eps, of 255"
    assert stroke.x.tolist() == pytest.approx([1, 2, 3]) and stroke.y.tolist() == pytest.approx([0.5, 0.4, 0.3])


def test_precision_curves_are_drawn_and_their_points_kept() -> None:
    rows = [row(1 - at / 200, metric="curve-precision", at=at) for at in (1, 10, 100)]
    rows += [row(1 - at / 200, metric="curve-precision-at-recall", at=at) for at in (0, 50, 100)]
    rows += [attacked(0.1, metric="curve-precision", at=at, task="query->database") for at in (1, 10, 100)]
    collected = collect_rows(rows)
    (plot,) = precision_plots(collected.entries)
    recall, first = plot.panels
    assert recall.strokes[0].x.tolist() == [0, 0.5, 1] and recall.right == 1.0
    assert [s.label for s in first.strokes] == ["clean", "mainstay, Linf 8/255, 10 steps"]
    report = rows_report(collected)
    every_row_is_shown(collected, report)
    points = [table for section in report.sections if section.title == "Curves" for table in section.tables]
    assert len(points) == 2 and all(table.folded for table in points)


def test_transfer_is_a_matrix() -> None:
    names = ("models/a", "models/b")
    rows = []
    for place, scored in enumerate(names):
        for other, source in enumerate(names):
            facts = {"method": "hag", "made_on": [source]}
            rows.append(attacked(0.1 + 0.1 * place + 0.3 * other, model=scored, attack=facts, hashes={"model": scored}))
    report = rows_report(collect_rows(rows))
    (section,) = (section for section in report.sections if section.title == "Transfer")
    assert [[cell.text for cell in line] for line in section.tables[0].rows] == [
        ["models/a", "0.100", "0.200"],
        ["models/b", "0.400", "0.500"],
    ]
    assert section.plots[0].maps[0].values.tolist() == [pytest.approx([0.1, 0.2]), pytest.approx([0.4, 0.5])]


def test_tables_as_files_hold_the_figures(tmp_path: Path) -> None:
    collected = collect_rows(study())
    report = rows_report(collected)
    index, *files = export_tables(report, tmp_path / "tables")
    lines = list(csv.DictReader(io.StringIO(index.read_text())))
    assert [line["title"] for line in lines] == [table.title for table in report.tables]
    assert len(files) == 2 * len(lines) and all(len(file.name) < 50 for file in files)
    found = {line["title"]: tmp_path / "tables" / line["name"] for line in lines}
    place = found["Attacks on models/a on digits, away: MAP under the true labels"]
    (one,) = csv.DictReader(io.StringIO(place.with_suffix(".csv").read_text()))
    assert float(one["MAP"]) == 0.2101 and float(one["MAP low"]) == pytest.approx(0.1901)
    assert float(one["bits moved"]) == 9.04 and float(one["Linf/255"]) == pytest.approx(8)
    for table, line in zip(report.tables, lines, strict=True):
        tex = (tmp_path / "tables" / f"{line['name']}.tex").read_text()
        cells = [text.removesuffix(r" \\").split(" & ") for text in tex.splitlines() if text.endswith(r"\\")]
        assert cells == [[escape(x) for x in table.columns]] + [[escape(c.whole) for c in one] for one in table.rows]
        assert all(len(one) == len(table.columns) for one in cells)
        assert tex.count(r"\toprule") == tex.count(r"\midrule") == tex.count(r"\bottomrule") == 1


def test_several_figures_of_a_cell_and_none_are_kept_as_csv() -> None:
    line = (Cell("a,b\n"), Cell("0.1 / no value", "", ((0.1, None, None), (None, None, None)), (0, 1)), Cell(""))
    text = as_csv(Table("t", ("name", "x", "y"), (line,)))
    assert list(csv.reader(io.StringIO(text))) == [["name", "x", "y"], ["a,b\n", "0.1 / ", ""]]


def test_latex_takes_any_name() -> None:
    wild = "".join(map(chr, range(0x20, 0x7F))) + "†≠→\n日"
    text = escape(wild)
    rest = re.sub(r"\\text[a-z]+\{\}|\\d?dag\{\}|\$\\[a-z]+\$|\\[{}_%&#$]|\{\[\}|\{\]\}", "", text)
    assert not set(rest) & set('\\{}_%&#$~^<>|"[]†≠→\n日'), rest
    tex = as_tex(Table(wild, (wild,), ((Cell(wild),),)))
    assert all(len(re.findall(r"(?<!\\)&", one)) == 0 for one in tex.splitlines() if one.endswith(r"\\"))
    assert tex.splitlines()[1].startswith("% ") and len(tex.splitlines()) == 9


def test_tables_are_not_written_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("")
    with pytest.raises(RequestError, match="is a file"):
        export_tables(rows_report(collect_rows(study())), tmp_path / "tables")


def test_a_report_needs_no_torch() -> None:
    code = "import hamguard.report.rows_page, hamguard.report.export, sys; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
