"""The import table of the house: imports go down, never sideways or up. Changing it is a decision explained in the commit."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
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
MAY_IMPORT["trainers"] = {*MAY_IMPORT} - {"report"}
MAY_IMPORT["evaluation"] = {*MAY_IMPORT} - {"report"}
MAY_IMPORT["api"] = {*MAY_IMPORT}
MAY_IMPORT["cli"] = {"core", "report", "api"}


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


def module_name(path: Path) -> str:
    parts = ("hamguard", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Imports(ast.NodeVisitor):
    """Modules that a file imports, inside functions, too; not those that only a type checker imports."""

    def __init__(self, modules: Collection[str]) -> None:
        self.modules = modules
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names} & set(self.modules)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        inner = {f"{node.module}.{alias.name}" for alias in node.names} & set(self.modules)
        self.found |= inner or {str(node.module)} & set(self.modules)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """What remains where every module whose imports are all gone is taken away, again and again, from both ends."""
    left = {name: set(to) for name, to in graph.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        gone = {name for name, to in left.items() if not to & set(left) or name not in imported}
        if not gone:
            return [sorted(left)] if left else []
        left = {name: to - gone for name, to in left.items() if name not in gone}


def test_no_circle_is_imported() -> None:
    paths = {module_name(path): path for path in ROOT.rglob("*.py") if path.parent != ROOT}
    graph = {}
    for name, path in paths.items():
        seen = Imports(paths)
        seen.visit(ast.parse(path.read_text(encoding="utf-8")))
        graph[name] = seen.found - {name}
    assert not circles(graph)


def test_a_circle_is_seen_where_an_import_stands_in_a_function() -> None:
    texts = {
        "a": "from hamguard.b import x",
        "b": "def f():\n    from hamguard import c",
        "c": "import hamguard.a",
        "d": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hamguard.e",
        "e": "import hamguard.d",
    }
    names = {f"hamguard.{name}" for name in texts}
    graph = {}
    for name, text in texts.items():
        seen = Imports(names)
        seen.visit(ast.parse(text))
        graph[f"hamguard.{name}"] = seen.found
    assert circles(graph) == [["hamguard.a", "hamguard.b", "hamguard.c"]]


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_functions_are_short() -> None:
    long = {name for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > 80}
    assert not long


def test_functions_have_few_parameters() -> None:
    many = {name for name, node in functions() if parameters(node) > 10 and not name.startswith(("cli/", "api/"))}
    assert not many


def test_few_tables_are_kept_from_the_formatter_and_attacks_ignore_no_type() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    assert sum(text.count("# fmt: skip") for text in texts.values()) <= 40
    ignored = re.compile(r"type: ignore\[[^]]*(arg-type|assignment|dict-item|return-value)")
    attacks = {path for path, text in texts.items() if path.is_relative_to(ROOT / "attacks") and ignored.search(text)}
    assert not attacks, "the types of attacks/types.py say what fits"


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
