"""Very many rows: the page stays small and says what it leaves out, the tables keep everything, the work is linear."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from hamguard.core.rows import Row, write_rows
from hamguard.report import (
    attack_lines,
    cells,
    collect,
    findings,
    floors,
    plain_words,
    room,
    rows_page,
    sections_search,
)
from hamguard.report.cells import WIDE, Draft, Plot, Section
from hamguard.report.collect import Entry, collect_rows
from hamguard.report.export import export_tables
from hamguard.report.printers import as_csv
from hamguard.report.rows_page import rows_report, write_rows_page
from hamguard.report.table import Cell, Table
from tests.report.rows_helpers import LINF, attacked, row, study
from tests.report.test_rows_page import every_row_is_shown


def table(lines: int, title: str = "t") -> Table:
    return Table(title, ("name", "x"), tuple((Cell(f"line {n}"), Cell("0.5")) for n in range(lines)))


def many(count: int) -> list[Row]:
    """Attacks that all differ, a few models, noise, and defenses."""
    found = list(study())
    for n in range(count):
        threat = {**LINF, "eps": 0.001 + n / 1e5}
        model = {"model": f"models/{n % 5}", "hashes": {"model": f"h{n % 5}"}}
        found += [row(0.5 + n / 1e4, seed=n, **model), attacked(0.2, seed=n, threat=threat, **model)]
        found += [attacked(0.3, seed=n, threat=threat, defense={"method": "saat", "n": n % 7}, **model)]
        found += [row(0.1, metric="random_map", model="random codes", hashes={}, seed=n)]
    return found


def test_the_largest_tables_fold_and_small_ones_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [Section("one", (), [table(5), table(400)]), Section("two", (), [table(300), table(7)])]
    assert all(one.more == 0 for section in room.bounded(sections) for one in section.tables)
    monkeypatch.setattr(room, "ROOM", 10_000)
    (small, long), (other, least) = (section.tables for section in room.bounded(sections))
    assert (small.more, least.more, len(small.rows), len(least.rows)) == (0, 0, 5, 7)
    assert (len(long.rows) + long.more, len(other.rows) + other.more) == (400, 300)
    assert 40 < len(long.rows) <= len(other.rows) + 1 < 60 and long.rows == table(400).rows[: len(long.rows)]


def test_a_page_has_room_for_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ROOM", 20_000)
    report = rows_report(collect_rows(many(200)))
    write_rows_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    main = re.sub(r'<details class="columns">.*?</details>', "", page, flags=re.DOTALL)
    shown = sum(text.count("<tr>") - 1 for text in re.findall(r"<table.*?</table>", main, re.DOTALL))
    left = sum(int(n.replace(",", "")) for n in re.findall(r"and ([\d,]+) more lines?; <code>", page))
    assert left > 300 and shown + left == sum(len(one.rows) for one in report.tables)
    assert sum(map(len, tables)) < 20_000 + 1_000 * len(tables)
    every_row_is_shown(collect_rows(many(200)), report)
    files = export_tables(report, tmp_path / "tables")
    whole = sum(len(list(csv.reader(io.StringIO(file.read_text())))) - 1 for file in files[1:] if file.suffix == ".csv")
    assert whole == shown + left


def test_tables_plots_notes_and_figures_beyond_the_room_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "TABLES", 6)
    monkeypatch.setattr(room, "PLOTS", 2)
    monkeypatch.setattr(room, "NOTES", 30)
    one, two = room.bounded(
        [
            Section("one", ("words",), [table(1)] * 9, [Plot("a")]),
            Section("two", (), [table(1)] * 2, [Plot("b"), Plot("c")]),
        ]
    )
    assert (len(one.tables), one.more, len(two.tables), two.more) == (4, 5, 2, 0)
    assert one.words == ["words"] and two.words == [
        "1 more pictures are not drawn; the tables hold all of their figures."
    ]
    report = rows_report(
        collect_rows([row(n / 100, notes=(f"note number {n:02d}",), ci95=None, seed=n) for n in range(50)])
    )
    write_rows_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "note number 01" in page and "note number 02" not in page and "<li>and 48 more</li>" in page
    assert '<span class="tag">50 notes</span>' in page
    assert "<div>0.110</div><div>and 38 more</div></td>" in page and "0.120</div>" not in page
    (whole,) = (one for one in report.tables if one.title == "Retrieval on digits")
    assert "0.49" in as_csv(whole)


def test_a_table_that_would_be_mostly_empty_stands_as_a_list() -> None:
    draft = Draft("t", ("model",))
    for n in range(WIDE + 1):
        draft.put((f"m{n % 2}",), n, Entry(n, row(n / 100)), f"attack {n}")
    draft.say(("m0",), 3, "a word")
    made = draft.table()
    assert made is not None and made.columns == ("model", "column", "figure") and made.names == 2 and made.folded
    assert len(made.rows) == WIDE + 2 and made.shown == set(range(WIDE + 1))
    assert [cell.text for cell in made.rows[1]] == ["m0", "attack 2", "0.020"]
    assert ["m0", "attack 3", "a word"] in [[cell.text for cell in line] for line in made.rows]


def test_remarks_of_a_kind_are_said_up_to_a_number(tmp_path: Path) -> None:
    models = [
        row(0.5, model=f"m{n}", hashes={"model": f"{kind}{n}"}, bits=k)
        for n in range(60)
        for k, kind in enumerate("aab")
    ]
    old = [row(0.5, n=n, version=f"0.0.{n}") for n in range(60)]
    write_rows(tmp_path / "a.jsonl", [*models, *old, *(row(v / 1000, seed=7) for v in range(30))])
    write_rows(tmp_path / "b.jsonl", [row(0.9, seed=7)])
    found = collect.collect([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]).remarks
    assert "foreign: and 20 more models with rows of other weights; the tables mark all" in found
    assert "other version: and 20 more versions and files; the tables mark all" in found
    assert len(found) == 83
    assert found[-1].startswith("disputed: ") and found[-1].endswith(" and 23 more; all are shown")


def test_the_work_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the rows are compared, named and put into cells twice as often at most."""
    count: dict[str, int] = {}

    def counted(name: str, function: Any) -> Any:
        def call(*words: Any, **more: Any) -> Any:
            count[name] = count.get(name, 0) + 1
            return function(*words, **more)

        return call

    for module in (collect, attack_lines, findings, floors, sections_search):
        monkeypatch.setattr(module, "brief", counted("brief", collect.brief))
    monkeypatch.setattr(Row, "__eq__", counted("eq", Row.__eq__))
    monkeypatch.setattr(Draft, "put", counted("put", Draft.put))
    for module in (sections_search, findings, plain_words, rows_page):
        for name in ("attack_words", "model_key", "name_of"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    found = []
    for rows in (100, 200):
        count.clear()
        rows_report(collect_rows(many(rows)))
        found.append(dict(count))
    assert found[1]["brief"] > 1000 and "eq" not in found[1]
    assert all(found[1][name] <= 2 * found[0][name] for name in found[1]), found


def test_what_stands_beside_many_attacks_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = [row(0.5, seed=n) for n in range(30)]
    made = [attacked(0.3, attack={"method": "hag", "made_on": ["x"], "number": n}) for n in range(40)]
    sizes: list[int] = []
    real = cells.figures_cell
    monkeypatch.setattr(cells, "figures_cell", lambda entries: (sizes.append(len(entries)), real(entries))[1])
    report = rows_report(collect_rows([*clean, *made]))
    beside = [table for table in report.tables if table.title.startswith("Transfer")]
    assert len(beside) == 40 and all(len(table.rows[0][1].shown) == 30 for table in beside)
    assert sorted(sizes)[-3:] == [1, 30, 30], "once for the clean table, once for all tables of transfer"
