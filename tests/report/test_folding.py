"""Tables that are wider than a page: which columns stand in front is a rule, and no column and no line is lost."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hamguard.report.collect import collect, collect_rows
from hamguard.report.folding import PAGE, Fitted, _widths, fitted, is_folded
from hamguard.report.page import TEMPLATES, rendered
from hamguard.report.printers import as_csv, as_markdown, as_tex
from hamguard.report.rows_page import rows_report, write_rows_page
from hamguard.report.table import Cell, Table, as_text
from tests.report.rows_helpers import LINF, attacked, row

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*.jsonl"))


def figure(text: str, number: int = 0) -> Cell:
    return Cell(text, "[0.100, 0.300]", ((0.2, 0.1, 0.3),), (number,)) if text else Cell("")


def wide(lines: int = 3, columns: int = 12) -> Table:
    """Models in lines, one data set; the last column has words, every third figure stands in the first line alone."""
    heads = ("model", "data", *(f"attack {n}" for n in range(columns)), "verdict")
    rows = [
        (
            Cell(f"models/{n}"),
            Cell("digits"),
            *(figure("0.200" if n == 0 or k % 3 else "", n) for k in range(columns)),
            Cell("this search can be broken"),
        )
        for n in range(lines)
    ]
    return Table("t", heads, tuple(rows), 2)


def figures_of(table: Table) -> list[list[str]]:
    return [[cell.whole for cell in line] for line in table.rows]


def assert_whole(found: Fitted, table: Table) -> None:
    """Every column stands in a piece, or is the same in every line and said; every table has all lines and fits."""
    for part in (found.main, *found.pieces):
        assert len(part.table.rows) == len(table.rows)
        assert sum(_widths(part.table)) <= PAGE or len(part.table.columns) - part.table.names <= 1
    said = " ".join(found.alike) + "".join(head for one in (found.main, *found.pieces) for head in one.table.columns)
    assert all(head in said for head in table.columns)
    if found.pieces:
        for n, column in enumerate(zip(*table.rows, strict=True)):
            for line, cell in enumerate(column):
                assert any(cell.whole in " · ".join(figures_of(one.table)[line]) for one in found.pieces), (n, cell)


def test_a_table_that_fits_stays_as_it_is() -> None:
    table = Table.of("t", ("model", "MAP"), [("a", "0.5"), ("b", "0.6")])
    found = fitted(table)
    assert found.main.table is table and found.pieces == () and found.alike == () and not is_folded(table)
    assert found.main.kind == "small"


def test_the_fullest_columns_that_fit_stand_in_front_in_their_order() -> None:
    table = wide()
    found = fitted(table)
    assert is_folded(table) and found.columns == 15
    heads = list(found.main.table.columns)
    assert heads[0] == "model" and "data" not in heads and found.alike == ("data digits",)
    full = [f"attack {n}" for n in range(12) if n % 3]
    assert heads[1:] == full[: len(heads) - 1], "not one that most lines lack, no words before figures"
    assert len(heads) > 4
    assert_whole(found, table)
    assert all(piece.table.columns[0] == "model" for piece in found.pieces) and len(found.pieces) > 1


def test_names_that_take_too_much_stand_below_each_other() -> None:
    names = ("model", "data", "defense", "attack", "budget", "task")
    rows = [(*(Cell(f"{name} {'x' * 18} {n}") for name in names), figure("0.2", n)) for n in range(2)]
    found = fitted(Table("t", (*names, "MAP"), tuple(rows), len(names)))
    assert found.main.table.columns == (", ".join(names), "MAP") and found.main.table.names == 1
    first = found.main.table.rows[0][0]
    assert first.text == rows[0][0].text and first.span == " · ".join(cell.text for cell in rows[0][1:6])
    assert_whole(found, Table("t", (*names, "MAP"), tuple(rows), len(names)))


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_tables_of_our_results_fit_and_are_whole(path: Path) -> None:
    for table in rows_report(collect([path])).tables:
        few = replace(table, rows=table.rows[:40], strong=None)
        assert_whole(fitted(few), few)


def test_a_folded_table_is_a_main_table_and_details_with_all_columns(tmp_path: Path) -> None:
    threats = [{**LINF, "eps": n / 255} for n in range(1, 12)]
    hard = {"model": "models/b", "defense": {"method": "saat"}, "hashes": {"model": "h2"}}
    rows = [row(0.8), row(0.7, **hard)]
    rows += [
        attacked(n / 100 + k / 10, threat=threat, **more)
        for n, threat in enumerate(threats)
        for k, more in enumerate(({}, hard))
    ]
    report = rows_report(collect_rows(rows))
    (table,) = (one for one in report.tables if one.title == "Defenses on digits")
    assert is_folded(table)
    printed = [printer(table) for printer in (as_text, as_csv, as_tex, as_markdown)]
    write_rows_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    start = page.index("<h3>Defenses on digits</h3>")
    main, details = page[start:].split('<details class="columns">', 1)
    details = details[: details.index("</details>")]
    assert f"<summary>All {len(table.columns)} columns</summary>" in details
    heads = re.findall(r"<th [^>]*>(.*?)</th>", details)
    assert set(table.columns) == set(heads) and len(re.findall(r"<th ", main)) < len(table.columns)
    for cell in (cell for line in table.rows for cell in line if cell.text):
        assert cell.text in details
    assert [printer(table) for printer in (as_text, as_csv, as_tex, as_markdown)] == printed
    assert "details" not in rendered("alone.html", table=table), "a notebook scrolls; its table stays one"


def test_names_of_columns_in_the_style_are_text(tmp_path: Path) -> None:
    hostile = '";}</style><script>x</script>{a:url(http://b)'
    found = fitted(Table.of("t", (hostile, "é 1/2"), [("a", "b")]))
    assert not set('<>{}()";:/') & set(re.sub(r'--h\d:"|";', "", found.main.heads)) and "é 1\\2f 2" in found.main.heads
    page = rendered("rows.css") + rendered("style.css")
    assert "var(--h16)" in page


def luminance(color: str) -> float:
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    return sum(
        w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


def test_text_stands_out_from_its_ground_in_light_and_dark() -> None:
    """WCAG AA: 4.5 to 1 for text."""
    style = (TEMPLATES / "style.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    for colors in (light, dark):
        for ink in ("ink", "soft", "good", "bad"):
            for ground in ("ground", "sheet", "tint"):
                one, other = sorted((luminance(colors[ink]), luminance(colors[ground])))
                assert (other + 0.05) / (one + 0.05) >= 4.5, (ink, ground)
