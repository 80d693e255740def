"""`hg.verify`: figures of protected files by any matcher, as rows, tables and a page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.privacy.helpers import strong_protector, write

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.models.protector_store import save_protector


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("verify")
    save_protector(strong_protector(), place / "net", side=64, surrogates=["abcd"])
    for number in range(4):
        write(place / "photos" / f"{number}.png", 28, 28, layers=1)
    hg.protect(place / "photos", place / "protected", protector=place / "net")
    return place


def test_a_model_or_its_name_give_the_same_rows(lab: Path) -> None:
    given = {"views": ["jpeg:50"], "noise": False, "cards": 1, "top": 2}
    by_name = hg.verify(lab / "photos", lab / "protected", matchers=["shipped:digits"], **given)  # type: ignore[arg-type]
    model = hg.load("shipped:digits")
    by_model = hg.verify(lab / "photos", lab / "protected", matchers=[model], out=lab / "o", name="mine", **given)  # type: ignore[arg-type]
    assert [row.value for row in by_name.rows] == [row.value for row in by_model.rows]
    assert {row.dataset for row in by_name.rows} == {"photos"} and {row.dataset for row in by_model.rows} == {"mine"}
    assert by_name.folder == lab / "protected-verify" and by_model.page == lab / "o" / "report.html"
    assert by_model.page.is_file() and "<table" in by_model._repr_html_() and by_model.problems == ()
    assert isinstance(by_model.rows, hg.Rows) and {row.model for row in by_name.rows} == {
        row.model for row in by_model.rows
    }


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"matchers": ["a", "a"]}, "matcher a is named twice"),
        ({"matchers": [torch.nn.Flatten()]}, "a bare nn.Module: wrap it"),
        ({"matchers": ["shipped:digits"], "views": ["jpg:8"]}, "jpg"),
        ({"matchers": ["shipped:digits"], "out": "photos/0.png"}, "is a file; a folder is needed"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(
    lab: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, object], line: str
) -> None:
    monkeypatch.chdir(lab)
    with pytest.raises(RequestError, match=line):
        hg.verify("photos", "protected", **given)  # type: ignore[arg-type]
