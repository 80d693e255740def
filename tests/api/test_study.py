"""`hg.study` in Python: a recipe as a mapping is the recipe of a file, and what does not go together is refused before any work."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.study.grid_recipes import SHORT, write_recipe

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.core.rows import read_rows


def test_a_mapping_is_a_recipe_and_shares_cells_with_its_file(tmp_path: Path) -> None:
    path, told = write_recipe(tmp_path, SHORT, "short"), list[str]()
    first = hg.study(path, tmp_path / "runs" / "file", context=hg.Context(tell=told.append))
    assert first is not None and (tmp_path / "runs" / "file" / "report.html").is_file()
    assert any(line.endswith("dpsh-pgd") for line in told)
    assert set(first.cells) == {("dpsh", "pgd"), ("dpsh", "mainstay")}
    told.clear()
    content = tomllib.loads(path.read_text())
    again = hg.study(content, tmp_path / "runs" / "mapping", context=hg.Context(tell=told.append))
    assert again is not None and [row.json() for row in again] == [row.json() for row in first]
    assert told and all(line.endswith(": kept") for line in told)
    assert read_rows(tmp_path / "runs" / "mapping" / "rows.jsonl") == list(again)


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        ({}, {}, "a recipe that is no file needs an out folder"),
        ({"study": "gird"}, {"out": "x"}, "recipe is no study: .* did you mean grid"),
        ({"querys": 3}, {"out": "x"}, "recipe: unknown key querys; did you mean queries"),
        ({}, {"out": "x", "workers": 2}, "`workers` goes with cross-modal studies"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, change: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    content = {**tomllib.loads(SHORT.format(source="digits")), **change}
    more = {key: tmp_path / value if key == "out" else value for key, value in more.items()}
    with pytest.raises(RequestError, match=message):
        hg.study(content, **more)
    assert not list(tmp_path.iterdir())
