"""The toy data and models of the commands, so that a call and a command can be held against each other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import shell, world  # noqa: F401 - fixtures

from hamguard.core.rows import Row


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def timeless(rows: Any) -> list[dict[str, Any]]:
    """Rows of a call or of a command without what a clock says, equal ones once."""
    found: list[dict[str, Any]] = []
    for row in rows:
        facts = asdict(row) if isinstance(row, Row) else dict(row)
        facts |= {
            "seconds": None,
            "ci95": list(facts["ci95"]) if facts["ci95"] else None,
            "notes": list(facts["notes"]),
        }
        if facts not in found:
            found.append(facts)
    return found


collect_ignore = ["door_script.py"]  # read by type checkers, never run: it enters names in the registries
