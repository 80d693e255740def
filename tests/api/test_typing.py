"""The script that type checkers read uses every name of the door; what a call gives is annotated as it is."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import hamguard as hg
from hamguard.api.attack import AttackRows
from hamguard.api.audit import AuditResult
from hamguard.api.defense import DetectionResult, PurificationResult, SanityResult
from hamguard.api.demo import Demo
from hamguard.api.measure import MeasureResult
from hamguard.api.privacy import Cell, FourSearches
from hamguard.api.verify import Verified

SCRIPT = Path(__file__).with_name("door_script.py")  # checked with the notebooks, in one run of mypy
HOLD_ROWS = [
    AuditResult,
    Cell,
    Demo,
    DetectionResult,
    FourSearches,
    MeasureResult,
    PurificationResult,
    SanityResult,
    Verified,
]


def used(path: Path) -> set[str]:
    """Names of the door that a script asks for, `hg.NAME`."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "hg"
    }


def test_the_script_uses_every_name_of_the_door_and_nothing_else_of_hamguard() -> None:
    assert used(SCRIPT) == {*hg.__all__}
    text = SCRIPT.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if "import" in line and "hamguard" in line] == ["import hamguard as hg"]
    assert "type: ignore" not in text and "cast(" not in text


@pytest.mark.parametrize("kind", HOLD_ROWS, ids=lambda kind: kind.__name__)
def test_rows_of_a_result_can_be_asked_and_show_themselves(kind: type[Any]) -> None:
    rows = inspect.getattr_static(kind, "rows", None)
    annotation = rows.fget.__annotations__["return"] if isinstance(rows, property) else kind.__annotations__["rows"]
    assert getattr(annotation, "__forward_arg__", annotation) in ("Rows", hg.Rows)


def test_attacks_on_images_and_on_texts_give_one_kind_of_rows() -> None:
    assert get_type_hints(inspect.unwrap(hg.attack))["return"] is AttackRows
    assert issubclass(AttackRows, hg.Rows)
