"""The ensemble that ships: which of it is here, and what it knows of photos."""

from __future__ import annotations

import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.models.panel import PanelEntry
from hamguard.models.protector import Protector
from hamguard.privacy import strong
from hamguard.privacy.refine import Refine
from hamguard.privacy.strong import EPS, strong_ensemble, strong_eps


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what every installation has: EfficientNet-Lite0 and the ResNet inside the package."""
    monkeypatch.setattr(strong, "ENSEMBLE", ("lite0-itq", "resnet56-itq"))


def test_matchers_know_what_photos_look_like_in_their_middle(two: None) -> None:
    found, absent = strong_ensemble()
    assert [one.name for one in found] == ["panel:lite0-itq", "panel:resnet56-itq"] and absent == []
    x = torch.rand(1, 3, 80, 96, generator=torch.Generator().manual_seed(0))
    for one in found:
        assert one.free and one.middle is not None
        outputs, *stages = one.seen(x)
        assert len(stages) == 2 and outputs.shape == (1, 64)
        assert torch.allclose(outputs, one.logits(x), atol=1e-4)


def test_refining_against_it_moves_middle_layers(two: None) -> None:
    found, _ = strong_ensemble()
    quick = tuple(one for one in found if one.network == "resnet56")
    x = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3)), (64, 64), mode="bicubic"
    )
    x = x.clamp(0, 1)
    pattern = Refine(quick, 12, 8 / 255, alike=0)(x, torch.zeros_like(x), [0])
    clean, moved = (quick[0].seen(z)[1:] for z in (x, (x + pattern * 8 / 255).clamp(0, 1)))
    assert all(float(torch.cosine_similarity(a, b)) < 0.999 for a, b in zip(clean, moved, strict=True))


def test_networks_that_are_not_here_are_named(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        PanelEntry, "missing", property(lambda self: "pip install it" if self.name == "lite0-itq" else "")
    )
    found, absent = strong_ensemble()
    assert [one.name for one in found] == ["panel:resnet56-itq"] and absent == ["pip install it"]


def test_a_damaged_file_is_one_line(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strong, "read_safetensors", lambda path: {})
    with pytest.raises(RequestError, match="it has no efficientnet_lite0.0"):
        strong_ensemble()


def test_its_bound_is_larger_where_even_grounds_have_their_own() -> None:
    plain, kept = Protector(3), Protector(3, even=1.5 / 255)
    assert strong_eps(plain) == plain.eps == 8 / 255
    assert strong_eps(kept) == EPS > kept.eps
    assert strong_eps(Protector(3, eps=16 / 255, even=1.5 / 255)) == 16 / 255
