"""`hg.protect`: what the command does, as a value that says what it did."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.panels import tiny_panel
from tests.privacy.helpers import saved_protector, write

import hamguard as hg
from hamguard.core.errors import RequestError


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_protector(tmp_path_factory.mktemp("weights") / "strong")


@pytest.fixture(autouse=True)
def tried(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny panel stands for the one that ships, whose networks take seconds."""
    tiny_panel(tmp_path_factory.mktemp("panel"), monkeypatch)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write(folder / "a.png", 30, 40)
    write(folder / "b <i>.png", 20, 20)
    return folder


def test_copies_are_made_and_the_result_shows_itself(net: Path, photos: Path, tmp_path: Path) -> None:
    made = hg.protect(photos, tmp_path / "out", protector=net, eps="8/255")
    assert [entry.out for entry in made.entries] == ["a.png", "b <i>.png"] and made.skipped == []
    assert (tmp_path / "out" / "a.png").is_file() and made.facts["done"] == 2
    assert made.settings.eps == 8 / 255 and made.facts["change"] <= 8
    assert repr(made) == f"Protected({tmp_path / 'out'}: 2 of 2 pictures)"
    assert "2 of 2 pictures protected (8/255, png)" in made._repr_html_()
    again = hg.protect(photos, tmp_path / "out", protector=net, eps=8 / 255)
    assert again.resumed and again.facts["fresh"] == 0
    alone = " ".join(hg.protect(photos / "a.png", tmp_path / "one.png", protector=net).lines)
    assert "1 of 1 picture protected" in alone and "(1 picture)" in alone and "done before" not in alone
    (photos / "b <i>.png").write_bytes(b"no picture <b>")
    broken = hg.protect(photos, tmp_path / "other", protector=net)
    assert len(broken.skipped) == 1 and "b &lt;i&gt;.png" in broken._repr_html_()


def test_a_model_may_be_the_matcher(net: Path, photos: Path, tmp_path: Path) -> None:
    model = hg.load("shipped:digits")
    made = hg.protect(photos / "a.png", tmp_path / "a.png", protector=net, refine=1, matchers=[model])
    assert made.settings.matchers[0].hash == model.digest and (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"refine": 2}, "refine 2 needs models"),
        ({"matchers": ["shipped:digits"]}, "a matcher belongs to refine"),
        ({"quality": 90}, "quality 90 belongs to jpeg and webp"),
        ({"format": "gif"}, "unknown picture format 'gif'"),
        ({"metadata": "all"}, "unknown metadata 'all'"),
        ({"scale": "big"}, "unknown scale 'big'"),
        ({"eps": 8}, "eps must be in"),
        ({"eps": "x"}, "eps must be a number"),
        ({"protector": "none"}, "none"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(photos: Path, tmp_path: Path, given: dict[str, object], line: str) -> None:
    with pytest.raises(RequestError, match=line):
        hg.protect(photos, tmp_path / "out", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    with pytest.raises(RequestError, match="does not exist; give a picture"):
        hg.protect(tmp_path / "nowhere", tmp_path / "out")
