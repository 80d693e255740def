"""Models inside the package: loaded by name, told apart from folders, small, and those that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hamguard.core.errors import RequestError, StaleError
from hamguard.core.rows import read_rows
from hamguard.models.hash_model import HashModel
from hamguard.models.protector_store import load_protector
from hamguard.models.shipped import MODELS, shipped_folder
from hamguard.models.store import load_any, load_folder, read_card, save_model

ROWS = Path(__file__).parents[2] / "results" / "shipped.jsonl"


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_is_loaded_by_its_name(name: str) -> None:
    model, card = load_any(f"shipped:{name}")
    assert card is not None and model.digest == card.weights_hash != ""
    assert (card.method, card.bits, card.data["source"], card.recipe["epochs"]) == ("csq", 32, "digits", 20)
    assert bool(card.defense) is name.endswith("-hard")
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 32)
    assert load_folder(f"shipped:{name}")[0].digest == model.digest


@pytest.mark.parametrize("name", MODELS)
def test_the_recorded_rows_are_of_these_weights(name: str) -> None:
    rows = [row for row in read_rows(ROWS) if row.model == f"shipped:{name}"]
    assert {row.hashes["model"] for row in rows} == {read_card(f"shipped:{name}").weights_hash}
    measured = {(row.attack or {}).get("method") for row in rows if row.metric == "map"}
    assert {None, "noise", "hag", "mainstay", "audit"} <= measured


def test_the_hardened_one_begins_from_the_other() -> None:
    assert read_card("shipped:digits-hard").parent == read_card("shipped:digits").weights_hash


def test_a_folder_of_that_name_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = save_model(HashModel("conv2", 8, channels=1, size=(28, 28)), tmp_path / "shipped:digits")
    save_model(HashModel("conv2", 8, channels=1, size=(28, 28)), tmp_path / "digits")
    assert load_any("shipped:digits")[0].bits == 32 and read_card("shipped:digits").bits == 32
    assert load_any("./shipped:digits")[0].digest == own.weights_hash
    assert load_folder(tmp_path / "shipped:digits")[0].bits == load_any("digits")[0].bits == 8


def test_a_wrong_name_lists_the_right_ones(tmp_path: Path) -> None:
    said = r"no model 'shipped:digit' ships with hamguard; there are .*digits-hard; did you mean shipped:digits\?"
    for load in (load_any, load_folder, read_card):
        with pytest.raises(RequestError, match=said):
            load("shipped:digit")
    with pytest.raises(RequestError, match="or one that ships with hamguard: shipped:digits, shipped:digits-hard"):
        load_any(tmp_path / "none")


def test_weights_are_compared_with_their_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "digits"
    place.mkdir()
    for file in ("card.json", "history.jsonl"):
        (place / file).write_bytes((shipped_folder("digits") / file).read_bytes())
    (place / "model.safetensors").write_bytes((shipped_folder("digits-hard") / "model.safetensors").read_bytes())
    monkeypatch.setattr("hamguard.models.shipped.shipped_folder", lambda name: place)
    with pytest.raises(StaleError, match="shipped:digits: the weights have hash"):
        load_any("shipped:digits")


def test_a_protector_may_be_named_alike() -> None:
    assert load_protector("shipped:photos")[0].digest == load_protector("photos")[0].digest
    with pytest.raises(RequestError, match="no protector 'photo' ships with hamguard; there is photos, ppl"):
        load_protector("shipped:photo")


def test_what_ships_is_small() -> None:
    files = [path for path in shipped_folder("").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {*MODELS, "protector-photos", "protector-ppl", "panel"}
    assert 500_000 < sum(path.stat().st_size for path in files) < 9_000_000  # of which the panel has 6 at most
