"""Which copy belongs to which original; what the protector's own files say; every file without a partner is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamguard.core.errors import RequestError
from hamguard.privacy.pairs import find_pairs, read_protection, read_record


def draw(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / name)
    return folder


def pairs_of(source: Path, out: Path) -> dict[str, str]:
    return {pair.name: pair.protected.relative_to(out).as_posix() for pair in find_pairs(source, out).pairs}


def record(out: Path, *entries: dict[str, Any] | str) -> None:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in entries]
    (out / "protect.jsonl").write_text("\n".join(lines))


def test_by_path_then_by_stem(tmp_path: Path) -> None:
    source = draw(tmp_path / "in", "a.jpg", "b.png", "deep/a.jpg", "deep/x.y.jpg", "alone.png")
    out = draw(tmp_path / "out", "a.png", "b.png", "deep/a.jpg", "deep/a.png", "deep/x.y.png", "stray.png")
    found = find_pairs(source, out)
    assert pairs_of(source, out) == {
        "a.jpg": "a.png",
        "b.png": "b.png",
        "deep/a.jpg": "deep/a.jpg",
        "deep/x.y.jpg": "deep/x.y.png",
    }
    assert list(found.alone) == ["alone.png"]
    assert found.problems == [
        f"alone.png has no protected copy in {out}", f"deep/a.png in {out} has no original", f"stray.png in {out} has no original",
    ]  # fmt: skip


def test_ambiguous_pairs_are_named(tmp_path: Path) -> None:
    source = draw(tmp_path / "in", "a.jpg", "b.jpg", "b.webp", "good.png")
    out = draw(tmp_path / "out", "a.png", "a.webp", "b.png", "good.png")
    found = find_pairs(source, out)
    assert [pair.name for pair in found.pairs] == ["good.png"] and list(found.alone) == ["a.jpg", "b.jpg", "b.webp"]
    assert found.problems == [
        f"a.jpg has several copies in {out}: a.png, a.webp",
        f"b.jpg and b.webp share the copy b.png in {out}",
        f"b.webp and b.jpg share the copy b.png in {out}",
    ]


def test_the_record_wins_over_names(tmp_path: Path) -> None:
    source = draw(tmp_path / "in", "a.png", "b.png", "c.png", "d.png", "e.png")
    out = draw(tmp_path / "out", "a.png", "b.png", "moved.png", "d.png")
    record(
        out,
        {"file": "a.png", "status": "skipped", "reason": "x"}, {"file": "a.png", "out": "moved.png", "status": "done"},
        {"file": "b.png", "out": None, "status": "skipped", "reason": "b.png is truncated"},
        {"file": "c.png", "out": "c.png", "status": "done"}, {"file": "e.png", "out": "moved.png", "status": "done"}, '{"torn',
    )  # fmt: skip
    assert pairs_of(source, out) == {"a.png": "moved.png", "d.png": "d.png"}
    problems = find_pairs(source, out).problems
    assert "b.png was not protected: b.png is truncated" in problems
    assert f"c.png: its protected copy c.png is not in {out}" in problems
    assert "e.png: its protected copy moved.png is that of another picture, too" in problems


def test_files_and_folders_inside_each_other(tmp_path: Path) -> None:
    source = draw(tmp_path / "in", "a.png", "b.png")
    out = draw(source / "protected", "a.png", "b.png")
    assert list(pairs_of(source, out)) == ["a.png", "b.png"] and not find_pairs(source, out).problems
    assert list(pairs_of(out, source)) == ["a.png", "b.png"] and not find_pairs(out, source).problems
    one = find_pairs(source / "a.png", out)
    assert [pair.name for pair in one.pairs] == ["a.png"] and not one.problems  # others in the folder are no strays
    two = find_pairs(source / "a.png", out / "b.png")
    assert two.pairs[0].protected == out / "b.png"


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("none", "out", "none does not exist"), ("in", "in", "are both"), ("in", "out/z.png", "is a folder and"),
        ("in", "out", r"no picture of .* has a protected copy in .*: a\.png has no protected copy"),
        ("in", "empty", "holds no picture"),
    ],
)  # fmt: skip
def test_no_pairs(source: str, out: str, message: str, tmp_path: Path) -> None:
    draw(tmp_path / "in", "a.png")
    draw(tmp_path / "out", "z.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=message):
        find_pairs(tmp_path / source, tmp_path / out)


@pytest.mark.parametrize("line", ["[1]", '{"file": 3, "status": "done"}', '{"file": "a"}', "{torn\n"])
def test_a_damaged_record(line: str, tmp_path: Path) -> None:
    record(tmp_path, line + "\n", {"file": "b", "status": "done"})
    with pytest.raises(RequestError, match=r"protect\.jsonl is damaged: line 1"):
        read_record(tmp_path)
    (tmp_path / "protect.jsonl").write_bytes(b"\xff\xfe\xff\n")
    with pytest.raises(RequestError, match="line 1 is not a JSON object"):
        read_record(tmp_path)


@pytest.mark.parametrize("surrogate", ["s1", ["s1"], [{"name": "x", "hash": "s1"}]])
def test_what_the_protector_saw(surrogate: Any, tmp_path: Path) -> None:
    assert read_protection(tmp_path).saw("s1") == "unknown" and not read_protection(tmp_path).found
    told = {
        "protector": {"name": "photos", "hash": "p"}, "eps": 0.03, "surrogate": surrogate,
        "matchers": [{"name": "m", "hash": "m1"}],
    }  # fmt: skip
    (tmp_path / "protect.json").write_text(json.dumps(told))
    found = read_protection(tmp_path)
    assert (found.protector, found.protector_hash, found.eps) == ("photos", "p", 0.03)
    assert [found.saw(word) for word in ("s1", "m1", "z")] == ["surrogate", "in the ensemble", "never seen"]
    assert read_protection(draw(tmp_path, "copy.png") / "copy.png").found, "beside a single copy"
    for text in ("{", "[]"):
        (tmp_path / "protect.json").write_text(text)
        with pytest.raises(RequestError, match=r"protect\.json is damaged"):
            read_protection(tmp_path)
    (tmp_path / "protect.json").write_text('{"protector": null, "matchers": null}')
    assert read_protection(tmp_path).saw("s1") == "never seen"
