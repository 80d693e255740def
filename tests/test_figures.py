"""Figures in README.md and docs/*.md are those of the recorded rows, and no measured figure stands there without a row."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, write_rows

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_figures  # noqa: E402
from figure_query import Query  # noqa: E402

pytestmark = pytest.mark.xdist_group("figures")  # rows are read once
EXCEPTIONS = 45  # settings, thresholds and figures that no run recorded, in docs/figures.toml; this number may only become smaller


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with one page, one table, one sentence and two rows."""
    root = tmp_path / "small"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "figures.toml").write_text(
        """
        [[table]]
        name = "runs"
        page = "README.md"
        rows = "runs metric=map"
        head = "model"
        columns = [["clean", "attack=none"], ["HAG", "attack=hag"]]
        lines = [["first", "model=first"]]
        [[sentence]]
        page = "README.md"
        text = "falls to {:.0%} of it"
        values = [["over", "runs attack=hag", "runs attack=none"]]
        [[exception]]
        page = "README.md"
        text = "within 0.1"
        why = "a setting"
        """,
        encoding="utf-8",
    )
    write_runs(root, 0.25)
    page = root / "README.md"
    page.write_text(
        "<!-- figures: runs -->\nold\n<!-- end of figures -->\n\nIt falls to\n1% of it within 0.1.\n", "utf-8"
    )
    page.write_text(build_figures.rewritten("README.md", page.read_text("utf-8"), root), "utf-8")
    return root


def write_runs(root: Path, attacked: float) -> None:
    clean = Row(model="first", metric="map", value=0.5)
    write_rows(
        root / "results" / "runs.jsonl",
        [clean, Row(model="first", metric="map", value=attacked, attack={"method": "hag"}, threat={"eps": 8 / 255})],
    )


def test_every_figure_is_that_of_a_row() -> None:
    assert build_figures.faults() == [], "run: uv run python tools/build_figures.py, and read its difference"


def test_a_small_page_is_made_of_its_rows(small: Path) -> None:
    text = (small / "README.md").read_text(encoding="utf-8")
    assert "| first | 0.500 | 0.250 |" in text
    assert "falls to\n50% of it" in text
    assert build_figures.faults(small) == []


def test_a_changed_row_is_found(small: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    write_runs(other, 0.2)
    said = "\n".join(build_figures.faults(other))
    assert "says '| first | 0.500 | 0.250 |', rows say '| first | 0.500 | 0.200 |'" in said
    assert "says '50% of it within 0.1.', rows say '40% of it within 0.1.'" in said


@pytest.mark.parametrize("page", ["README.md", "docs/audit.md", "docs/hardening.md", "docs/privacy.md"])
def test_a_changed_figure_of_a_page_is_found(page: str) -> None:
    """Each page loses one figure of its first table, in a copy."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = build_figures.BLOCK.search(text)
    assert table
    figure = re.search(r"0\.\d{3}", table[0])
    assert figure
    at = table.start() + figure.start()
    changed = text[:at] + "0.999" + text[at + 5 :]
    assert list(build_figures.page_faults(page, text)) == []
    assert any("0.999" in fault and figure[0] in fault for fault in build_figures.page_faults(page, changed))


def test_a_changed_figure_of_a_sentence_is_found() -> None:
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    changed = text.replace("0.748, 0.673", "0.748, 0.663")
    assert changed != text
    assert any("0.663" in fault for fault in build_figures.page_faults("docs/audit.md", changed))


def test_a_figure_without_a_row_is_listed(small: Path) -> None:
    text = (small / "README.md").read_text(
        encoding="utf-8"
    ) + "\nOurs reaches 0.812, which is 75%, in `0.3` and 1/255 of 1.2.3 tries.\n"
    found = list(build_figures.page_faults("README.md", text, small))
    assert [re.search(r"has (\S+),", fault)[1] for fault in found] == ["0.812", "75%"]


def test_a_marker_that_names_nothing_is_an_error(small: Path) -> None:
    text = (small / "README.md").read_text(encoding="utf-8")
    said = list(build_figures.page_faults("README.md", text.replace("figures: runs", "figures: walks"), small))
    assert len(said) == 1
    assert "the marker 'walks' names no table" in said[0]
    open_end = text + "<!-- figures: runs -->\n"
    assert any("no end" in fault for fault in build_figures.page_faults("README.md", open_end, small))
    bare = "It falls to 50% of it within 0.1."
    assert list(build_figures.page_faults("README.md", bare, small)) == ["README.md: has no marker for the table runs"]


def test_a_table_or_sentence_that_names_no_row_is_an_error(small: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    write_rows(other / "results" / "runs.jsonl", [Row(model="first", metric="map", value=0.5)])
    with pytest.raises(RequestError, match="no row fits table runs, line 'first', column 'HAG'"):
        build_figures.block("runs", other)
    with pytest.raises(RequestError, match="no row fits"):
        build_figures.sentence_figures(build_figures.listed(other)["sentence"][0], other)


def test_exceptions_have_a_reason_and_only_become_fewer(small: Path) -> None:
    found = build_figures.listed()["exception"]
    assert all(len(spec["why"]) > 5 for spec in found)
    assert len(found) <= EXCEPTIONS
    text = (small / "README.md").read_text(encoding="utf-8").replace("within 0.1", "soon")
    assert any("take the exception out" in fault for fault in build_figures.page_faults("README.md", text, small))


@pytest.mark.parametrize(
    ("query", "figure"),
    [
        ("runs attack=none", 0.5),
        ("runs attack~h*|w* eps=8/255", 0.25),
        ("runs model=first | mean", 0.375),
        ("runs | spread", 0.25),
        ("runs | count", 2),
        ("runs attack=hag | x100", 25),
        ("runs attack=hag | x255 eps", 8),
        ("runs model=second", None),
    ],
)
def test_a_query_takes_what_it_says(small: Path, query: str, figure: float | None) -> None:
    assert Query.parse(query).ask(small) == (None if figure is None else pytest.approx(figure))


def test_a_query_says_what_is_wrong(small: Path) -> None:
    with pytest.raises(RequestError, match="names 2 rows that differ: 0.5, 0.25"):
        Query.parse("runs model=first").ask(small)
    with pytest.raises(RequestError, match="'clean' in 'runs clean' is no condition"):
        Query.parse("runs clean")
    with pytest.raises(RequestError, match="no recorded run at"):
        Query.parse("walks.md a=1").ask(small)
    with pytest.raises(RequestError, match="no rows at"):
        Query.parse("walks a=1").ask(small)
