"""Notebooks run and show what they say; their code, the examples and a script of the whole door pass a strict check of types."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="notebooks are run by nbclient, which `uv sync` installs")
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
DOOR = ROOT / "tests" / "api" / "door_script.py"
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def code(path: Path) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(path)) + "\n"


def shown(output: Any) -> set[str]:
    return set(output.get("data", {})) or {output["output_type"]}


@each
def test_it_is_short_stored_with_outputs_and_uses_the_door_alone(path: Path) -> None:
    assert len(code(path).splitlines()) < 80 and path.stat().st_size < 300_000
    assert sum(bool(cell["outputs"]) for cell in cells(path)) >= 3
    assert not [one for cell in cells(path) for one in cell["outputs"] if one["output_type"] == "error"]
    imported = [
        ast.unparse(node) for node in ast.walk(ast.parse(code(path))) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert [line for line in imported if "hamguard" in line] == ["import hamguard as hg"]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@each
def test_it_runs_and_shows_what_is_stored(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    from build_notebooks import executed, kept

    (tmp_path / "here").mkdir()
    ran = kept(executed(path, tmp_path / "here"), tmp_path / "here")
    now = [[shown(output) for output in cell.outputs] for cell in ran.cells if cell.cell_type == "code"]
    stored = [[shown(output) for output in cell["outputs"]] for cell in cells(path)]
    assert now == stored, "run: uv run python tools/build_notebooks.py"


@pytest.mark.slow
def test_types_of_notebooks_examples_and_the_script_of_the_door(tmp_path: Path) -> None:
    for path in NOTEBOOKS:
        (tmp_path / f"notebook_{path.stem}.py").write_text(code(path), encoding="utf-8")
    for path in (*EXAMPLES, DOOR):
        (tmp_path / f"{path.parent.name}_{path.stem}.py").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    files = sorted(map(str, tmp_path.glob("*.py")))
    assert len(files) == len(NOTEBOOKS) + len(EXAMPLES) + 1
    words = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), *files]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
