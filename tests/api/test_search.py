"""`hg.index` and `hg.search`: a folder, an index, a bank or a model is searched; an image, a part of data, or codes ask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hamguard as hg
from hamguard.core.errors import RequestError, StaleError
from hamguard.retrieval.engines import open_index

DATA = hg.data("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("index") / "i"
    made = hg.index("shipped:digits", out=place)
    assert len(made) == 1497 and "made with shipped:digits" in made._repr_html_() and "1,497 codes" in repr(made)
    return place


@pytest.fixture(scope="module")
def model() -> object:
    return hg.load("shipped:digits")


def test_whatever_is_searched_and_asked_the_answers_are_the_same(folder: Path, model: hg.ForeignModel) -> None:
    part = DATA.query.first(3)
    found = hg.search(folder, ["query:0", "query:1", "query:2"], k=5)
    lists = [(one.ids, one.distances) for one in found]
    bank, asked = hg.encode(model, DATA.database), hg.encode(model, part)
    for where in (folder, open_index(folder), bank):
        for query in (part, part.images, asked):
            again = hg.search(where, query, k=5, model=model)
            assert [(one.ids, one.distances) for one in again] == lists
    by_model = hg.search(model, part, k=5, data=DATA)
    assert [(one.ids, one.distances) for one in by_model] == lists
    assert len(found[0]) == 5 and found[0].query == "query:0" and found[0].json[1]["rank"] == 2


def test_answers_show_themselves(folder: Path, model: hg.ForeignModel, tmp_path: Path) -> None:
    found = hg.search(folder, DATA.query.first(2), k=3)
    assert "<img src='data:image/png;base64," in found._repr_html_()
    found.draw(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    plain = hg.search(folder, hg.encode(model, DATA.query.first(2)), k=3)
    assert "<img" not in plain._repr_html_() and plain[0].ids[0] in plain._repr_html_()
    with pytest.raises(RequestError, match="a sheet needs the images that were indexed"):
        plain.draw(tmp_path / "other.png")


def test_codes_from_a_file_ask_without_a_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = rng.choice([-1, 1], (30, 16))
    np.savez(tmp_path / "q.npz", codes=codes[:4])
    bank = hg.codes(codes, ids=[f"n{i}" for i in range(30)])
    hg.index(bank, out=tmp_path / "i")
    for where in (bank, tmp_path / "i"):
        found = hg.search(where, tmp_path / "q.npz", k=1)
        assert [one.ids for one in found] == [("n0",), ("n1",), ("n2",), ("n3",)]
    ball = hg.search(bank, codes_bank := hg.codes(codes[:2]), radius=16)
    assert [len(one) for one in ball] == [30, 30] and len(codes_bank) == 2
    with pytest.raises(RequestError, match="does not know its model; give the model"):
        hg.search(tmp_path / "i", torch.zeros(1, 1, 28, 28))


def test_a_model_at_hand_is_indexed_like_one_that_is_named(
    folder: Path, model: hg.ForeignModel, tmp_path: Path
) -> None:
    named = hg.index(model, out=tmp_path / "named")
    assert named.json | {"index": ""} == hg.index("shipped:digits", out=tmp_path / "again").json | {"index": ""}
    net = hg.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 16)), size=28, channels=1)
    made = hg.index(net, DATA, out=tmp_path / "own")
    assert len(made) == 1497 and not made.origin and made.facts.model_hash == net.digest
    part = DATA.query.first(2)
    by_model = hg.search(net, part, k=3, data=DATA)
    assert [one.ids for one in hg.search(tmp_path / "own", part, k=3, model=net)] == [one.ids for one in by_model]
    with pytest.raises(RequestError, match="does not know its model; give the model"):
        hg.search(tmp_path / "own", part)
    with pytest.raises(RequestError, match="no card that names its data; give `data=SOURCE`"):
        hg.index(net, out=tmp_path / "none")
    with pytest.raises(RequestError, match="texts are indexed by a model of images and texts"):
        hg.index(net, DATA, out=tmp_path / "none", modality="text")
    with pytest.raises(RequestError, match="a bare nn.Module: wrap it"):
        hg.index(torch.nn.Flatten(), DATA, out=tmp_path / "none")  # type: ignore[arg-type]


def test_what_does_not_belong_together_is_refused(folder: Path, model: hg.ForeignModel) -> None:
    other = hg.load("shipped:digits-hard")
    with pytest.raises(StaleError, match="is stale: it belongs to model"):
        hg.search(folder, DATA.query.first(1), model=other)
    with pytest.raises(StaleError, match="the codes are of model .*; encode again"):
        hg.search(folder, hg.encode(other, DATA.query.first(1)))
    with pytest.raises(RequestError, match=r"hg.search\(model, query, data=hg.data"):
        hg.search(model, DATA.query)
    with pytest.raises(RequestError, match="leave out `model`, which goes with an index"):
        hg.search(model, DATA.query.first(1), data=DATA, model=other)
    with pytest.raises(RequestError, match="search takes a part of the data"):
        hg.search(folder, DATA)
    with pytest.raises(RequestError, match="a bare nn.Module: wrap it"):
        hg.search(torch.nn.Flatten(), DATA.query, data=DATA)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="give pictures to search for, or words"):
        hg.search(folder)
    with pytest.raises(RequestError, match="no text side"):
        hg.search(folder, words=["a seven"])
    with pytest.raises(RequestError, match="k must be at least 1"):
        hg.search(folder, DATA.query, k=0)
    with pytest.raises(RequestError, match="query:0 to query:299"):
        hg.search(folder, "query:300")
