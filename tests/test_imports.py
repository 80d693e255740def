"""The import table of the house: imports go down, never sideways or up. Changing it is a decision explained in the commit."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hamguard

ROOT = Path(hamguard.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "codes": {"core"},
    "images": {"core"},
    "data": {"core", "images"},
    "models": {"core", "codes"},
    "retrieval": {"core", "codes"},
    "hashing": {"core", "codes"},
    "attacks": {"core", "codes", "images", "models", "retrieval"},
    "training": {"core", "codes", "data", "models", "hashing"},  # codes: the bank of learned codes, statistics of codes
    "defenses": {"core", "codes", "images", "data", "models", "retrieval", "hashing", "attacks", "training"},
    "privacy": {"core", "codes", "images", "attacks", "models", "retrieval", "hashing", "training"},
    "report": {"core"},
}
BELOW_EVALUATION = set(MAY_IMPORT) - {"report"}
MAY_IMPORT["evaluation"] = BELOW_EVALUATION
MAY_IMPORT["api"] = {*MAY_IMPORT}
MAY_IMPORT["cli"] = {*MAY_IMPORT}


def imported_packages(path: Path) -> set[str]:
    """Packages of hamguard that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrow"
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "hamguard"
                else [node.module or ""]
            )
        found |= {name.split(".")[1] for name in names if name.startswith("hamguard.")}
    return {name for name in found if (ROOT / name).is_dir()}


FILES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert package in MAY_IMPORT, f"package {package} has no line in the import table"
    wrong = imported_packages(path) - MAY_IMPORT[package] - {package}
    assert not wrong, f"{path.relative_to(ROOT)} must not import {', '.join(sorted(wrong))}"


def test_walker_sees_a_wrong_arrow(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def f():\n    from hamguard.cli.main import run\n    from hamguard import report\n    return run, report\n"
    )
    assert imported_packages(bad) == {"cli", "report"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; sys.argv = ['hamguard', '--help']\n"
        "from hamguard.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'matplotlib', 'numba', 'faiss', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "evaluate" in done.stdout
