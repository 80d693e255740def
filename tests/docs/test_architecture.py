"""The page on architecture: its arrows are those of the import test, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import hamguard
from tests.test_imports import MAY_IMPORT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_rooms_are_those_of_the_import_table() -> None:
    lines = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", PAGE.partition("## One place")[0], flags=re.MULTILINE)
    said = {room: set() if may == "nothing of hamguard" else set(may.split(", ")) for room, may in lines}
    assert said == MAY_IMPORT
    below: set[str] = set()
    for room, may in said.items():
        assert may <= below, f"{room} stands above what it imports"
        below.add(room)


def test_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE))
    package = Path(hamguard.__file__).parent
    assert len(named) > 20
    missing = {name for name in named if not (package / name).exists() and not (ROOT / name).exists()}
    assert not {name for name in missing if "NAME" not in name}
    folders = {name.rpartition("/")[0] for name in missing}
    assert all((package / folder).is_dir() for folder in folders), "where a new file goes"
