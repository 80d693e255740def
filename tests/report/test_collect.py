"""Rows of several files: equal ones once, and nothing that does not fit together stays silent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hamguard import __version__
from hamguard.core.errors import RequestError
from hamguard.core.rows import write_rows
from hamguard.report.collect import DISPUTED, FOREIGN, OLD, collect, collect_rows
from hamguard.report.pictures import Picture, read_pictures, write_pictures
from tests.report.rows_helpers import attacked, row, study

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


def test_the_same_cell_of_two_machines_stands_once(tmp_path: Path) -> None:
    write_rows(tmp_path / "one" / "rows.jsonl", [replace(r, seconds=1.0) for r in study()])
    write_rows(tmp_path / "two.jsonl", [replace(r, seconds=2.5) for r in study()] + [attacked(0.5, method="hag")])
    found = collect([tmp_path / "one", tmp_path / "two.jsonl"])
    assert found.duplicates == len(study())
    assert [e.row for e in found.entries[:-1]] == [replace(r, seconds=1.0) for r in study()]
    assert len(found.entries[0].sources) == 2 and len(found.entries[-1].sources) == 1
    assert [count for _, count in found.sources] == [len(study()), len(study()) + 1]
    assert any("14 rows stand more than once" in remark for remark in found.remarks)
    assert not any(e.marks for e in found.entries)


def test_the_same_question_with_two_answers_is_said(tmp_path: Path) -> None:
    write_rows(tmp_path / "one.jsonl", [row(0.8), attacked(0.2)])
    write_rows(tmp_path / "two.jsonl", [row(0.8), attacked(0.3)])
    found = collect([tmp_path / "one.jsonl", tmp_path / "two.jsonl"])
    assert [e.row.value for e in found.entries if DISPUTED in e.marks] == [0.2, 0.3]
    said = next(remark for remark in found.remarks if remark.startswith("disputed"))
    assert "0.2 (" in said and "0.3 (" in said and "one.jsonl" in said and "two.jsonl" in said


def test_other_questions_are_no_dispute(tmp_path: Path) -> None:
    write_rows(tmp_path / "one.jsonl", [row(0.8), attacked(0.2)])
    write_rows(tmp_path / "two.jsonl", [row(0.7, n=50), row(0.9, seed=1), attacked(0.3, method="hag")])
    assert collect([tmp_path / "one.jsonl", tmp_path / "two.jsonl"]).remarks == ()


def test_other_weights_of_one_name_are_foreign() -> None:
    rows = [row(0.8), row(0.7, n=50), row(0.3, n=60, hashes={"model": "h9"})]
    found = collect_rows(rows)
    assert [e.marks for e in found.entries] == [(), (), (FOREIGN,)]
    assert "models/a" in found.remarks[0] and "h9" in found.remarks[0] and "h1" in found.remarks[0]
    elsewhere = [row(0.8), row(0.7, dataset="scenes", hashes={"model": "h9"})]
    assert collect_rows(elsewhere).remarks == ()


@pytest.mark.parametrize("beside", [True, False])
def test_a_card_says_which_weights_are_at_home(tmp_path: Path, beside: bool) -> None:
    base = tmp_path / "rows" if beside else tmp_path / "work"
    (base / "models" / "a").mkdir(parents=True)
    (base / "models" / "a" / "card.json").write_text(json.dumps({"weights_hash": "h9"}))
    write_rows(tmp_path / "rows" / "rows.jsonl", [row(0.8), row(0.7, n=50), row(0.3, n=60, hashes={"model": "h9"})])
    found = collect([tmp_path / "rows"], models=[tmp_path / "work"])
    assert [e.marks for e in found.entries] == [(FOREIGN,), (FOREIGN,), ()]
    assert "its card says h9" in found.remarks[0]
    assert collect([tmp_path / "rows"], models=[]).entries[2].marks == (() if beside else (FOREIGN,))


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "package.module:factory", "../a"])
def test_a_model_of_any_name_is_no_fault(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / "rows.jsonl", [row(0.8, model=name)])
    assert collect([tmp_path]).entries[0].row.model == name


def test_other_versions_are_said() -> None:
    found = collect_rows([row(0.8), row(0.7, n=50, version="0.0.9")], source="rows of mine")
    assert [e.marks for e in found.entries] == [(), (OLD,)]
    assert found.remarks == (f"other version: 1 row is of hamguard 0.0.9, this is {__version__} (rows of mine)",)


def test_what_is_no_rows_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="at least one rows file"):
        collect([])
    with pytest.raises(RequestError, match="no rows at"):
        collect([tmp_path])
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(RequestError, match=r"empty\.jsonl holds no row"):
        collect([tmp_path / "empty.jsonl"])
    with pytest.raises(RequestError, match="at least one row"):
        collect_rows([])


def test_pictures_are_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(PNG)
    write_pictures(tmp_path, [Picture(Path("sub/a.png"), "What it shows", "sheets")])
    write_rows(tmp_path / "rows.jsonl", study())
    (found,) = collect([tmp_path]).pictures
    assert (found.file, found.caption, found.section) == (
        (tmp_path / "sub" / "a.png").resolve(),
        "What it shows",
        "sheets",
    )
    assert read_pictures(tmp_path / "sub") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("{}", "must be a JSON list"),
        ('["a.png"]', "must be an object of texts"),
        ('[{"file": 1}]', "must be an object of texts"),
        ('[{"caption": "x"}]', "no file"),
        ('[{"file": "a.png", "link": "x"}]', "unknown keys link"),
        ('[{"file": "a.png", "section": "foo"}]', "unknown section 'foo'; allowed: sheets"),
        ('[{"file": "../outside.png"}]', "lies outside of"),
        ('[{"file": "/etc/passwd"}]', "lies outside of"),
        ('[{"file": "link.png"}]', "lies outside of"),
        ('[{"file": "none.png"}]', "no file"),
        ('[{"file": "a.txt"}]', "is no PNG picture"),
        ('[{"file": "big.png"}]', "is larger than 8 MB"),
        ('[{"file": "\\u0000"}]', "is no path"),
    ],
)
def test_a_broken_list_of_pictures_is_refused(tmp_path: Path, content: str, said: str) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "a.png").write_bytes(PNG)
    (folder / "a.txt").write_text("text")
    with (folder / "big.png").open("wb") as stream:
        stream.truncate(8 * 2**20 + 1)
    (folder / "pictures.json").write_text(content)
    with pytest.raises(RequestError, match=r"pictures\.json.*" + said):
        read_pictures(folder)
