"""Copies that are protected again are known by what lies beside them, and only those."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import hamguard as hg
from hamguard.images.originals import read_original
from hamguard.privacy.folder_run import difference
from hamguard.privacy.manifest import LINES
from tests.privacy.helpers import saved_protector, write


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_protector(tmp_path_factory.mktemp("weights") / "strong")


@pytest.fixture
def copies(net: Path, tmp_path: Path) -> Path:
    write(tmp_path / "in" / "a.png", 30, 40)
    write(tmp_path / "in" / "sub" / "b.png", 20, 20, seed=1)
    hg.protect(tmp_path / "in", tmp_path / "once", protector=net)
    return tmp_path / "once"


def notes(made: object) -> list[str]:
    return [line for line in made.lines if "protected cop" in line]  # type: ignore[attr-defined]


def test_copies_are_protected_again_and_it_is_said(net: Path, copies: Path, tmp_path: Path) -> None:
    write(copies / "new.png", 20, 20, seed=2)  # beside the copies lies a picture that is none
    made = hg.protect(copies, tmp_path / "twice", protector=net, eps="4/255")
    assert made.facts["done"] == 3 and made.facts["protected_before"] == ["a.png", "sub/b.png"]
    assert notes(made) == [
        "Note: 2 pictures are protected copies already (a.png, sub/b.png): the changes add up (8/255 then, 4/255 now), and the "
        "bound holds against these copies, not against the first originals; better protect those"
    ]
    seen = [read_original(tmp_path / name / "a.png").seen for name in ("in", "once", "twice")]
    assert difference(seen[1], seen[2])[0] <= 4 and 8 < difference(seen[0], seen[2])[0] <= 12
    again = hg.protect(copies, tmp_path / "twice", protector=net, eps="4/255")  # all done before: it is said again
    assert again.facts["fresh"] == 0 and notes(again) == notes(made)


def test_the_record_may_lie_above_or_inside_or_be_gone(net: Path, copies: Path, tmp_path: Path) -> None:
    one = hg.protect(copies / "a.png", tmp_path / "a2.png", protector=net)
    assert "1 picture is a protected copy already (a.png)" in notes(one)[0]
    inner = hg.protect(copies / "sub", tmp_path / "sub2", protector=net)
    assert inner.facts["protected_before"] == ["b.png"]
    outer = hg.protect(tmp_path / "in", tmp_path / "plain", protector=net)
    assert outer.facts["protected_before"] == [] and notes(outer) == []
    (tmp_path / "all").mkdir()
    shutil.copytree(copies, tmp_path / "all" / "inside")
    assert hg.protect(tmp_path / "all", tmp_path / "all2", protector=net).facts["protected_before"] == [
        "inside/a.png",
        "inside/sub/b.png",
    ]
    (tmp_path / "all" / "inside" / LINES).unlink()
    assert notes(hg.protect(tmp_path / "all", tmp_path / "all3", protector=net)) == []


def test_a_damaged_record_stops_nothing_and_is_named(net: Path, copies: Path, tmp_path: Path) -> None:
    lines = (copies / LINES).read_text(encoding="utf-8")
    (copies / LINES).write_text(lines.replace('"change": 8', '"change": 9', 1), encoding="utf-8")
    made = hg.protect(copies, tmp_path / "twice", protector=net)
    assert made.facts["done"] == 2 and made.facts["protected_before"] == []
    assert LINES in notes(made)[0] and "so it is not known whether its pictures are protected copies" in notes(made)[0]
