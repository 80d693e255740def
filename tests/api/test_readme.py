"""What README says of Python runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hamguard as hg

README = Path(__file__).parents[2] / "README.md"


def test_the_python_of_the_readme_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, object] = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    rows = names["rows"]
    assert isinstance(rows, hg.Rows)
    clean, attacked = (row.value for row in rows.where(metric="map", attack=(None, "mainstay")))
    assert clean is not None and attacked is not None and attacked < clean
    assert "mainstay" in (tmp_path / "page.html").read_text(encoding="utf-8")
