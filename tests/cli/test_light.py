"""Verbs that compute nothing on a network answer without what networks need, and a search loads no compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TORCH = {"torch", "torchvision", "torchmetrics", "timm"}
HEAVY = {*TORCH, "faiss", "scipy", "sklearn", "matplotlib", "numba", "pandas"}
RUN = """
import sys
from hamguard.cli.main import run
try:
    run()
except SystemExit as end:
    code = end.code
print("LOADED", code, *sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with codes, rows made from them, and an index of shipped codes with a picture to ask for."""
    folder = tmp_path_factory.mktemp("light")
    rng = np.random.default_rng(0)
    codes, numbers = rng.choice([-1, 1], (60, 32)), np.arange(60) % 3
    np.savez(folder / "query.npz", codes=codes[:20], labels=numbers[:20])
    np.savez(folder / "items.npz", codes=codes, labels=numbers)
    return folder


def loaded(folder: Path, *words: str) -> set[str]:
    """Packages that a command has loaded."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=120, cwd=folder)
    line = next(line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    assert line.split()[1] == "0", done.stderr
    if "--json" in words:
        (folder / "rows.jsonl").write_text(done.stdout, encoding="utf-8")
    return set(line.split()[2:])


def test_verbs_that_compute_nothing_load_nothing_heavy(lab: Path) -> None:
    codes = ("--query-codes", "query.npz", "--database-codes", "items.npz")
    assert not HEAVY & loaded(lab, "data", "list")
    assert not HEAVY & loaded(lab, "attack", "--list")
    assert not HEAVY - {"torch"} & loaded(lab, "harden", "--list")
    assert not HEAVY & loaded(lab, "measure", "--list")
    assert not HEAVY & loaded(lab, "reproduce", "--list")
    assert not HEAVY & loaded(lab, "reproduce", "ppl-table1", "--show-recipe")
    assert not HEAVY & loaded(lab, "evaluate", *codes, "--json")
    assert not HEAVY & loaded(lab, "report", "rows.jsonl", "--out", "page.html")
    (lab / "limits.toml").write_text('[limits.all]\nmetric = "map"\nat_least = 0\n')
    assert not HEAVY & loaded(lab, "gate", "rows.jsonl", "--limits", "limits.toml")
    assert not HEAVY - {"faiss"} & loaded(lab, "index", "build", "items.npz", "--out", "index")
    assert not HEAVY - {"faiss"} & loaded(lab, "index", "info", "index")
    assert not HEAVY - {"faiss"} & loaded(lab, "search", "index", "query.npz", "--top", "3")
    assert not HEAVY - {"faiss"} & loaded(lab, "threshold", "items.npz", "--items", "1000")
    assert not HEAVY - {"faiss", "numba", "scipy"} & loaded(lab, "dedupe", "index", "--radius", "2")


def test_a_search_with_a_picture_loads_no_compiler(lab: Path) -> None:
    from hamguard.data.digits import read_digits
    from hamguard.images.io import encode

    encode(read_digits().images.array[0], lab / "digit.png")
    loaded(lab, "index", "build", "shipped:digits", "--data", "digits", "--out", "digits")
    found = loaded(lab, "search", "digits", "digit.png")
    assert not {"torchvision", "torchmetrics", "timm", "scipy", "sklearn", "matplotlib", "numba"} & found
    assert not {"torch._dynamo", "torch._inductor", "sympy"} & found
